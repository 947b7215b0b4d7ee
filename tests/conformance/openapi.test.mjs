// The description of the REST surface: redocly lints it, and every operation of it answers here with success once, held
// against it (description.mjs), so that nothing is described blindly.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { deleteHub, description, freshHub, handles, raw, sims, url, uuid } from "./support.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const json = { "Content-Type": "application/json" };
const atom = { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" };
const native = (format, more = {}) => ({ ...json, "ServiceBusNotification-Format": format, ...more });
const appleEntry = (token) =>
  `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">
  <AppleRegistrationDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">
  <Tags>described</Tags><DeviceToken>${token}</DeviceToken></AppleRegistrationDescription></content></entry>`;
const idOf = (answer) => new URL(answer.headers.location).pathname.split("/").at(-1);

it("redocly lint is content with the description", async () => {
  const dir = mkdtempSync(join(tmpdir(), "pushhub-openapi-"));
  try {
    const file = join(dir, "openapi.json");
    writeFileSync(file, (await raw({ path: "/openapi.json" })).body);
    const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
    const cli = join(here, "node_modules/@redocly/cli/bin/cli.js");
    const ran = spawnSync(process.execPath, [cli, "lint", "--config", join(here, "redocly.yaml"), file], { encoding: "utf8", env });
    assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

describe("every operation answers as it is described", () => {
  let hub;
  /** A request that must succeed. */
  const ask = async (method, path, { headers, body, auth } = {}) => {
    const answer = await raw({ method, path: path.replace("{hub}", hub.name), headers, body, auth });
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.body}`);
    return answer;
  };
  /** Looks every 20 ms, for 30 s at most. */
  const until = async (what, look) => {
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await wait(20)) if (await look()) return;
    assert.fail(`${what} does not come`);
  };
  const stateOf = async (id) => JSON.parse((await ask("GET", `/{hub}/sends/${id}`)).body);
  const ended = (id) => until(`the end of ${id}`, async () => (await stateOf(id)).endedAt);
  before(async () => {
    hub = await freshHub("described");
  });
  after(() => deleteHub(hub.name));

  it("process and hubs", async () => {
    for (const path of ["/healthz", "/readyz", "/metrics", "/version", "/openapi.json"]) await ask("GET", path, { auth: false });
    await ask("GET", "/");
    await ask("GET", "/$Resources/NotificationHubs?$top=1");
    const { body } = await ask("GET", "/{hub}");
    const changed = await ask("PUT", "/{hub}", { headers: { ...atom, "If-Match": "*" }, body });
    assert.equal(changed.status, 200);
  });

  it("registrations", async () => {
    const id = idOf(await ask("POST", "/{hub}/registrationids", { headers: { "Idempotency-Key": uuid() } }));
    await ask("POST", "/{hub}/registrations", { headers: { ...atom, "Idempotency-Key": uuid() }, body: appleEntry(handles.apns()) });
    await ask("PUT", `/{hub}/registrations/${id}`, { headers: atom, body: appleEntry(handles.apns()) });
    await ask("GET", `/{hub}/registrations/${id}`);
    const page = await ask("GET", "/{hub}/registrations?$top=1");
    await ask("GET", `/{hub}/registrations?$top=1&continuationtoken=${page.headers["x-ms-continuationtoken"]}`);
    await ask("GET", "/{hub}/tags/described/registrations");
    await ask("DELETE", `/{hub}/registrations/${id}`, { headers: { "If-Match": "*" } });
  });

  it("installations, devices, audiences and users", async () => {
    const installation = { platform: "apns", pushChannel: handles.apns(), userId: "ann", tags: ["a", "b"], templates: { news: { body: '{"aps":{"alert":"$(m)"}}' } } };
    await ask("PUT", "/{hub}/installations/one", { headers: json, body: JSON.stringify(installation) });
    const tile = { pushChannel: handles.wns(), tags: ["t"], templates: { x: { body: "$(m)", headers: { "X-WNS-Type": "wns/raw" } } } };
    const windows = { platform: "wns", pushChannel: handles.wns(), pushVariables: { v: "1" }, secondaryTiles: { tile }, expirationTime: "2099-01-01T00:00:00Z" };
    await ask("PUT", "/{hub}/installations/two", { headers: json, body: JSON.stringify(windows) });
    const patch = [{ op: "add", path: "/tags", value: "c" }, { op: "remove", path: "/tags/b" }];
    await ask("PATCH", "/{hub}/installations/one", { headers: { "Content-Type": "application/json-patch+json" }, body: JSON.stringify(patch) });
    await ask("GET", "/{hub}/installations/one");
    await ask("GET", "/{hub}/installations/two");
    for (const query of [{}, { tagExpression: "(a || $UserId:{ann}) && !x", format: "apple", explain: true, sample: 5, max: 100 }])
      await ask("POST", "/{hub}/audience", { headers: json, body: JSON.stringify(query) });
    await ask("GET", "/{hub}/devices?user=ann&platform=apns&state=active&top=10");
    assert.ok(JSON.parse((await ask("GET", "/{hub}/devices?top=1")).body).continuation);
    await ask("DELETE", "/{hub}/users/ann");
    assert.equal((await ask("DELETE", "/{hub}/installations/two")).status, 204);
  });

  it("sends", async () => {
    const handle = handles.apns();
    for (const [id, pushChannel] of [["s1", handle], ["s2", handles.apns()]])
      await ask("PUT", `/{hub}/installations/${id}`, { headers: json, body: JSON.stringify({ platform: "apns", pushChannel, tags: ["sent"] }) });
    const body = '{"aps":{"alert":"x"}}';
    const tagged = native("apple", { "ServiceBusNotification-Tags": "sent" });
    const sent = idOf(await ask("POST", "/{hub}/messages", { headers: { ...tagged, "PushHub-Expect-Audience": "2", "Idempotency-Key": uuid() }, body }));
    await ended(sent);
    await ask("GET", `/{hub}/messages/${sent}`);
    await ask("GET", `/{hub}/sends/${sent}/events`);
    await ask("GET", "/{hub}/sends?state=Completed&format=apple&top=1");
    const tested = await ask("POST", "/{hub}/messages?test", { headers: tagged, body });
    assert.match(tested.body, /<Success>2</);
    await ask("POST", "/{hub}/messages?direct", { headers: native("apple", { "ServiceBusNotification-DeviceHandle": handle }), body });
    const batch = [["notification", body], ["devices", JSON.stringify([handle])]]
      .map(([name, text]) => `--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; name=${name}\r\n\r\n${text}\r\n`);
    const multipart = { ...native("apple"), "Content-Type": "multipart/mixed; boundary=b" };
    await ask("POST", "/{hub}/messages/$batch?direct", { headers: multipart, body: `${batch.join("")}--b--\r\n` });

    const later = { ...tagged, "ServiceBusNotification-ScheduleTime": new Date(Date.now() + 3_600_000).toISOString() };
    const scheduled = idOf(await ask("POST", "/{hub}/schedulednotifications", { headers: later, body }));
    await ask("DELETE", `/{hub}/schedulednotifications/${scheduled}`);
    const dropped = idOf(await ask("POST", "/{hub}/schedulednotifications", { headers: later, body }));
    await ask("POST", `/{hub}/sends/${dropped}/cancel`);

    // Cannot end by itself: the second push is due in an hour.
    const slow = { ...tagged, "PushHub-Canary": "50%; hold", "PushHub-Rate": "1/h", "PushHub-Deadline": "PT10M" };
    const held = idOf(await ask("POST", "/{hub}/messages", { headers: slow, body }));
    for (const command of ["pause", "resume", "cancel"]) await ask("POST", `/{hub}/sends/${held}/${command}`);
    await ended(held);
  });

  it("traces and retirements", async () => {
    const handle = handles.apns();
    await ask("PUT", "/{hub}/installations/dead", { headers: json, body: JSON.stringify({ platform: "apns", pushChannel: handle, tags: ["dead"] }) });
    await sims.apns.kill(handle);
    const sent = idOf(await ask("POST", "/{hub}/messages", { headers: native("apple", { "ServiceBusNotification-Tags": "dead" }), body: '{"aps":{"alert":"x"}}' }));
    await ended(sent);
    const devices = JSON.parse((await ask("GET", `/{hub}/sends/${sent}/devices?top=10`)).body);
    assert.equal(devices.devices.length, 1);
    await ask("GET", "/{hub}/devices/dead/pushes?top=10");
    const retired = async () => JSON.parse((await ask("GET", "/{hub}/retirements?installation=dead")).body).retirements;
    await until("the retirement", async () => (await retired()).length > 0);
    await ask("GET", "/{hub}/retirements/held?top=10");
    await ask("POST", "/{hub}/retirements/held/release?platform=apns");
    await ask("POST", "/{hub}/retirements/held/discard");
  });

  it("channels and topics", async () => {
    const made = JSON.parse((await ask("POST", "/{hub}/apns/channels", { headers: json, body: '{"storage":"latest"}' })).body);
    const place = `/{hub}/apns/channels/${encodeURIComponent(made.id)}`;
    assert.deepEqual(JSON.parse((await ask("GET", "/{hub}/apns/channels")).body).channels.includes(made.id), true);
    await ask("GET", place);
    const update = '{"aps":{"timestamp":1795255200,"event":"update","content-state":{"score":"2:1"}}}';
    await ask("POST", `${place}/messages`, { headers: { ...json, "apns-priority": "10", "apns-expiration": "0" }, body: update });
    assert.equal((await ask("DELETE", place)).status, 204);
    await ask("POST", "/{hub}/fcmv1/messages?topic=news", { headers: json, body: '{"message":{"notification":{"title":"x"}}}' });
  });

  it("blobs and jobs", async () => {
    await ask("GET", "/{hub}/feedbackcontainer");
    const uploads = new URL((await ask("GET", "/{hub}/blobcontainers/uploads")).body);
    const blob = `${uploads.pathname}/folder/file.txt${uploads.search}`;
    const block = { "x-ms-blob-type": "BlockBlob" };
    await ask("PUT", blob, { headers: block, body: "0123456789", auth: false });
    const { headers } = await ask("HEAD", blob, { auth: false });
    await ask("GET", blob, { auth: false });
    assert.equal((await ask("GET", blob, { headers: { Range: "bytes=2-3" }, auth: false })).status, 206);
    for (const [status, headersOf] of [[304, { "If-None-Match": headers.etag }], [412, { "If-Match": '"x"' }], [416, { Range: "bytes=99-" }]])
      assert.equal((await raw({ path: blob, headers: headersOf, auth: false })).status, status);
    await ask("GET", `${uploads.pathname}${uploads.search}&restype=container&comp=list`, { auth: false });
    const entry = `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">
      <NotificationHubJob xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"><Type>ExportRegistrations</Type>
      <OutputContainerUri>https://${url.host}/$blobs/${hub.name}/jobs</OutputContainerUri></NotificationHubJob></content></entry>`;
    const job = idOf(await ask("POST", "/{hub}/jobs", { headers: { ...atom, "Idempotency-Key": uuid() }, body: entry }));
    await ask("GET", "/{hub}/jobs");
    await ask("GET", `/{hub}/jobs/${job}`);
  });

  it("what is not described is refused", async () => {
    const refused = async (status, path, more = {}) => {
      const answer = await raw({ path: path.replace("{hub}", hub.name), ...more });
      assert.equal(answer.status, status, `${path}: ${answer.body}`);
      return answer;
    };
    for (const path of ["/?$top=", "/?$top=1&$top=1", "/?$skip=x", "/{hub}/registrations?$top=", "/{hub}/sends?format=appel"]) await refused(400, path);
    const filter = encodeURIComponent("DeviceToken eq 'AA'");
    for (const more of ["$top=0", "$skip=1000000", "continuationtoken=x"]) await refused(400, `/{hub}/registrations?$filter=${filter}&${more}`);
    await refused(400, "/{hub}/registrationids", { method: "POST", headers: { "Idempotency-Key": "" } });
    const large = await refused(413, "/{hub}/audience", { method: "POST", headers: json, body: " ".repeat(70_000) });
    assert.equal(large.headers["content-type"], "application/problem+json");
    const uploads = new URL((await ask("GET", "/{hub}/blobcontainers/uploads")).body);
    const container = `${uploads.pathname}${uploads.search}&restype=container`;
    for (const more of ["&comp=lists", "&comp=list&maxresults=x"]) await refused(400, container + more, { auth: false });
    await refused(200, container, { auth: false });
    const blob = `${uploads.pathname}/folder/file.txt${uploads.search}`;
    await refused(416, blob, { headers: { Range: "x", "x-ms-range": "bytes=0-1" }, auth: false });
    const counted = await ask("POST", "/{hub}/audience", { headers: json, body: '{"sample":5.0,"max":100.0}' });
    assert.equal(JSON.parse(counted.body).sample.length <= 5, true);
  });

  it("and none was left out", async () => {
    await ask("DELETE", "/{hub}");
    const { operations, succeeded } = await description();
    assert.deepEqual(operations.map(({ name }) => name).filter((name) => !succeeded.has(name)), []);
  });
});
