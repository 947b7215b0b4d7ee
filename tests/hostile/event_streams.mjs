// Event streams: 1,500 readers of one send's events on 30 connections, which all end at once; ten times. Places come back
// with the connections.
import { connect, frame, hub, preface, push, request, sas, share, types, wait } from "./support.mjs";
import { ask, finish } from "./rest.mjs";

const sent = await ask("POST", `/${hub}/messages`, { "ServiceBusNotification-Format": "apple", "PushHub-Canary": "1%; hold" }, '{"aps":{"alert":"x"}}');
const id = (sent.headers.location ?? "").replace(/\?.*/, "").replace(/.*\//, "");
const head = request("GET", `/${hub}/sends/${id}/events`, { authorization: sas() });
let opened = 0;
for (let round = 0; round < share(10); ++round) {
  const connections = await Promise.all(Array.from({ length: 30 }, () => connect("h2")));
  for (const connection of connections) {
    const bytes = [preface()];
    for (let i = 0; i < 50; ++i) bytes.push(frame(types.headers, 5, 1 + 2 * i, head));
    if (await push(connection, Buffer.concat(bytes))) opened += 50;
  }
  await wait(400);
  for (const { socket } of connections) socket.destroy();
}
await ask("POST", `/${hub}/sends/${id}/cancel`);
await wait(1_000);
const again = await ask("GET", `/${hub}/sends/${id}/events`, {}, undefined, { headOnly: true });
finish(`${opened} streams of events opened and dropped; the next one got ${again.status}`);
