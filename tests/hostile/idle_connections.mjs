// Idle connections: 3,000 from one address, half of them silent before the TLS handshake, the others after one request over
// HTTP/1.1. Others must still get in, and memory must come back. No key is needed.
import net from "node:net";
import { connect, finish, hold, push, share, url } from "./support.mjs";

const connections = [];
for (let i = 0; i < share(1_500); i += 50) {
  connections.push(
    ...(await Promise.all(
      Array.from(
        { length: 50 },
        () =>
          new Promise((done) => {
            const socket = net.connect(Number(url.port), url.hostname);
            const connection = { socket };
            socket.on("connect", () => done(connection));
            socket.on("error", () => done(connection));
          }),
      ),
    )),
  );
}
const endBy = Date.now() + share(15_000);
for (let i = 0; i < share(1_500) && Date.now() < endBy; i += 25) {
  const some = await Promise.all(Array.from({ length: 25 }, () => connect()));
  for (const one of some) push(one, `GET /healthz HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
  connections.push(...some);
}
await hold(3_000);
const open = connections.filter(({ closed, socket }) => !closed && !socket.destroyed).length;
finish(connections, `${connections.length} connections from one address, ${open} of them open after 3 s`);
