// Bodies without a signature: over HTTP/2 100 streams of 500 KB on each of 20 connections, over HTTP/1.1 bodies of 60 MB to
// the blob area, none of them ended. The hub must answer at the head and keep nothing. No key is needed.
import { connect, finish, frame, hold, hub, preface, push, request, share, types, url } from "./support.mjs";

const connections = [];
let pushed = 0;
const piece = Buffer.alloc(16_000, 0x78);
for (let i = 0; i < share(20); ++i) {
  const connection = await connect("h2");
  connections.push(connection);
  const begin = [preface()];
  for (let stream = 1; stream < 200; stream += 2)
    begin.push(frame(types.headers, 4, stream, request("POST", `/${hub}/messages`, { "content-length": "500000" })));
  if (!(await push(connection, Buffer.concat(begin)))) continue;
  for (let round = 0; round < 4; ++round) {
    const data = [];
    for (let stream = 1; stream < 200; stream += 2) data.push(frame(types.data, 0, stream, piece));
    if (!(await push(connection, Buffer.concat(data), 1_000))) break;
    pushed += data.length * piece.length;
  }
}
const big = Buffer.alloc(1 << 20, 0x78);
for (let i = 0; i < share(20); ++i) {
  const connection = await connect();
  connections.push(connection);
  await push(
    connection,
    `PUT /$blobs/${hub}/files/evil HTTP/1.1\r\nHost: ${url.host}\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 62914560\r\n\r\n`,
  );
  for (let round = 0; round < 8 && (await push(connection, big, 1_000)); ++round) pushed += big.length;
}
await hold(3_000);
finish(connections, `${(pushed / 1048576).toFixed(0)} MiB of bodies without a signature left this client`);
