// Invented hosts: with a key as it is in every app, 600 WNS channels of hosts that there are not, and a send to them. Pushes
// to hosts that have answered do not wait for them. The registrations are removed at the end; 30 s at most.
import { ask, finish, hub, share, wait } from "./rest.mjs";

const count = share(600);
const run = Date.now().toString(36);
const ids = Array.from({ length: count }, (_, i) => `invented-${run}-${i}`);
const each = async (work) => {
  const left = [...ids.keys()];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let i = left.pop(); i !== undefined; i = left.pop()) await work(i);
    }),
  );
};
let kept = 0;
await each(async (i) => {
  const reply = await ask("PUT", `/${hub}/installations/${ids[i]}`, { "Content-Type": "application/json" }, JSON.stringify({
    installationId: ids[i], platform: "wns", tags: [`invented-${run}`],
    pushChannel: `https://h${i}-${run}.notify.windows.com/?token=${i}`,
  }));
  if (reply.status === 200) kept += 1;
});
const send = (tag) =>
  ask("POST", `/${hub}/messages`, {
    "ServiceBusNotification-Format": "windows", "ServiceBusNotification-Tags": tag, "X-WNS-Type": "wns/toast",
    "Content-Type": "application/xml",
  }, "<toast/>");
const bad = await send(`invented-${run}`);
await wait(share(5_000));
const id = (bad.headers.location ?? "").replace(/\?.*/, "").replace(/.*\//, "");
await ask("POST", `/${hub}/sends/${id}/cancel`);
await each((i) => ask("DELETE", `/${hub}/installations/${ids[i]}`));
finish(`${kept} channels of invented hosts; the send to them got ${bad.status}`);
