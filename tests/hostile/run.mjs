// Runs every attack of this folder, one after the other, against one `pushhub dev` under a bound of memory, and judges the
// hub: it lives, others are answered in time meanwhile, and memory and descriptors come back. Ends with `# pass N` and
// `# fail N`.
//
//   node tests/hostile/run.mjs [--binary PROGRAM] [--memory-mib N] [--minutes N] [--short] [--report FILE] [ATTACK...]
//
// An attack is a program `<name>.mjs` of this folder. It reads the environment that `pushhub dev --env-file` writes, is
// bounded in time and count by itself, and exits with 0 when it was carried out. With --minutes the attacks run in rounds
// for that long. --report writes a page in Markdown, with pictures of every second's memory, descriptors and latencies.
//
// With --short each attack is a fifth of itself, and the verdict is what holds on two cores that others share and under a
// sanitizer: the hub lives within its memory, every request of others is answered as it should be, the attack comes to its
// end, memory and descriptors come back. How fast others are answered (99 of 100 within 250 ms) is told, and judged in the
// full run only.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeReport } from "./report.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    binary: { type: "string", default: join(here, "../../build/asan/pushhub") },
    "memory-mib": { type: "string", default: "1500" },
    minutes: { type: "string", default: "0" },
    short: { type: "boolean", default: false },
    report: { type: "string" },
    help: { type: "boolean", short: "h" },
  },
});
if (options.help) {
  console.log(
    readFileSync(fileURLToPath(import.meta.url), "utf8")
      .split("\n")
      .filter((line) => line.startsWith("//"))
      .map((line) => line.slice(3))
      .join("\n"),
  );
  process.exit(0);
}
const memoryMib = Number(options["memory-mib"]);
const minutes = Number(options.minutes);
const attackWithinMs = 60_000;
const settleWithinMs = 40_000;
const p99MsMax = options.short ? Infinity : 250;
const memoryRatioMax = options.short ? 1.5 : 1.2;
const memoryNoiseMib = 96; // what an allocator keeps, and memtables of what the attack stored, is not a leak
if (options.short) process.env.HOSTILE_PART = "0.2";

const parseEnv = (text) =>
  Object.fromEntries(
    [...text.matchAll(/^(?:export )?([A-Z0-9_]+)='(.*)'$/gm)].map(([, name, value]) => [
      name,
      value.replaceAll("'\\''", "'"),
    ]),
  );

// A sanitizer needs terabytes of addresses, so its own bound takes the place of `ulimit -v`. It keeps what is freed for a
// while to find later uses; here that is little, and goes back to the system at once (a time between would leave what was
// freed last), so that memory says what the hub holds.
const sanitizer = [
  `hard_rss_limit_mb=${memoryMib}`,
  "quarantine_size_mb=4",
  "thread_local_quarantine_size_kb=64",
  "allocator_release_to_os_interval_ms=0",
  "detect_leaks=1",
].join(":");

const dir = mkdtempSync(join(tmpdir(), "pushhub-hostile-"));
const envFile = join(dir, "dev.env");
let output = "";
const hub = spawn(
  resolve(options.binary),
  ["dev", "--devices", "200", "--env-file", envFile, "--data-dir", join(dir, "data")],
  {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ASAN_OPTIONS: sanitizer },
  },
);
const keep = (chunk) => (output = (output + chunk).slice(-200_000));
hub.stdout.on("data", keep);
hub.stderr.on("data", keep);
let exit;
const ended = new Promise((done) => {
  hub.on("exit", (code, signal) => done((exit = { code, signal })));
  hub.on("error", (error) => done((exit = { code: -1, signal: error.message })));
});
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => {
    hub.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
    process.exit(1);
  });

const memoryOf = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${hub.pid}/status`, "utf8"))[1]) / 1024;
const descriptorsOf = () => readdirSync(`/proc/${hub.pid}/fd`).length;

/** The other client: one request every 25 ms, of three kinds in turn, on connections that stay open. */
class Others {
  latenciesMs = [];
  failures = [];
  #on = true;
  /** `rest`: the module rest.mjs, which reads the environment of the hub when it is loaded. */
  constructor(rest) {
    this.rest = rest;
    this.ended = this.#run();
  }
  async request(...asked) {
    return (await this.rest.ask(...asked)).status;
  }
  async #one(turn) {
    const id = `other-${turn % 50}`;
    const json = { "Content-Type": "application/json" };
    const installation = JSON.stringify({
      installationId: id,
      platform: "fcmv1",
      pushChannel: `other-client-token-${turn % 50}`,
      tags: [`turn:${turn}`],
    });
    if (turn % 3 === 0) return [await this.request("GET", "/healthz"), 200];
    if (turn % 3 === 1) return [await this.request("PUT", `/${this.rest.hub}/installations/${id}`, json, installation), 200];
    return [await this.request("GET", `/${this.rest.hub}/installations/other-1`), 200];
  }
  async #run() {
    for (let turn = 1; this.#on; turn += 1) {
      const began = performance.now();
      const [status, expected] = await this.#one(turn);
      if (status !== expected) this.failures.push(`turn ${turn}: status ${status || "none, the request failed"}`);
      this.latenciesMs.push(performance.now() - began);
      await wait(25);
    }
  }
  /** Figures since the last time. */
  take() {
    const sorted = this.latenciesMs.sort((a, b) => a - b);
    const figures = {
      requests: sorted.length,
      p50: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
      p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
      failures: this.failures,
    };
    this.latenciesMs = [];
    this.failures = [];
    return figures;
  }
  async stop() {
    this.#on = false;
    await this.ended;
  }
}

function carryOut(file, env) {
  const attack = spawn(process.execPath, [join(here, file)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env, NODE_EXTRA_CA_CERTS: env.PUSHHUB_CA_FILE, NODE_NO_WARNINGS: "1" },
  });
  let said = "";
  attack.stdout.on("data", (chunk) => (said += chunk));
  attack.stderr.on("data", (chunk) => (said += chunk));
  return new Promise((done) => {
    const limit = setTimeout(() => attack.kill("SIGKILL"), attackWithinMs);
    attack.on("error", (error) => done({ code: -1, said: error.message }));
    attack.on("close", (code) => {
      clearTimeout(limit);
      done({ code, said });
    });
  });
}

let pass = 0;
let fail = 0;
const verdict = (sound, text) => {
  if (sound) pass += 1;
  else fail += 1;
  console.log(`${sound ? "ok" : "not ok"} - ${text}`);
};

const samples = [];
const rounds = [];
let answered = 0;
try {
  const readyBy = Date.now() + 60_000;
  while (!existsSync(envFile) && !exit && Date.now() < readyBy) await wait(50);
  if (!existsSync(envFile)) throw new Error(`pushhub dev did not become ready: ${JSON.stringify(exit)}`);
  const env = parseEnv(readFileSync(envFile, "utf8"));
  Object.assign(process.env, env);
  const others = new Others(await import("./rest.mjs"));
  await wait(2_000); // pools and caches fill
  others.take();
  const attacks = readdirSync(here)
    .filter((file) => file.endsWith(".mjs") && !["run.mjs", "report.mjs", "support.mjs", "rest.mjs"].includes(file))
    .filter((file) => !wanted.length || wanted.includes(file.replace(/\.mjs$/, "")))
    .sort();
  if (!attacks.length) throw new Error(`no such attack: ${wanted.join(", ")}`);
  const endBy = Date.now() + minutes * 60_000;
  const began = Date.now();
  const sampler = setInterval(() => {
    if (exit) return;
    const sorted = [...others.latenciesMs].sort((a, b) => a - b);
    samples.push({
      s: Math.round((Date.now() - began) / 1000),
      rss_mib: Math.round(memoryOf()),
      descriptors: descriptorsOf(),
      p99_ms: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0),
    });
  }, 1_000);
  let round = 0;
  do {
    round += 1;
    for (const file of attacks) {
      const name = file.replace(/\.mjs$/, "");
      const before = { memory: memoryOf(), descriptors: descriptorsOf() };
      let peak = before.memory;
      const watch = setInterval(() => !exit && (peak = Math.max(peak, memoryOf())), 50);
      const { code, said } = await carryOut(file, env);
      clearInterval(watch);
      if (exit) throw new Error(`${name}: the hub ended: ${JSON.stringify(exit)}\n${said}`);
      const figures = others.take();
      const allowed = before.memory * memoryRatioMax + memoryNoiseMib;
      const settleBy = Date.now() + settleWithinMs;
      const settled = () => memoryOf() <= allowed && descriptorsOf() <= before.descriptors + 16;
      while (!settled() && Date.now() < settleBy) await wait(250);
      const after = { memory: memoryOf(), descriptors: descriptorsOf() };
      const text =
        `${name}: others p50 ${figures.p50.toFixed(0)} p99 ${figures.p99.toFixed(0)} ms of ${figures.requests}, ` +
        `memory ${before.memory.toFixed(0)} → ${peak.toFixed(0)} → ${after.memory.toFixed(0)} MiB, ` +
        `descriptors ${before.descriptors} → ${after.descriptors}`;
      const faults = [];
      if (code !== 0) faults.push(`the attack was not carried out (${code}): ${said.slice(-2_000)}`);
      if (figures.failures.length) faults.push(`others failed: ${figures.failures.slice(0, 5).join("; ")}`);
      if (figures.p99 > p99MsMax) faults.push(`p99 of others is over ${p99MsMax} ms`);
      if (!settled()) faults.push("memory or descriptors do not come back");
      verdict(faults.length === 0, [text, ...faults].join("\n  "));
      rounds.push({ name, ...figures, before: before.memory, peak, after: after.memory, faults });
      others.take();
    }
  } while (Date.now() < endBy);
  clearInterval(sampler);
  if (minutes > 0) console.log(`${round} rounds of ${attacks.length} attacks`);
  await others.stop();
  answered = (await others.rest.text("/metrics"))
    .split("\n")
    .filter((line) => line.startsWith("pushhub_http_requests_total{"))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
} catch (error) {
  verdict(false, error.message);
}

if (!exit) {
  hub.kill("SIGTERM");
  const limit = setTimeout(() => hub.kill("SIGKILL"), 30_000);
  await ended;
  clearTimeout(limit);
  verdict(exit.code === 0, `the hub stops on SIGTERM (${JSON.stringify(exit)})`);
}
if (options.report) {
  const commit = execFileSync("git", ["rev-parse", "--short=12", "HEAD"], { cwd: here, encoding: "utf8" }).trim();
  const sanitized = readFileSync(resolve(options.binary)).includes("__asan_init");
  writeReport(options.report, { rounds, samples, answered, memoryMib, commit, sanitized });
}
if (fail > 0) console.log(`# output of pushhub dev:\n${output.slice(-10_000)}`);
rmSync(dir, { recursive: true, force: true });
console.log(`# pass ${pass}\n# fail ${fail}`);
process.exit(fail === 0 ? 0 : 1);
