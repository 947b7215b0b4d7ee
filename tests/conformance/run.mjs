// Starts `pushhub dev` once, runs every *.test.mjs against it, one file after the other, and ends with the totals as
// `# pass N` and `# fail N`. A hub that does not stop cleanly on SIGTERM is one more failure. A file that exceeds its time
// limit is killed with all it started and is one failure; what it had printed until then is shown.
// Beside it runs `pushhub sim` with every provider, for clients that are not ours (PUSHHUB_SIMS, its JSON line).
// PUSHHUB_BINARY chooses the program (default: build/asan/pushhub of this tree).
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = resolve(process.env.PUSHHUB_BINARY ?? join(here, "../../build/asan/pushhub"));
const readyWithinMs = 60_000;
const stopWithinMs = 30_000;
const fileWithinMs = (file) => (file === "java.test.mjs" ? 420_000 : 180_000);

/** Values of a file of NAME='value' lines, as a shell would source it. */
function parseEnv(text) {
  const values = {};
  for (const line of text.split("\n")) {
    const match = /^(?:export )?([A-Z0-9_]+)='(.*)'$/.exec(line);
    if (match) values[match[1]] = match[2].replaceAll("'\\''", "'");
  }
  return values;
}

let running;
/** Runs one file in a process group of its own; its TAP text, its exit code, and whether it ran out of time. */
function runFile(file, env, withinMs) {
  const runner = spawn(process.execPath, ["--test", "--test-reporter=tap", file], {
    cwd: here,
    stdio: ["ignore", "pipe", "inherit"],
    env,
    detached: true,
  });
  running = runner;
  let tap = "";
  let late = false;
  runner.stdout.on("data", (chunk) => (tap += chunk));
  return new Promise((done, failed) => {
    const limit = setTimeout(() => {
      late = true;
      killGroup(runner);
    }, withinMs);
    runner.on("error", (error) => {
      clearTimeout(limit);
      failed(error);
    });
    runner.on("close", (code) => {
      clearTimeout(limit);
      running = undefined;
      done({ tap, code, late });
    });
  });
}
function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** Asks a process to stop and waits; false when it had to be killed. */
async function stop(child, ended) {
  let inTime = true;
  child.kill("SIGTERM");
  const timeout = setTimeout(() => {
    inTime = false;
    child.kill("SIGKILL");
  }, stopWithinMs);
  await ended;
  clearTimeout(timeout);
  return inTime;
}

const dir = mkdtempSync(join(tmpdir(), "pushhub-conformance-"));
const envFile = join(dir, "dev.env");
let output = "";
const hub = spawn(
  binary,
  ["dev", "--devices", "0", "--env-file", envFile, "--data-dir", join(dir, "data")],
  { stdio: ["ignore", "pipe", "pipe"] },
);
hub.stdout.on("data", (chunk) => (output += chunk));
hub.stderr.on("data", (chunk) => (output += chunk));
const ended = new Promise((done) => {
  hub.on("exit", (code, signal) => done({ code, signal }));
  hub.on("error", (error) => done({ code: -1, signal: error.message }));
});
const sim = spawn(binary, ["sim", "--json", "--ca-dir", join(dir, "sim")], { stdio: ["ignore", "pipe", "inherit"] });
let simLine = "";
sim.stdout.on("data", (chunk) => (simLine += chunk));
const simEnded = new Promise((done) => sim.on("exit", done).on("error", done));
let exit;
ended.then((how) => (exit = how));

let pass = 0;
let fail = 0;
const summary = [];
// The groups of the test files do not get the signals of ours.
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => {
    console.log(`not ok - interrupted by ${signal}`);
    if (running) killGroup(running);
    sim.kill("SIGKILL");
    hub.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
    process.exit(1);
  });
try {
  const deadline = Date.now() + readyWithinMs;
  while ((!existsSync(envFile) || !simLine.endsWith("\n")) && !exit && Date.now() < deadline) await wait(50);
  if (!existsSync(envFile)) throw new Error(`pushhub dev did not become ready: ${JSON.stringify(exit)}`);
  if (!simLine.endsWith("\n")) throw new Error("pushhub sim did not become ready");
  const values = parseEnv(readFileSync(envFile, "utf8"));
  const authorities = join(dir, "authorities.pem");
  const simCa = readFileSync(JSON.parse(simLine).ca_file, "utf8");
  writeFileSync(authorities, readFileSync(values.PUSHHUB_CA_FILE, "utf8") + simCa);

  const env = {
    ...process.env,
    ...values,
    PUSHHUB_SIMS: simLine,
    NODE_EXTRA_CA_CERTS: authorities,
    NODE_NO_WARNINGS: "1",
  };
  const wanted = process.argv.slice(2);
  const files = readdirSync(here)
    .filter((name) => name.endsWith(".test.mjs") && (!wanted.length || wanted.includes(name)))
    .sort();
  for (const file of files) {
    const began = Date.now();
    const { tap, code, late } = await runFile(file, env, fileWithinMs(file));
    process.stdout.write(`# file ${file}\n${tap}`);
    if (late) {
      fail += 1;
      summary.push(`# ${file}: killed, fail 1`);
      console.log(`not ok - ${file} was killed: not finished within ${fileWithinMs(file) / 1000} s`);
      if (exit) throw new Error(`pushhub ended during ${file}: ${JSON.stringify(exit)}`);
      continue;
    }
    const total = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
    const failed = total("fail") + total("cancelled");
    pass += total("pass");
    const failedHere = failed === 0 && code !== 0 ? 1 : failed;
    fail += failedHere;
    summary.push(`# ${file}: pass ${total("pass")}, fail ${failedHere}, ${((Date.now() - began) / 1000).toFixed(1)} s`);
    if (exit) throw new Error(`pushhub ended during ${file}: ${JSON.stringify(exit)}`);
  }
} catch (error) {
  fail += 1;
  console.log(`not ok - ${error.message}`);
}

if (!(await stop(sim, simEnded))) {
  fail += 1;
  console.log("not ok - pushhub sim does not stop on SIGTERM");
}
if (!exit) {
  await stop(hub, ended);
  if (exit.code === 0) {
    pass += 1;
    console.log("ok - pushhub stops cleanly on SIGTERM");
  } else {
    fail += 1;
    console.log(`not ok - pushhub stops cleanly on SIGTERM: ${JSON.stringify(exit)}`);
  }
}
if (fail > 0) console.log(`# output of pushhub dev:\n${output.slice(-20_000)}`);
if (fail > 0 && process.env.PUSHHUB_KEEP) writeFileSync(join(dir, "dev.log"), output);
else rmSync(dir, { recursive: true, force: true });
console.log(`${summary.join("\n")}\n# total\n# pass ${pass}\n# fail ${fail}`);
process.exit(fail === 0 ? 0 : 1);
