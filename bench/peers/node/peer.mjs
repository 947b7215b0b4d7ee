// What the drivers in JavaScript have in common: ../prepare tells the protocol. A thread of its own for each connection,
// so that they use as many cores as the others. A driver calls peer(make): `make` is called in each thread and gives
// { send(handle) or sendMany(handles), inFlight }; send() rejects with the reason of a refusal, and sendMany() resolves to
// a list with the reason of each that was refused, else null.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import tls from "node:tls";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

const refusalsShown = 5;

export function setting(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}
export const port = Number(setting("PEER_PORT"));
export const ca = readFileSync(setting("PEER_CA"));
const handles = readFileSync(setting("PEER_HANDLES"), "utf8").trimEnd().split("\n");

/** A TLS socket to the simulator, for whatever host it was meant. */
export const lead = (servername, ALPNProtocols) =>
  tls.connect({ host: "127.0.0.1", port, servername, ca, ALPNProtocols });

async function work({ send, sendMany, inFlight }, from, end) {
  const refused = [];
  let next = from;
  const one = async () => {
    while (next < end) {
      const handle = handles[next++];
      await send(handle).catch((error) => refused.push([handle, error]));
    }
  };
  const many = async () => {
    while (next < end) {
      const part = handles.slice(next, Math.min(end, next + sendMany.batch));
      next += part.length;
      (await sendMany(part)).forEach((reason, i) => reason && refused.push([part[i], reason]));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, sendMany ? many : one));
  return refused.map(([handle, error]) => [handle, error instanceof Error ? error.message : String(error)]);
}

export async function peer(file, make) {
  if (!isMainThread) {
    const driver = await make();
    parentPort.on("message", async ([from, end]) => parentPort.postMessage(await work(driver, from, end)));
    parentPort.postMessage("ready");
    return;
  }
  const workers = Array.from({ length: Number(setting("PEER_CONNECTIONS")) }, () => new Worker(new URL(file)));
  for (const worker of workers) worker.on("error", (error) => { throw error; });
  const answer = (worker) => new Promise((done) => worker.once("message", done));
  await Promise.all(workers.map(answer));
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const [round, from, count] = line.split(" ").map(Number);
    const share = Math.ceil(count / workers.length);
    const answers = workers.map((worker, i) => {
      const start = Math.min(from + count, from + i * share);
      worker.postMessage([start, Math.min(from + count, start + share)]);
      return answer(worker);
    });
    const refused = (await Promise.all(answers)).flat();
    for (const [handle, reason] of refused.slice(0, refusalsShown)) console.log(`refused ${round} ${handle} ${reason}`);
    console.log(`done ${round} ${count - refused.length} ${refused.length}`);
  }
  process.exit(0);
}
