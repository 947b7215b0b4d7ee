// Readers that read nothing: 300 connections over HTTP/1.1 ask again and again for a large page and leave the answers in
// the hub. No key is needed.
import { connect, finish, hold, push, share, url } from "./support.mjs";

const connections = [];
const get = `GET /openapi.json HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`.repeat(50);
for (let i = 0; i < share(300); ++i) {
  const connection = await connect("http/1.1", { reads: false });
  connections.push(connection);
  await push(connection, get);
}
await hold(8_000);
finish(connections, `${connections.length} connections asked for 50 pages each and read none for 8 s`);
