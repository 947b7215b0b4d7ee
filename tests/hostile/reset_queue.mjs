// More streams than there may be, from clients that do not read: each HEADERS frame is refused with a RST_STREAM that waits
// to be written. The hub must stop reading. No key is needed.
import { connect, finish, frame, preface, push, request, share, types } from "./support.mjs";

const endBy = Date.now() + share(12_000);
const most = 64 << 20;
let sent = 0;
const connections = [];
await Promise.all(
  Array.from({ length: 8 }, async () => {
    const connection = await connect("h2", { reads: false });
    connections.push(connection);
    const head = request("POST", "/nothing");
    let going = await push(connection, preface());
    for (let stream = 1; going && Date.now() < endBy && sent < most;) {
      const frames = [];
      for (let i = 0; i < 1_000; ++i, stream += 2) frames.push(frame(types.headers, 4, stream, head));
      const bytes = Buffer.concat(frames);
      going = await push(connection, bytes, 2_000);
      if (going) sent += bytes.length;
    }
  }),
);
finish(connections, `${(sent / 1048576).toFixed(1)} MiB of HEADERS frames were taken from 8 clients that do not read`);
