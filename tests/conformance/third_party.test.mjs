// Clients of other people, unmodified from npm, against the simulators of `pushhub sim`: that the simulators do not
// merely agree with our own senders. Each is led there by its own options (host, port, agent); trust comes from
// NODE_EXTRA_CA_CERTS. firebase-admin signs in through the proxy of the environment, which is a small one of ours, and
// has no option at all for the host of its HTTP/2 sends: there http2.connect, not the client, is given another socket.
// apns2 cannot be closed: http2.connect remembers every session and the end of the file closes them. Its ping of a
// closed session would throw, so its first ping is due long after the end.
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import test, { after } from "node:test";
import tls from "node:tls";
import apn from "@parse/node-apn";
import { buildPushPayload } from "@block65/webcrypto-web-push";
import { fcm } from "@googleapis/fcm";
import { ApnsClient, Errors, Notification, SilentNotification } from "apns2";
import { cert, deleteApp, initializeApp } from "firebase-admin/app";
import { getMessaging } from "firebase-admin/messaging";
import { JWT } from "google-auth-library";
import adm from "node-adm";
import webpush from "web-push";
import wns from "wns";

const all = JSON.parse(process.env.PUSHHUB_SIMS ?? "null")?.simulators;
if (!all) throw new Error("PUSHHUB_SIMS is not set: run the tests through run.mjs");
const sims = Object.fromEntries(
  all.map((one) => [one.platform, { ...one, port: Number(new URL(one.url).port) }]),
);

async function control(sim, path, body) {
  const method = body === undefined ? "GET" : "POST";
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, sim.control_url), { method, agent: false }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => (text += chunk));
      answer.on("end", () => (answer.statusCode < 300 ? resolve(text) : reject(new Error(`${path}: ${text}`))));
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
const mark = (sim, handles) => control(sim, "/rules", { add: true, handles });
const received = async (sim) => (await control(sim, "/received")).split("\n").filter(Boolean);
const bodyOf = (sim, handle) => control(sim, `/bodies?handle=${encodeURIComponent(handle)}`);

/** An https.Agent whose connections all end at one simulator, for whatever host they were meant. */
class LeadTo extends https.Agent {
  constructor(sim) {
    super({ keepAlive: false });
    this.sim = sim;
  }
  createConnection(options, done) {
    const servername = options.servername || options.host || options.hostname;
    return tls.connect({ ...options, host: "127.0.0.1", port: this.sim.port, servername }, done);
  }
}

const { connect } = http2;
const sessions = new Set();
const connectTo = (...args) => {
  const session = connect(...args);
  sessions.add(session);
  return session.once("close", () => sessions.delete(session));
};
http2.connect = connectTo;

/** A CONNECT proxy that leads everywhere to Google's simulator. */
const proxy = http.createServer();
const tunnels = new Set();
proxy.on("connect", (request, socket) => {
  const there = net.connect(sims.fcmv1.port, "127.0.0.1", () => {
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    there.pipe(socket).pipe(there);
  });
  for (const [one, other] of [[socket, there], [there, socket]]) {
    tunnels.add(one);
    one.on("error", () => other.destroy());
    one.on("close", () => tunnels.delete(one));
  }
});

// Nothing may outlive the tests, failed ones included: one open handle keeps the process from ending.
after(() => {
  http2.connect = connect;
  for (const session of sessions) session.destroy();
  for (const socket of tunnels) socket.destroy();
  proxy.close();
  proxy.closeAllConnections();
});

const deviceToken = () => randomBytes(32).toString("hex");
const apnsToken = { key: sims.apns.credential.Token, keyId: sims.apns.credential.KeyId, teamId: sims.apns.credential.AppId };
const topic = sims.apns.credential.AppName;

test("@parse/node-apn sends, and is told which device is gone", async () => {
  const provider = new apn.Provider({ token: apnsToken, production: true, address: "localhost", port: sims.apns.port });
  try {
    const [good, other, gone] = [deviceToken(), deviceToken(), deviceToken()];
    await mark(sims.apns, { [gone.toUpperCase()]: "gone" });
    const note = new apn.Notification({ topic, alert: { title: "Biathlon", body: "Start" }, sound: "default" });
    note.pushType = "alert";
    note.id = randomUUID();
    note.collapseId = "biathlon";
    note.expiry = Math.floor(Date.now() / 1000) + 3600;
    const first = await provider.send(note, good);
    assert.deepEqual(first.failed, []);
    assert.equal(first.sent[0].device, good);
    const silent = new apn.Notification({ topic, contentAvailable: 1, payload: { sync: true } });
    silent.pushType = "background";
    silent.priority = 5;
    const second = await provider.send(silent, [other, gone]);
    assert.deepEqual(second.sent.map((one) => one.device), [other]);
    assert.equal(second.failed.length, 1);
    assert.equal(String(second.failed[0].status), "410");
    assert.equal(second.failed[0].response.reason, "Unregistered");
    const arrived = await received(sims.apns);
    for (const token of [good, other]) assert.ok(arrived.includes(token.toUpperCase()));
    assert.equal(JSON.parse(await bodyOf(sims.apns, good.toUpperCase())).aps.alert.title, "Biathlon");
  } finally {
    await provider.shutdown();
  }
});

test("@parse/node-apn is refused what Apple refuses", async () => {
  const provider = new apn.Provider({ token: apnsToken, production: true, address: "localhost", port: sims.apns.port });
  const stranger = new apn.Provider({
    token: { ...apnsToken, keyId: "AAAAAAAAAA" },
    production: true,
    address: "localhost",
    port: sims.apns.port,
  });
  try {
    const reason = async (who, change) => {
      const note = new apn.Notification({ topic, alert: "x" });
      note.pushType = "alert";
      change(note);
      return (await who.send(note, deviceToken())).failed[0].response.reason;
    };
    assert.equal(await reason(provider, (note) => (note.topic = "org.somebody.else")), "TopicDisallowed");
    assert.equal(await reason(provider, (note) => (note.collapseId = "x".repeat(65))), "BadCollapseId");
    assert.equal(await reason(stranger, () => {}), "InvalidProviderToken");
  } finally {
    await provider.shutdown();
    await stranger.shutdown();
  }
});

test("@parse/node-apn manages broadcast channels and sends to one", async () => {
  const provider = new apn.Provider({
    token: apnsToken,
    production: true,
    address: "localhost",
    port: sims.apns.port,
    manageChannelsAddress: "localhost",
    manageChannelsPort: sims.apns.port,
  });
  const done = (result) => {
    assert.deepEqual(result.failed ?? [], []);
    return (result.sent ?? result.broadcast)[0];
  };
  try {
    const create = new apn.Notification();
    create.rawPayload = { "message-storage-policy": 1, "push-type": "LiveActivity" };
    const made = done(await provider.manageChannels(create, topic, "create"));
    const id = made["apns-channel-id"];
    assert.match(id, /^[A-Za-z0-9+/=]+$/);
    const update = new apn.Notification({ channelId: id, pushType: "liveactivity", priority: 10 });
    update.expiry = Math.floor(Date.now() / 1000) + 3600;
    update.rawPayload = { aps: { timestamp: 1795200000, event: "update", "content-state": { score: "2:1" } } };
    done(await provider.broadcast(update, topic));
    assert.equal(JSON.parse(await bodyOf(sims.apns, `channel:${id}`)).aps["content-state"].score, "2:1");
  } finally {
    await provider.shutdown();
  }
});

test("apns2 sends many, and names each refusal", async () => {
  const client = new ApnsClient({
    host: `localhost:${sims.apns.port}`,
    team: apnsToken.teamId,
    keyId: apnsToken.keyId,
    signingKey: apnsToken.key,
    defaultTopic: topic,
    requestTimeout: 10_000,
    keepAlive: 600_000,
  });
  const tokens = Array.from({ length: 50 }, deviceToken);
  await mark(sims.apns, { [tokens[7].toUpperCase()]: "bad_handle" });
  const reasons = [];
  client.on(Errors.error, (error) => reasons.push(error.reason));
  await client.send(new SilentNotification(deviceToken()));
  const results = await client.sendMany(tokens.map((token) => new Notification(token, { alert: "Slalom" })));
  assert.equal(results.filter((result) => result.error).length, 1);
  assert.equal(results[7].error.reason, Errors.badDeviceToken);
  assert.deepEqual(reasons, ["BadDeviceToken"]);
  const arrived = new Set(await received(sims.apns));
  assert.equal(tokens.filter((token) => arrived.has(token.toUpperCase())).length, 49);
});

const firebase = async () => {
  if (!proxy.listening) await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  for (const name of ["NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "https_proxy"]) delete process.env[name];
  process.env.HTTPS_PROXY = `http://127.0.0.1:${proxy.address().port}`;
  const { ProjectId: projectId, ClientEmail: clientEmail, PrivateKey: privateKey } = sims.fcmv1.credential;
  const agent = new LeadTo(sims.fcmv1);
  http2.connect = (authority, options, ...rest) => {
    const { hostname } = new URL(authority);
    if (hostname !== "fcm.googleapis.com") return connectTo(authority, options, ...rest);
    const createConnection = () =>
      tls.connect({ host: "127.0.0.1", port: sims.fcmv1.port, servername: hostname, ALPNProtocols: ["h2"] });
    return connectTo(authority, { ...options, createConnection }, ...rest);
  };
  return initializeApp({ credential: cert({ projectId, clientEmail, privateKey }, agent), projectId, httpAgent: agent });
};

test("firebase-admin signs in, sends to tokens, topics and conditions, and dry-runs", async () => {
  const app = await firebase();
  try {
    const messaging = getMessaging(app);
    const name = new RegExp(`^projects/${sims.fcmv1.credential.ProjectId}/messages/`);
    const token = `${randomBytes(16).toString("base64url")}:APA91bThirdParty`;
    assert.match(await messaging.send({ token, notification: { title: "Curling" }, data: { end: "8" } }), name);
    assert.match(await messaging.send({ topic: "curling", data: { end: "9" } }), name);
    assert.match(await messaging.send({ condition: "'curling' in topics", data: { end: "10" } }), name);
    assert.match(await messaging.send({ token, data: { a: "b" } }, true), /fake_message_id$/);
    assert.equal(JSON.parse(await bodyOf(sims.fcmv1, token)).message.token, token);
  } finally {
    await deleteApp(app);
  }
});

test("firebase-admin sends many over HTTP/2 and maps each error", async () => {
  const app = await firebase();
  try {
    const tokens = Array.from({ length: 20 }, () => `${randomBytes(16).toString("base64url")}:APA91bMany`);
    await mark(sims.fcmv1, { [tokens[3]]: "gone", [tokens[4]]: "wrong_app", [tokens[5]]: "bad_handle" });
    const answer = await getMessaging(app).sendEach(tokens.map((token) => ({ token, notification: { title: "Luge" } })));
    assert.equal(answer.successCount, 17);
    const code = (i) => answer.responses[i].error.code;
    assert.equal(code(3), "messaging/registration-token-not-registered");
    assert.equal(code(4), "messaging/mismatched-credential");
    assert.equal(code(5), "messaging/invalid-argument");
  } finally {
    await deleteApp(app);
  }
});

test("@googleapis/fcm signs in, sends, and is told of a token that is gone", async () => {
  const app = await firebase();
  try {
    const { ProjectId: projectId, ClientEmail: email, PrivateKey: key } = sims.fcmv1.credential;
    const scopes = ["https://www.googleapis.com/auth/firebase.messaging"];
    const { messages } = fcm({ version: "v1", auth: new JWT({ email, key, scopes }) }).projects;
    const [good, gone] = [0, 1].map(() => `${randomBytes(16).toString("base64url")}:APA91bGenerated`);
    await mark(sims.fcmv1, { [gone]: "gone" });
    const send = (token) =>
      messages.send({ parent: `projects/${projectId}`, requestBody: { message: { token, notification: { title: "Bob" } } } });
    assert.match((await send(good)).data.name, new RegExp(`^projects/${projectId}/messages/`));
    await assert.rejects(send(gone), (error) => error.status === 404);
  } finally {
    await deleteApp(app);
  }
});

/** What `use` gives while every request over https that names no agent ends at one simulator. */
async function allLedTo(sim, use) {
  const before = https.globalAgent;
  https.globalAgent = new LeadTo(sim);
  try {
    return await use();
  } finally {
    https.globalAgent = before;
  }
}

test("wns signs in, sends toasts, tiles and raw bytes, and is told of a channel that has expired", async () => {
  const { PackageSid: client_id, SecretKey: client_secret } = sims.wns.credential;
  const channel = () => `https://db5.notify.windows.com/?token=${randomBytes(24).toString("hex")}`;
  const call = (name, ...args) =>
    new Promise((done, failed) =>
      wns[name](...args, { client_id, client_secret }, (error, result) => (error ? failed(error) : done(result))),
    );
  await allLedTo(sims.wns, async () => {
    for (let i = 0; i < 8; ++i) assert.equal((await call("sendToastText01", channel(), "Biathlon")).statusCode, 200);
    assert.equal((await call("sendTileSquareText04", channel(), "Biathlon")).statusCode, 200);
    assert.equal((await call("sendRaw", channel(), JSON.stringify({ start: "14:30" }))).statusCode, 200);
    const gone = channel();
    await mark(sims.wns, { [gone]: "gone" });
    await assert.rejects(call("sendToastText01", gone, "Biathlon"), (error) => error.statusCode === 410);
  });
});

test("node-adm signs in, sends, and is told which registration is gone", async () => {
  const { ClientId: client_id, ClientSecret: client_secret } = sims.adm.credential;
  const sender = new adm.Sender({ client_id, client_secret });
  const send = (id) =>
    new Promise((done, failed) =>
      sender.send({ data: { text: "Luge" }, consolidationKey: "luge", expiresAfter: 60 }, id, (error, result) =>
        error ? failed(error) : done(result),
      ),
    );
  const [good, gone] = [0, 1].map(() => `amzn1.adm-registration.v3.${randomBytes(24).toString("base64url")}`);
  await mark(sims.adm, { [gone]: "gone" });
  await allLedTo(sims.adm, async () => {
    assert.deepEqual(await send(good), { registrationID: good });
    assert.deepEqual(await send(gone), { error: "Unregistered" });
  });
  assert.equal(JSON.parse(await bodyOf(sims.adm, good)).data.text, "Luge");
});

async function subscribe(name) {
  const wanted = encodeURIComponent(`https://jmt17.google.com/fcm/send/${name}`);
  return JSON.parse(await control(sims.browser, `/subscription?endpoint=${wanted}`));
}

/** Sends what a client has made to Web Push; the status. */
const deliver = (endpoint, { method, headers, body }) =>
  new Promise((done, failed) => {
    const request = https.request(endpoint, { method, headers, agent: new LeadTo(sims.browser) }, (answer) =>
      answer.resume().once("end", () => done(answer.statusCode)),
    );
    request.once("error", failed).end(Buffer.from(body));
  });

test("@block65/webcrypto-web-push makes a request that the browser can read", async () => {
  const { Subject: subject, VapidPublicKey: publicKey, VapidPrivateKey: privateKey } = sims.browser.credential;
  const subscription = await subscribe("block65");
  const { endpoint, p256dh, auth } = subscription;
  const to = { endpoint, expirationTime: null, keys: { p256dh, auth } };
  const message = { data: "Skeleton", options: { ttl: 60, urgency: "high" } };
  const made = await buildPushPayload(message, to, { subject, publicKey, privateKey });
  assert.equal(await deliver(endpoint, made), 201);
  assert.equal(await bodyOf(sims.browser, JSON.stringify(subscription)), "Skeleton");
});

test("web-push signs and encrypts so that the browser can read it", async () => {
  const { credential } = sims.browser;
  const subscription = await subscribe("third-party");
  const { endpoint, p256dh, auth } = subscription;
  const vapidDetails = {
    subject: credential.Subject,
    publicKey: credential.VapidPublicKey,
    privateKey: credential.VapidPrivateKey,
  };
  const agent = new LeadTo(sims.browser);
  const to = { endpoint, keys: { p256dh, auth } };
  const text = JSON.stringify({ title: "Ski jumping" });
  const options = { vapidDetails, agent, TTL: 60, urgency: "high", topic: "jumping", contentEncoding: "aes128gcm" };
  const answer = await webpush.sendNotification(to, text, options);
  assert.equal(answer.statusCode, 201);
  assert.equal(await bodyOf(sims.browser, JSON.stringify(subscription)), text);
  const stranger = webpush.generateVAPIDKeys();
  await assert.rejects(
    webpush.sendNotification(to, text, {
      ...options,
      vapidDetails: { ...vapidDetails, publicKey: stranger.publicKey, privateKey: stranger.privateKey },
    }),
    (error) => error.statusCode === 403,
  );
});
