// Idempotency keys: with a key as it is in every app, registrations that each carry a key of their own and an answer as large
// as can be, for 10 s or 20,000 requests. What is kept is bounded by the rule's share of its hub's.
import { ask, finish, hub, share } from "./rest.mjs";

const endBy = Date.now() + share(10_000);
const run = Date.now().toString(36);
let made = 0;
let refused = 0;
const tags = Array.from({ length: 60 }, (_, i) => `tag-${i}-`.padEnd(110, "x")).join(",");
await Promise.all(
  Array.from({ length: 8 }, async (_, client) => {
    for (let i = 0; Date.now() < endBy && made + refused < 20_000 && refused < 100; ++i) {
      const token = `${client}${i}`.padStart(64, "A").replace(/[^0-9A-F]/g, "0");
      const body =
        '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><AppleRegistrationDescription ' +
        'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">' +
        `<Tags>${tags}</Tags><DeviceToken>${token}</DeviceToken></AppleRegistrationDescription></content></entry>`;
      const reply = await ask("POST", `/${hub}/registrations`, {
        "Idempotency-Key": `${run}-${client}-${i}`,
        "Content-Type": "application/atom+xml;type=entry;charset=utf-8",
      }, body);
      if (reply.status < 300) made += 1;
      else refused += 1;
    }
  }),
);
finish(`${made} keys kept, ${refused} refused`);
