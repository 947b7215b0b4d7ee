// Web Push end to end against push services that share no code with pushhub: two small ones in Node, HTTP/2 and HTTP/1.1
// only, the package http_ece as the browser, node:crypto as the judge of VAPID. The hub is a process of its own, because
// its settings lead the services' names here.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createECDH, createHmac, createPublicKey, generateKeyPairSync, randomBytes, randomUUID, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { NotificationHubsClient } from "@azure/notification-hubs";
import * as models from "@azure/notification-hubs/models";
import ece from "http_ece";

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = resolve(process.env.PUSHHUB_BINARY ?? join(here, "../../build/asan/pushhub"));
const modern = "push.modern.example", old = "push.old.example";
const dir = mkdtempSync(join(tmpdir(), "pushhub-web-push-"));

const freePort = () =>
  new Promise((done) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** A browser: keys of its own, and what the services delivered to it. */
class Browser {
  constructor(host) {
    this.host = host;
    this.path = `/push/${randomUUID()}`;
    this.keys = createECDH("prime256v1");
    this.keys.generateKeys();
    this.auth = randomBytes(16);
    this.read = [];
  }
  get subscription() {
    return {
      endpoint: `https://${this.host}${this.path}`,
      p256dh: this.keys.getPublicKey("base64url"),
      auth: this.auth.toString("base64url"),
    };
  }
  deliver(body) {
    const plain = ece.decrypt(body, { version: "aes128gcm", privateKey: this.keys, authSecret: this.auth.toString("base64") });
    this.read.push(plain.toString());
  }
}

const browsers = new Map();
const tokens = new Map();
const requests = [];
const vapid = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwk = vapid.publicKey.export({ format: "jwk" });
const vapidPoint = Buffer.concat([Buffer.from([4]), Buffer.from(jwk.x, "base64url"), Buffer.from(jwk.y, "base64url")]);

/** What RFC 8030, 8188 and 8292 demand of a request; the answer's status. */
function judge(host, headers, path, body) {
  const browser = browsers.get(host + path);
  if (!browser) return 404;
  assert.match(headers.ttl ?? "", /^\d+$/);
  assert.equal(headers["content-encoding"], "aes128gcm");
  const match = /^vapid t=([\w-]+)\.([\w-]+)\.([\w-]+), k=([\w-]+)$/.exec(headers.authorization);
  assert.ok(match, headers.authorization);
  const [, head, claims, signature, point] = match;
  const bytes = Buffer.from(point, "base64url");
  assert.deepEqual(bytes, vapidPoint);
  const key = createPublicKey({
    format: "jwk",
    key: { kty: "EC", crv: "P-256", x: bytes.subarray(1, 33).toString("base64url"), y: bytes.subarray(33).toString("base64url") },
  });
  const signed = Buffer.from(`${head}.${claims}`);
  assert.ok(verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")), "signature");
  assert.deepEqual(JSON.parse(Buffer.from(head, "base64url")), { typ: "JWT", alg: "ES256" });
  const { aud, exp, sub } = JSON.parse(Buffer.from(claims, "base64url"));
  const now = Date.now() / 1000;
  assert.equal(aud, `https://${host}`);
  assert.ok(exp > now && exp <= now + 24 * 3600, `exp ${exp}`);
  assert.equal(sub, "mailto:push@example.org");
  tokens.set(host, (tokens.get(host) ?? new Set()).add(headers.authorization));
  assert.ok(body.length <= 4096);
  browser.deliver(body);
  return 201;
}

let faults = [];
function answer(host, version) {
  return (request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      let status = 500;
      try {
        const authority = request.headers[":authority"] ?? request.headers.host;
        assert.equal(authority, host);
        assert.equal(request.method, "POST");
        requests.push({ host, version: request.httpVersion, headers: request.headers });
        assert.equal(request.httpVersion, version);
        status = judge(host, request.headers, request.url, Buffer.concat(chunks));
      } catch (error) {
        faults.push(error);
      }
      response.writeHead(status, { location: `https://${host}/m/${randomUUID()}` });
      response.end();
    });
  };
}

let hub, client, servers;
before(async () => {
  // One leaf for all three names, signed by the authority that run.mjs has this process trust.
  const ca = process.env.PUSHHUB_CA_FILE;
  const [certFile, keyFile, csr, ext] = ["leaf.pem", "leaf.key", "leaf.csr", "leaf.ext"].map((name) => join(dir, name));
  const openssl = (...args) => execFileSync("openssl", args, { stdio: "ignore" });
  writeFileSync(ext, `subjectAltName=DNS:localhost,DNS:${modern},DNS:${old}\n`);
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=push services",
    "-keyout", keyFile, "-out", csr);
  openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", join(dirname(ca), "ca.key"), "-set_serial", `${Date.now()}`,
    "-days", "2", "-extfile", ext, "-out", certFile);
  const tls = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  servers = [
    http2.createSecureServer(tls, answer(modern, "2.0")),
    https.createServer({ ...tls, ALPNProtocols: ["http/1.1"] }, answer(old, "1.1")),
  ];
  for (const server of servers) await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const [modernPort, oldPort] = servers.map((server) => server.address().port);
  const [port, plainPort] = [await freePort(), await freePort()];
  hub = spawn(binary, [
    "serve", "--data-dir", join(dir, "hub"), "--listen", `127.0.0.1:${port}`, "--listen-plain", `127.0.0.1:${plainPort}`,
    "--lanes", "1", "--log-level", "warn", "--provider-ca-file", ca, "--tls-cert-file", certFile,
    "--tls-key-file", keyFile, "--push-services", `${modern},${old}`,
    "--connect-to", `${modern}:443=127.0.0.1:${modernPort},${old}:443=127.0.0.1:${oldPort}`,
  ], { stdio: "inherit" });
  const ready = () =>
    new Promise((done) =>
      http.get({ host: "127.0.0.1", port: plainPort, path: "/readyz", agent: false }, (response) => {
        response.resume();
        done(response.statusCode === 200);
      }).on("error", () => done(false)),
    );
  const deadline = Date.now() + 30_000;
  while (!(await ready())) {
    assert.ok(Date.now() < deadline && hub.exitCode === null, "the hub does not become ready");
    await wait(50);
  }
  const key = readFileSync(join(dir, "hub/root.key"), "utf8").trim();
  await putHub(port, key);
  client = new NotificationHubsClient(
    `Endpoint=sb://localhost:${port}/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=${key}`, "web",
  );
});

after(async () => {
  if (hub && hub.exitCode === null) {
    const ended = new Promise((done) => hub.on("exit", done));
    hub.kill("SIGTERM");
    await ended;
  }
  for (const server of servers ?? []) server.close();
  rmSync(dir, { recursive: true, force: true });
});

function putHub(port, key) {
  const property = (name, value) => `<Property><Name>${name}</Name><Value>${value}</Value></Property>`;
  const body =
    '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><NotificationHubDescription ' +
    'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"><BrowserCredential><Properties>' +
    property("Subject", "mailto:push@example.org") +
    property("VapidPublicKey", vapidPoint.toString("base64url")) +
    property("VapidPrivateKey", vapid.privateKey.export({ format: "jwk" }).d) +
    "</Properties></BrowserCredential></NotificationHubDescription></content></entry>";
  const sr = encodeURIComponent(`https://localhost:${port}/`), se = Math.floor(Date.now() / 1000) + 600;
  const sig = encodeURIComponent(createHmac("sha256", key).update(`${sr}\n${se}`).digest("base64"));
  return new Promise((done, failed) => {
    const request = https.request(
      {
        host: "localhost", port, method: "PUT", path: "/web?api-version=2020-06", agent: false,
        headers: {
          "Content-Type": "application/atom+xml",
          Authorization: `SharedAccessSignature sr=${sr}&sig=${sig}&se=${se}&skn=RootManageSharedAccessKey`,
        },
      },
      (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () =>
          response.statusCode === 201 ? done() : failed(new Error(`${response.statusCode} ${Buffer.concat(chunks)}`)));
      },
    );
    request.on("error", failed);
    request.end(body);
  });
}

async function register(count, host, tag, templates) {
  const made = [];
  for (let i = 0; i < count; ++i) {
    const browser = new Browser(host);
    browsers.set(host + browser.path, browser);
    made.push(browser);
    await client.createOrUpdateInstallation({
      installationId: randomUUID(), platform: "browser", pushChannel: browser.subscription, tags: [tag], templates,
    });
  }
  return made;
}

async function final(notificationId) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const details = await client.getNotificationOutcomeDetails(notificationId);
    if (["Completed", "NoTargetFound", "Abandoned"].includes(details.state)) return details;
    assert.ok(Date.now() < deadline, `still ${details.state}`);
    await wait(50);
  }
}

const same = () => {
  const seen = faults;
  faults = [];
  assert.deepEqual(seen, []);
};

describe("Web Push to services of others", () => {
  for (const [host, version] of [[modern, "2.0"], [old, "1.1"]]) {
    it(`a native send over HTTP/${version} is decrypted by http_ece`, async () => {
      const made = await register(5, host, `native:${version}`);
      const body = JSON.stringify({ title: "Grüße 🌷", n: 1 });
      const sent = await client.sendNotification(models.createBrowserNotification({ body }), { tagExpression: `native:${version}` });
      await final(sent.notificationId);
      same();
      for (const browser of made) assert.deepEqual(browser.read, [body]);
      assert.equal(tokens.get(host).size, 1, "one VAPID token per origin");
    });
  }

  it("templates are rendered and carry TTL, Urgency and Topic", async () => {
    const template = {
      body: '{"title":"$(title)"}',
      headers: { TTL: "90", Urgency: "high", Topic: "news" },
    };
    const made = [
      ...(await register(3, modern, "template", { t: template })),
      ...(await register(3, old, "template", { t: template })),
    ];
    requests.length = 0;
    const sent = await client.sendNotification(models.createTemplateNotification({ body: { title: "Storm" } }), { tagExpression: "template" });
    await final(sent.notificationId);
    same();
    for (const browser of made) assert.deepEqual(browser.read, ['{"title":"Storm"}']);
    assert.equal(requests.length, 6);
    for (const { headers } of requests) {
      assert.equal(headers.urgency, "high");
      assert.equal(headers.topic, "news");
      assert.equal(headers.ttl, "90");
    }
  });

  it("the longest message fits and one byte more does not", async () => {
    const [browser] = await register(1, modern, "long");
    const text = (bytes) => JSON.stringify({ a: "x".repeat(bytes - 8) });
    for (const [bytes, outcome] of [[3993, "Success"], [3994, "InvalidNotificationSize"]]) {
      const body = text(bytes);
      assert.equal(body.length, bytes);
      const sent = await client.sendNotification(models.createBrowserNotification({ body }), { tagExpression: "long" });
      const details = await final(sent.notificationId);
      assert.equal(JSON.stringify(details.browserOutcomeCounts).includes(outcome), true, JSON.stringify(details.browserOutcomeCounts));
    }
    same();
    assert.equal(browser.read.length, 1);
  });

  it("an endpoint of another host is refused when it is registered", async () => {
    for (const host of ["web.push.apple.com", `${modern}.evil.example`, "127.0.0.1", "localhost"]) {
      const browser = new Browser(host);
      await assert.rejects(
        client.createOrUpdateInstallation({ installationId: randomUUID(), platform: "browser", pushChannel: browser.subscription }),
        (error) => error.statusCode === 400,
      );
    }
  });
});
