// Blobs that are not read: 100 reads of a blob of 2 MB on each of 20 connections, with a window of zero. Neither bytes nor
// descriptors may go with them. The signed URL of a container is enough.
import https from "node:https";
import { readFileSync } from "node:fs";
import { connect, finish, frame, hold, hub, preface, push, request, sas, share, types, url } from "./support.mjs";

const ca = readFileSync(process.env.PUSHHUB_CA_FILE);
const call = (method, path, headers = {}, body) =>
  new Promise((done) => {
    const sent = https.request({ host: url.hostname, port: url.port, method, path, ca, headers, timeout: 20_000 }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => (text += chunk));
      answer.on("end", () => done({ status: answer.statusCode, text }));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => done({ status: 0, text: "" }));
    sent.end(body);
  });
const container = new URL((await call("GET", `/${hub}/blobcontainers/uploads`, { Authorization: sas() })).text);
const blob = `${container.pathname}/hostile.bin${container.search}`;
const { status } = await call("PUT", blob, { "x-ms-blob-type": "BlockBlob" }, Buffer.alloc(2_000_000, 120));
const connections = [];
let reads = 0;
for (let i = 0; i < share(20); ++i) {
  const connection = await connect("h2");
  connections.push(connection);
  const heads = [];
  for (let stream = 1; stream < 200; stream += 2) heads.push(frame(types.headers, 5, stream, request("GET", blob)));
  if (await push(connection, Buffer.concat([preface(0), ...heads]))) reads += heads.length;
}
await hold(8_000);
finish(connections, `blob written: ${status}; ${reads} reads with a window of zero, held for 8 s`);
