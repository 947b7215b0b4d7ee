// Starts `pushhub dev` once, runs every *.test.mjs against it, one file after the other, and ends with the totals as
// `# pass N` and `# fail N`. A hub that does not stop cleanly on SIGTERM is one more failure.
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

/** Values of a file of NAME='value' lines, as a shell would source it. */
function parseEnv(text) {
  const values = {};
  for (const line of text.split("\n")) {
    const match = /^(?:export )?([A-Z0-9_]+)='(.*)'$/.exec(line);
    if (match) values[match[1]] = match[2].replaceAll("'\\''", "'");
  }
  return values;
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
let exit;
ended.then((how) => (exit = how));

let pass = 0;
let fail = 0;
try {
  const deadline = Date.now() + readyWithinMs;
  while (!existsSync(envFile) && !exit && Date.now() < deadline) await wait(50);
  if (!existsSync(envFile)) throw new Error(`pushhub dev did not become ready: ${JSON.stringify(exit)}`);
  const values = parseEnv(readFileSync(envFile, "utf8"));

  const wanted = process.argv.slice(2);
  const files = readdirSync(here)
    .filter((name) => name.endsWith(".test.mjs") && (!wanted.length || wanted.includes(name)))
    .sort();
  for (const file of files) {
    const runner = spawn(process.execPath, ["--test", "--test-reporter=tap", file], {
      cwd: here,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ...values, NODE_EXTRA_CA_CERTS: values.PUSHHUB_CA_FILE, NODE_NO_WARNINGS: "1" },
    });
    let tap = "";
    runner.stdout.on("data", (chunk) => (tap += chunk));
    const code = await new Promise((done) => runner.on("exit", done));
    process.stdout.write(`# file ${file}\n${tap}`);
    const total = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
    const failed = total("fail") + total("cancelled");
    pass += total("pass");
    fail += failed === 0 && code !== 0 ? 1 : failed;
    if (exit) throw new Error(`pushhub ended during ${file}: ${JSON.stringify(exit)}`);
  }
} catch (error) {
  fail += 1;
  console.log(`not ok - ${error.message}`);
}

if (!exit) {
  hub.kill("SIGTERM");
  const timeout = setTimeout(() => hub.kill("SIGKILL"), stopWithinMs);
  await ended;
  clearTimeout(timeout);
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
console.log(`# total\n# pass ${pass}\n# fail ${fail}`);
process.exit(fail === 0 ? 0 : 1);
