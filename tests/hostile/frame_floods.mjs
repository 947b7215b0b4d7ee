// Floods of frames that carry nothing: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM, empty DATA, empty CONTINUATION,
// and streams that are reset at once. Each is 100,000 frames at most; the hub ends the connection long before. No key is
// needed.
import { connect, finish, frame, goaway, preface, push, request, types, wait } from "./support.mjs";

const four = Buffer.alloc(4);
const one = Buffer.from([0, 0, 0, 1]);
const open = frame(types.headers, 4, 1, request("POST", "/nothing"));
const cancel = Buffer.from([0, 0, 0, 8]);
const floods = {
  ping: () => frame(types.ping, 0, 0, Buffer.alloc(8)),
  settings: () => frame(types.settings, 0, 0),
  window_update: () => frame(types.windowUpdate, 0, 0, one),
  priority: () => frame(types.priority, 0, 3, Buffer.concat([four, Buffer.from([16])])),
  empty_data: () => frame(types.data, 0, 1),
  continuation: () => frame(types.continuation, 0, 1),
  rapid_reset: (i) =>
    Buffer.concat([frame(types.headers, 5, 2 * i + 1, request("GET", "/healthz")), frame(types.reset, 0, 2 * i + 1, cancel)]),
};
const begins = { empty_data: open, continuation: frame(types.headers, 0, 1, request("POST", "/nothing")) };

const connections = [];
const said = [];
for (const [name, make] of Object.entries(floods)) {
  const connection = await connect("h2");
  connections.push(connection);
  let going = await push(connection, Buffer.concat([preface(), begins[name] ?? Buffer.alloc(0)]));
  let sent = 0;
  while (going && !connection.closed && sent < 100_000) {
    going = await push(connection, Buffer.concat(Array.from({ length: 500 }, (_, i) => make(sent + i))), 2_000);
    sent += 500;
  }
  await wait(300);
  said.push(`${name}: ${connection.closed ? "ended" : "NOT ENDED"} after ${sent}, GOAWAY ${goaway(connection)}`);
}
finish(connections, said.join("\n"));
