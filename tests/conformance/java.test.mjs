// The back-end SDK for Java from Maven Central and the JDK's HTTP/2 client: java/Conformance.java does the work. Needs mvn
// and a JDK; without them, or without Maven Central, it is skipped with one line that begins with `skipped:`.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { deleteHub, freshHub } from "./support.mjs";

const here = fileURLToPath(new URL("java/", import.meta.url));
const trustPassword = "changeit";
const run = (command, args, options = {}) => spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });

let dir;
let hub;
before(async () => {
  dir = mkdtempSync(join(tmpdir(), "pushhub-java-"));
  hub = await freshHub("java");
});
after(async () => {
  await deleteHub(hub.name);
  rmSync(dir, { recursive: true, force: true });
});

/** The class path of the SDK; null after a visible line that says why there is none. */
function classPath() {
  const skipped = (why) => {
    console.log(`skipped: ${why}`);
    return null;
  };
  for (const [tool, argument, name] of [["mvn", "--version", "Maven"], ["javac", "-version", "JDK"], ["keytool", "-help", "keytool"]])
    if (run(tool, [argument]).error) return skipped(`no ${name}`);
  const file = join(dir, "classpath");
  const resolved = run("mvn", ["-B", "-q", "-f", join(here, "pom.xml"), "dependency:build-classpath", `-Dmdep.outputFile=${file}`], { timeout: 60_000 });
  if (resolved.status !== 0 || !existsSync(file)) return skipped("Maven Central does not give the SDK");
  return readFileSync(file, "utf8").trim();
}

it("the Java SDK finds everything it needs", { timeout: 120_000 }, (t) => {
  const path = classPath();
  if (path === null) return t.skip("no Maven, no JDK or no Maven Central");
  const trust = join(dir, "trust.p12");
  const ca = ["-importcert", "-noprompt", "-alias", "pushhub", "-file", process.env.PUSHHUB_CA_FILE, "-keystore", trust, "-storetype", "PKCS12", "-storepass", trustPassword];
  const imported = run("keytool", ca);
  assert.equal(imported.status, 0, imported.stderr);
  const compiled = run("javac", ["-cp", path, "-d", dir, join(here, "Conformance.java")]);
  assert.equal(compiled.status, 0, compiled.stderr);
  const program = run(
    "java",
    [`-Djavax.net.ssl.trustStore=${trust}`, `-Djavax.net.ssl.trustStorePassword=${trustPassword}`, "-cp", `${dir}:${path}`, "Conformance"],
    { timeout: 90_000, env: { ...process.env, PUSHHUB_JAVA_HUB: hub.name } },
  );
  const lines = program.stdout.split("\n");
  for (const line of lines.filter((l) => /^(not )?ok - /.test(l))) t.diagnostic(line);
  assert.equal(program.status, 0, `${program.stdout}\n${program.stderr}`.slice(-5_000));
  assert.ok(lines.includes("# failed 0"));
});
