// 200 registrations of one handle, each with a body that XML makes several times as long, listed with a query of 7 KB of
// quotes on six connections that do not read, and once on one that does. A Listen key is enough. No page may be large.
import { connect, hold, push, sas, share, url, wait } from "./support.mjs";
import { ask, finish, hub } from "./rest.mjs";

const handle = "hostile-feed-handle";
const text = "]]&gt;".repeat(9_000);
const body =
  `<GcmTemplateRegistrationDescription><Tags>hostile</Tags><GcmRegistrationId>${handle}</GcmRegistrationId>` +
  `<BodyTemplate>{"a":"${text}"}</BodyTemplate></GcmTemplateRegistrationDescription>`;
let made = 0;
for (let round = 0; round < share(25); ++round) {
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => ask("POST", `/${hub}/registrations?api-version=2020-06`, {}, body)),
  );
  made += answers.filter(({ status }) => status === 200).length;
}
const target = `/${hub}/registrations?api-version=2020-06&$filter=GcmRegistrationId%20eq%20'${handle}'&test=${'"'.repeat(7_000)}`;
const request = `GET ${target} HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: ${sas()}\r\n\r\n`;
const connections = [];
for (let i = 0; i < 6; ++i) {
  const connection = await connect("http/1.1", { reads: false });
  connections.push(connection);
  for (let k = 0; k < 20; ++k) await push(connection, Buffer.from(request), 500);
}
await hold(5_000);
const reader = await connect();
await push(reader, Buffer.from(request));
await wait(3_000);
for (const { socket } of [...connections, reader]) socket.destroy();
finish(`${made} registrations; a page had ${reader.bytes} bytes`);
