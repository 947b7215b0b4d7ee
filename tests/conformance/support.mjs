// Shared by the conformance tests: a hub per test file, handles, raw requests, the simulators, and waiting for telemetry.
import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { setTimeout as wait } from "node:timers/promises";
import { NotificationHubsClient } from "@azure/notification-hubs";
import { Description } from "./description.mjs";

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests through run.mjs`);
  return value;
};

export const url = new URL(need("PUSHHUB_URL"));
export const connectionString = need("PUSHHUB_CONNECTION_STRING");
export const devHub = need("PUSHHUB_HUB");
const parts = Object.fromEntries(
  connectionString.split(";").filter(Boolean).map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), part.slice(at + 1)];
  }),
);
export const rule = { name: parts.SharedAccessKeyName, key: parts.SharedAccessKey };

/** An Authorization value as the JavaScript SDK makes it; every piece may be overridden. */
export function sas({ name = rule.name, key = rule.key, resource = `https://${url.host}/`, expires, sr } = {}) {
  const transmitted = sr ?? encodeURIComponent(resource.toLowerCase());
  const se = expires ?? Math.floor(Date.now() / 1000) + 600;
  const sig = createHmac("sha256", key).update(`${transmitted}\n${se}`).digest("base64");
  return `SharedAccessSignature sr=${transmitted}&sig=${encodeURIComponent(sig)}&se=${se}&skn=${name}`;
}

/** One HTTP/1.1 request over TLS, with nothing looked at. */
function exchange({ method, path, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const request = https.request(
      { host: url.hostname, port: url.port, method, path, headers, agent: false },
      (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

let reading;
/** What the hub says about itself; every raw request is held against it. */
export async function description() {
  reading ??= exchange({ method: "GET", path: "/openapi.json" }).then(({ body }) => new Description(JSON.parse(body)));
  return reading;
}

/** One HTTP/1.1 request over TLS. `auth`: true = root rule, a string = the header, false = none. */
export async function raw({ method = "GET", path = "/", headers = {}, body, auth = true }) {
  const all = { ...headers };
  if (auth) all.Authorization = auth === true ? sas() : auth;
  const answer = await exchange({ method, path, headers: all, body });
  (await description()).check({ method, path, requestBody: body }, answer);
  return answer;
}

/** One request on an HTTP/2 session. */
export async function raw2(session, { method = "GET", path = "/", headers = {}, body, auth = true }) {
  const all = { ":method": method, ":path": path, ...headers };
  if (auth) all.authorization = auth === true ? sas() : auth;
  const answer = await new Promise((resolve, reject) => {
    const stream = session.request(all, { endStream: body === undefined });
    let head = {};
    const chunks = [];
    stream.on("response", (h) => (head = h));
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => resolve({ status: head[":status"], headers: head, body: Buffer.concat(chunks).toString() }));
    if (body !== undefined) stream.end(body);
  });
  (await description()).check({ method, path, requestBody: body }, answer);
  return answer;
}
export const h2session = () => http2.connect(url.origin);

/** Creates a hub with the credentials of the dev hub, so that its sends reach the simulators. */
export async function freshHub(prefix) {
  const dev = await raw({ path: `/${devHub}?api-version=2020-06` });
  assert.equal(dev.status, 200, dev.body);
  const description = /<NotificationHubDescription[\s\S]*<\/NotificationHubDescription>/.exec(dev.body)[0];
  const body = description.replace(/<AuthorizationRules>[\s\S]*<\/AuthorizationRules>/, "");
  const name = `${prefix}-${randomBytes(4).toString("hex")}`;
  const made = await raw({
    method: "PUT",
    path: `/${name}?api-version=2020-06`,
    headers: { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" },
    body: `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">${body}</content></entry>`,
  });
  assert.equal(made.status, 201, made.body);
  return { name, client: new NotificationHubsClient(connectionString, name), entry: made.body };
}

export const deleteHub = (name) => raw({ method: "DELETE", path: `/${name}?api-version=2020-06` });

/** New handles, as each provider spells them. */
export const handles = {
  apns: () => randomBytes(32).toString("hex").toUpperCase(),
  fcmv1: () => `${randomBytes(16).toString("base64url")}:APA91b${randomBytes(90).toString("base64url")}`,
  wns: () => `https://dm3p.notify.windows.com/w/?token=${randomBytes(40).toString("base64url")}`,
  adm: () => `amzn1.adm-registration.v2.${randomBytes(60).toString("base64url")}`,
};
export const uuid = randomUUID;

/** One request to a simulator's control port; the answer's text. */
function control(base, method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, base), { method, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode >= 300) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        else resolve(text);
      });
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const simulator = (name) => {
  const base = need(name);
  return {
    /** Handles of the pushes it accepted since the last reset, in order of arrival. */
    received: async () => (await control(base, "GET", "/received")).split("\n").filter(Boolean),
    kill: (handle) => control(base, "POST", "/rules", { add: true, handles: { [handle]: "gone" } }),
    bodyOf: (handle) => control(base, "GET", `/bodies?handle=${encodeURIComponent(handle)}`),
    reset: () => control(base, "POST", "/reset", {}),
    /** browser: a subscription of the browser behind the simulator. */
    subscribe: async (endpoint) => JSON.parse(await control(base, "GET", `/subscription?endpoint=${encodeURIComponent(endpoint)}`)),
  };
};
export const sims = {
  apns: simulator("PUSHHUB_SIM_APNS_URL"),
  fcmv1: simulator("PUSHHUB_SIM_FCM_URL"),
  wns: simulator("PUSHHUB_SIM_WNS_URL"),
  adm: simulator("PUSHHUB_SIM_ADM_URL"),
  browser: simulator("PUSHHUB_SIM_BROWSER_URL"),
};

/** Runs `action` and demands that each simulator accepted exactly these pushes meanwhile; what `action` returned. */
export async function exactly(expected, action) {
  for (const sim of Object.values(sims)) await sim.reset();
  const result = await action();
  for (const [platform, sim] of Object.entries(sims)) {
    // Only the case of APNs tokens has no meaning.
    const spelled = (list) => (platform === "apns" ? list.map((h) => h.toUpperCase()) : list).slice().sort();
    assert.deepEqual(spelled(await sim.received()), spelled(expected[platform] ?? []), `received on ${platform}`);
  }
  return result;
}

/** Telemetry of a send once it is final. */
export async function final(client, notificationId, withinMs = 30_000) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const details = await client.getNotificationOutcomeDetails(notificationId);
    if (!["Enqueued", "Processing"].includes(details.state)) return details;
    if (Date.now() > deadline) throw new Error(`send ${notificationId} is still ${JSON.stringify(details)}`);
    await wait(20);
  }
}

/** Outcome counts as an object: name to number. */
export const counts = (list) => Object.fromEntries((list ?? []).map(({ state, count }) => [state, count]));

/** Every item of a paged list. */
export async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

/** The HTTP status of a call that must fail. */
export async function statusOf(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    if (error.statusCode === undefined) throw error;
    return error.statusCode;
  }
  return assert.fail(`the call succeeded: ${JSON.stringify(value)}`);
}
