// Refused requests: without a signature, with a wrong one, to paths that there are not, as fast as 20 connections go, for
// 8 s. Each may cost an answer, and not a line of the log. No key is needed.
import { connect, finish, hub, push, share, url, wait } from "./support.mjs";

const lines = [
  `GET /${hub}/registrations HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`,
  `GET /${hub}/registrations HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: SharedAccessSignature sr=x&sig=y&se=1&skn=z\r\n\r\n`,
  `GET /nothing/at/all HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`,
];
const endBy = Date.now() + share(8_000);
let requests = 0;
const connections = await Promise.all(Array.from({ length: 20 }, () => connect()));
await Promise.all(
  connections.map(async (connection, i) => {
    const some = lines[i % lines.length].repeat(100);
    while (!connection.closed && Date.now() < endBy && requests < 1_000_000) {
      const before = connection.bytes;
      if (!(await push(connection, some))) break;
      requests += 100;
      // The answers are longer than this: the next hundred goes out when most of them are there.
      while (!connection.closed && connection.bytes < before + 100 * 300 && Date.now() < endBy) await wait(1);
    }
  }),
);
const answered = connections.reduce((sum, { bytes }) => sum + bytes, 0);
finish(
  connections,
  `${requests} requests that are refused, on ${connections.length} connections; ${(answered / 1048576).toFixed(0)} MiB of answers`,
);
