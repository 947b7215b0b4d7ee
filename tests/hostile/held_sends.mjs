// Held sends: with a Send key, sends with a canary until the hub takes no more (2,000 at most, 20 s), each of which would be
// held for 168 hours; a second hub is made first, so the first has a share. Then as many scheduled sends (2,000 at most, 10 s).
// All are canceled at the end. Other hubs, and sends of this hub without a canary, go on.
import { ask, finish, hub, putHub, share } from "./rest.mjs";

const other = await putHub(`${hub}-beside`);
const headers = { "ServiceBusNotification-Format": "apple" };
const body = JSON.stringify({ aps: { alert: "x" } });
const idOf = (reply) => (reply.headers.location ?? "").replace(/\?.*/, "").replace(/.*\//, "");
const fill = async (path, more, milliseconds) => {
  const endBy = Date.now() + share(milliseconds);
  const ids = [];
  let refused = 0;
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (refused < 40 && ids.length < share(2_000) && Date.now() < endBy) {
        const reply = await ask("POST", path, { ...headers, ...more }, body);
        if (reply.status === 201) ids.push(idOf(reply));
        else refused += 1;
      }
    }),
  );
  return { ids, refused };
};
const held = await fill(`/${hub}/messages`, { "PushHub-Canary": "1%; hold" }, 20_000);
const beside = await ask("POST", `/${other}/messages`, headers, body);
const plain = await ask("POST", `/${hub}/messages`, { ...headers, "ServiceBusNotification-Tags": "nobody" }, body);
const inAnHour = new Date(Date.now() + 3_600_000).toISOString().slice(0, 19);
const planned = await fill(`/${hub}/schedulednotifications`, { "ServiceBusNotification-ScheduleTime": inAnHour }, 10_000);
const later = await ask("POST", `/${other}/schedulednotifications`, { ...headers, "ServiceBusNotification-ScheduleTime": inAnHour }, body);
for (const id of [...held.ids, ...planned.ids]) await ask("POST", `/${hub}/sends/${id}/cancel`);
await ask("POST", `/${other}/sends/${idOf(later)}/cancel`);
finish(
  `${held.ids.length} held sends, ${held.refused} refused; ${planned.ids.length} scheduled, ${planned.refused} refused; ` +
    `the hub beside it got ${beside.status} and ${later.status}, a send without a canary ${plain.status}`,
);
