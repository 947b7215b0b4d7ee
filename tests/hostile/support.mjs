// What the attacks of this folder share: a hub's address and keys from the environment that `pushhub dev --env-file` writes,
// raw TLS connections, HTTP/2 frames, and a report at the end. An attack says what it is in its head comment, which --help
// prints, and is bounded in time and count by itself.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { setTimeout as wait } from "node:timers/promises";

export { wait };

/** A short run carries out a part of each attack: run.mjs says which in HOSTILE_PART, from 0 to 1. */
const part = Number(process.env.HOSTILE_PART ?? 1);
/** So many of `count`, at least one; and of a time in milliseconds. */
export const share = (count) => Math.max(1, Math.round(count * part));
export const hold = (ms) => wait(share(ms));

if (process.argv.includes("--help") || process.argv.includes("-h")) {
  const head = readFileSync(process.argv[1], "utf8").split("\n");
  console.log(
    head
      .slice(0, head.findIndex((line) => !line.startsWith("//")))
      .map((line) => line.replace(/^\/\/ ?/, ""))
      .join("\n"),
  );
  process.exit(0);
}

const need = (name) => {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set: source the file that pushhub dev --env-file writes`);
    process.exit(2);
  }
  return value;
};
export const url = new URL(need("PUSHHUB_URL"));
export const hub = need("PUSHHUB_HUB");
const ca = readFileSync(need("PUSHHUB_CA_FILE"));
const parts = Object.fromEntries(
  need("PUSHHUB_CONNECTION_STRING")
    .split(";")
    .filter(Boolean)
    .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
);

/** An Authorization value of the rule in the connection string. */
export function sas() {
  const resource = encodeURIComponent(`https://${url.host}/`.toLowerCase());
  const expires = Math.floor(Date.now() / 1000) + 600;
  const signature = createHmac("sha256", parts.SharedAccessKey).update(`${resource}\n${expires}`).digest("base64");
  return (
    `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expires}` +
    `&skn=${parts.SharedAccessKeyName}`
  );
}

/** A TLS connection that stays open whatever the hub does; `closed` says whether it has ended, `seen` what has come. */
export function connect(protocol = "http/1.1", { reads = true } = {}) {
  return new Promise((done) => {
    const socket = tls.connect({ host: url.hostname, port: Number(url.port), ca, ALPNProtocols: [protocol] });
    const connection = { socket, closed: false, bytes: 0, text: "" };
    const ended = () => {
      connection.closed = true;
      done(connection);
    };
    socket.on("secureConnect", () => {
      socket.setNoDelay(true);
      if (reads) {
        socket.on("data", (chunk) => {
          connection.bytes += chunk.length;
          if (connection.text.length < 20_000) connection.text += chunk.toString("latin1");
        });
      } else {
        socket.pause();
      }
      done(connection);
    });
    socket.on("error", ended);
    socket.on("close", ended);
  });
}

/** Writes and waits until the system has taken it, for `ms` at most. False: the hub takes no more. */
export async function push({ socket, closed }, bytes, ms = 5_000) {
  if (closed || socket.destroyed) return false;
  return new Promise((done) => {
    const end = (taken) => {
      clearTimeout(timer);
      socket.off("close", closing);
      done(taken);
    };
    const closing = () => end(false);
    const timer = setTimeout(closing, ms);
    socket.once("close", closing);
    socket.write(bytes, (error) => end(!error));
  });
}

/** An HTTP/2 frame (RFC 9113 4.1). */
export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
export const types = {
  data: 0, headers: 1, priority: 2, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9,
};

/** The preface and a SETTINGS frame; `window`: SETTINGS_INITIAL_WINDOW_SIZE. */
export function preface(window) {
  let settings = Buffer.alloc(0);
  if (window !== undefined) {
    settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0);
    settings.writeUInt32BE(window, 2);
  }
  return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(types.settings, 0, 0, settings)]);
}

/** HPACK without Huffman coding and table (RFC 7541 6.2.2); pseudo headers first. */
export function block(headers) {
  const text = (value) => {
    const bytes = Buffer.from(value);
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const size = [127];
    let left = bytes.length - 127;
    for (; left >= 128; left >>= 7) size.push((left & 127) | 128);
    size.push(left);
    return Buffer.concat([Buffer.from(size), bytes]);
  };
  return Buffer.concat(
    Object.entries(headers).map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])),
  );
}
export const request = (method, path, more = {}) =>
  block({ ":method": method, ":scheme": "https", ":path": path, ":authority": url.host, ...more });

/** Has a GOAWAY come, and with which error? */
export function goaway(connection) {
  const seen = Buffer.from(connection.text, "latin1");
  for (let at = 0; at + 17 <= seen.length; at += 9 + seen.readUIntBE(at, 3))
    if (seen[at + 3] === types.goaway) return seen.readUInt32BE(at + 13);
  return undefined;
}

/** Ends all connections, says what was done, and ends the program. */
export function finish(connections, said) {
  for (const { socket } of connections) socket.destroy();
  console.log(said);
  process.exit(0);
}
