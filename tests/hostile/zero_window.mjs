// A window of zero: 100 requests for a large page on each of 60 connections, whose answers may not be sent. They must not
// stay in memory. No key is needed.
import { connect, finish, frame, hold, preface, push, request, share, types } from "./support.mjs";

const connections = [];
let requests = 0;
for (let i = 0; i < share(60); ++i) {
  const connection = await connect("h2");
  connections.push(connection);
  const heads = [];
  for (let stream = 1; stream < 200; stream += 2) heads.push(frame(types.headers, 5, stream, request("GET", "/openapi.json")));
  if (await push(connection, Buffer.concat([preface(0), ...heads]))) requests += heads.length;
}
await hold(8_000);
finish(connections, `${requests} requests on ${connections.length} connections with a window of zero, held for 8 s`);
