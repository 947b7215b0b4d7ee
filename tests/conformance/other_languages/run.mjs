#!/usr/bin/env node
// Clients of other languages, unmodified, against the simulators of `pushhub sim`, each with all checks of its provider.
//
//   tests/conformance/other_languages/run.mjs [NAME...]
//
// bench/peers/ has a small driver for each client, and builds it; one whose tools or packages are not there is named as
// skipped. Each sends one push, then a hundred of which three handles are gone: the simulator must take the others, and the
// client must be told of the three. PUSHHUB_BINARY chooses the program (default: build/asan/pushhub of this tree).
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("../../../", import.meta.url));
const binary = resolve(process.env.PUSHHUB_BINARY ?? join(top, "build/asan/pushhub"));
const pushes = 100;
const gone = [3, 50, 99];
const withinMs = 60_000;

/** Per platform: a fresh handle, how rules name it, what a client says of one that is gone, and its credential. */
const platforms = {
  apns: {
    handle: () => randomBytes(32).toString("hex"),
    named: (handle) => handle.toUpperCase(),
    reason: /Unregistered/i,
    credential: (c, file) => ({
      PEER_KEY_FILE: file("key.p8", c.Token),
      PEER_KEY_ID: c.KeyId,
      PEER_TEAM_ID: c.AppId,
      PEER_TOPIC: c.AppName,
    }),
    body: { aps: { alert: "Slalom" } },
  },
  fcmv1: {
    handle: () => `${randomBytes(16).toString("base64url")}:APA91b${randomBytes(40).toString("base64url")}`,
    named: (handle) => handle,
    reason: /not.?found|unregistered|not-registered/i,
    credential: (c, file, url) => ({
      PEER_PROJECT: c.ProjectId,
      PEER_SERVICE_ACCOUNT: file(
        "account.json",
        JSON.stringify({
          type: "service_account",
          project_id: c.ProjectId,
          private_key_id: "1",
          private_key: c.PrivateKey,
          client_email: c.ClientEmail,
          client_id: "1",
          token_uri: `${url.replace("127.0.0.1", "localhost")}/token`,
        }),
      ),
    }),
    body: { message: { notification: { body: "Slalom" } } },
  },
  browser: {
    handle: async (sim) => {
      const wanted = encodeURIComponent(`https://jmt17.google.com/fcm/send/${randomBytes(16).toString("hex")}`);
      return JSON.stringify(await (await fetch(`${sim.control_url}/subscription?endpoint=${wanted}`)).json());
    },
    named: (handle) => handle,
    reason: /410|gone|expired/i,
    credential: (c, file) => ({
      PEER_SUBJECT: c.Subject,
      PEER_VAPID_PUBLIC: c.VapidPublicKey,
      PEER_VAPID_PRIVATE: c.VapidPrivateKey,
    }),
    body: { title: "Slalom" },
  },
  wns: {
    handle: () => `https://db5.notify.windows.com/?token=${randomBytes(32).toString("hex")}`,
    named: (handle) => handle,
    reason: /410|expired/i,
    credential: (c) => ({ PEER_PACKAGE_SID: c.PackageSid, PEER_SECRET: c.SecretKey }),
    body: { text: "Slalom" },
  },
  adm: {
    handle: () => `amzn1.adm-registration.v3.${randomBytes(32).toString("base64url")}`,
    named: (handle) => handle,
    reason: /Unregistered/,
    credential: (c) => ({ PEER_CLIENT_ID: c.ClientId, PEER_SECRET: c.ClientSecret }),
    body: { text: "Slalom" },
  },
  hms: {
    handle: () => `IQAAAACy${randomBytes(48).toString("base64url")}`,
    named: (handle) => handle,
    reason: /80100000|invalid/,
    credential: (c) => ({ PEER_APP_ID: c.AppId, PEER_SECRET: c.ClientSecret }),
    body: { text: "Slalom" },
  },
};

const dir = mkdtempSync(join(tmpdir(), "pushhub-other-languages-"));
const children = new Set();
const start = (command, args, options) => {
  const child = spawn(command, args, options);
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
};
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

const limited = (promise, what) => {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`${what}: nothing within ${withinMs / 1000} s`)), withinMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** The lines of a child, as something that can be waited for. */
class Lines {
  constructor(child, name) {
    this.child = child;
    this.name = name;
    this.text = "";
    child.stderr?.on("data", (chunk) => (this.text += chunk));
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }
  /** All lines up to the first that begins with `prefix`, that one included. */
  async until(prefix) {
    const before = [];
    for (;;) {
      const { value, done } = await limited(this.lines.next(), this.name);
      if (done) throw new Error(`${this.name} ended: ${before.join("\n")}\n${this.text.slice(-3_000)}`);
      before.push(value);
      if (value.startsWith(prefix)) return before;
    }
  }
}

async function play(sim, name, command) {
  const platform = platforms[sim.platform];
  const place = join(dir, name);
  mkdirSync(place);
  const file = (base, text) => {
    writeFileSync(join(place, base), text, { mode: 0o600 });
    return join(place, base);
  };
  const handles = [];
  for (let i = 0; i <= pushes; ++i) handles.push(await platform.handle(sim));
  const marked = gone.map((i) => handles[i]);
  const rules = { add: true, handles: Object.fromEntries(marked.map((handle) => [platform.named(handle), "gone"])) };
  const said = await fetch(`${sim.control_url}/rules`, { method: "POST", body: JSON.stringify(rules) });
  if (!said.ok) throw new Error(`/rules: ${await said.text()}`);
  const env = {
    ...process.env,
    PEER_PORT: new URL(sim.url).port,
    PEER_CA: sim.ca,
    PEER_HANDLES: file("handles", handles.join("\n") + "\n"),
    PEER_BODY: JSON.stringify(platform.body),
    PEER_CONNECTIONS: "2",
    ...platform.credential(sim.credential, file, sim.url),
  };
  const child = start(command[0], command.slice(1), { env, stdio: ["pipe", "pipe", "pipe"] });
  const lines = new Lines(child, name);
  await lines.until("ready");
  // APNs allows one stream until a first push with a good token has been answered.
  const order = async (round, from, count) => {
    child.stdin.write(`${round} ${from} ${count}\n`);
    return lines.until(`done ${round} `);
  };
  const first = await order(1, pushes, 1);
  if (first.at(-1) !== "done 1 1 0") throw new Error(`the first push: ${first.join("; ")}`);
  const rest = await order(2, 0, pushes);
  if (rest.at(-1) !== `done 2 ${pushes - gone.length} ${gone.length}`) throw new Error(`the rest: ${rest.join("; ")}`);
  const refused = rest.filter((line) => line.startsWith("refused 2 "));
  for (const handle of marked) {
    const line = refused.find((one) => one.startsWith(`refused 2 ${handle} `));
    if (!line) throw new Error(`${handle} was not named: ${refused.join("; ")}`);
    if (!platform.reason.test(line.slice(`refused 2 ${handle} `.length))) throw new Error(`not the reason: ${line}`);
  }
  const arrived = new Set((await (await fetch(`${sim.control_url}/received`)).text()).split("\n"));
  const missing = handles.filter((handle) => !marked.includes(handle) && !arrived.has(platform.named(handle)));
  if (missing.length > 0) throw new Error(`${missing.length} did not arrive, such as ${missing[0]}`);
  child.stdin.end();
}

const wanted = process.argv.slice(2);
const prepared = spawnSync(join(top, "bench/peers/prepare"), [join(top, "build/peers"), ...(wanted.length ? wanted : ["--clients"])], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
if (prepared.status !== 0) process.exit(1);

const lines = new Lines(start(binary, ["sim", "--json", "--ca-dir", join(dir, "sim")], { stdio: ["ignore", "pipe", "pipe"] }), "pushhub sim");
const { ca_file: ca, simulators } = JSON.parse((await lines.until("{")).at(-1));
let passed = 0;
let failed = 0;
let skipped = 0;
for (const line of prepared.stdout.trim().split("\n")) {
  const [name, platform, version, ...command] = line.split("\t");
  if (version === "-") {
    skipped += 1;
    console.log(`skipped: ${name}: ${command.join(" ")}`);
    continue;
  }
  try {
    await play({ ...simulators.find((one) => one.platform === platform), ca }, name, command);
    passed += 1;
    console.log(`ok - ${platform}: ${name} ${version}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok - ${platform}: ${name} ${version}: ${error.message}`);
  }
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 ? 0 : 1);
