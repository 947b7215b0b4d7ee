// The older generation of the JavaScript SDK, azure-sb 0.11.2: every method of its NotificationHubService and the hub
// management of its ServiceBusService (contracts: sections 1.1, 3 to 5, 10.1 and 11.6).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";
import { connectionString, counts, deleteHub, exactly, final, freshHub, handles, raw, rule, sims, url, uuid } from "./support.mjs";

const azure = createRequire(import.meta.url)("azure-sb");
// This SDK refuses endpoints whose host has no dot.
const dotted = connectionString.replace("//localhost:", "//127.0.0.1:");
const v = "api-version=2020-06";

/** Calls a method that takes a callback; what it hands over, or the error. */
const ask = (object, method, ...args) =>
  new Promise((resolve, reject) => {
    object[method](...args, (error, result, response) => (error ? reject(error) : resolve({ result, response: response ?? result })));
  });
const failing = (object, method, ...args) =>
  ask(object, method, ...args).then(
    ({ result }) => assert.fail(`${method} succeeded: ${JSON.stringify(result)}`),
    (error) => error,
  );
const list = (result) => (Array.isArray(result) ? result : result && Object.keys(result).length ? [result] : []);

let hub;
let service;
before(async () => {
  hub = await freshHub("sb");
  service = azure.createNotificationHubService(hub.name, dotted);
});
after(() => deleteHub(hub.name));

const mpnsChannel = () => `http://sn1.notify.live.net/throttledthirdparty/01.00/${randomBytes(20).toString("base64url")}`;
const toast = '<toast><visual><binding template="ToastText01"><text id="1">$(text)</text></binding></visual></toast>';
const idOf = ({ result }) => {
  assert.match(result.RegistrationId, /^-?\d+--?\d+-\d+$/);
  return result.RegistrationId;
};

describe("registrations", () => {
  const platforms = {
    apns: { handle: handles.apns, field: "DeviceToken", element: "Apple", template: { alert: "$(text)" }, find: "listRegistrationsByToken" },
    gcm: { handle: handles.fcmv1, field: "GcmRegistrationId", element: "Gcm", template: '{"data":{"m":"$(text)"}}', find: "listRegistrationsByGcmRegistrationId" },
    wns: { handle: handles.wns, field: "ChannelUri", element: "Windows", find: "listRegistrationsByChannel" },
    mpns: { handle: mpnsChannel, field: "ChannelUri", element: "Mpns", find: "listRegistrationsByChannel" },
  };
  for (const [name, { handle, field, element, template, find }] of Object.entries(platforms)) {
    it(`${name} native: create, createOrUpdate, get, update, lists, delete`, async () => {
      const platform = service[name];
      const tag = `n:${uuid()}`;
      const device = handle();
      const made = await ask(platform, "createNativeRegistration", device, [tag, "lang:nl"]);
      const id = idOf(made);
      assert.equal(made.result[field], device);
      assert.equal(made.result._.ContentRootElement, `${element}RegistrationDescription`);
      assert.equal(made.result.Tags, `${tag},lang:nl`);
      const again = await ask(platform, "createOrUpdateNativeRegistration", id, device, `${tag},lang:de`);
      assert.equal(again.result.ETag, "2");
      const read = await ask(service, "getRegistration", id);
      assert.equal(read.result.Tags, `${tag},lang:de`);
      const updated = await ask(service, "updateRegistration", { ...read.result, Tags: tag });
      assert.equal(updated.result.ETag, "3");
      const upserted = await ask(service, "createOrUpdateRegistration", { ...updated.result, Tags: `${tag},x` });
      assert.equal(upserted.result.ETag, "4");
      assert.equal((await failing(service, "updateRegistration", { ...upserted.result }, { etag: '"1"' })).statusCode, 412);

      const found = await ask(platform, find, device);
      assert.deepEqual(list(found.result).map((r) => r.RegistrationId), [id]);
      const byTag = await ask(service, "listRegistrationsByTag", tag, { top: 5 });
      assert.deepEqual(list(byTag.result).map((r) => r.RegistrationId), [id]);
      const everyone = await ask(service, "listRegistrations");
      assert.ok(list(everyone.result).some((r) => r.RegistrationId === id));

      assert.equal((await failing(service, "deleteRegistration", id, { etag: '"1"' })).statusCode, 412);
      await ask(service, "deleteRegistration", id);
      assert.equal((await failing(service, "getRegistration", id)).statusCode, 404);
      assert.deepEqual(list((await ask(service, "listRegistrationsByTag", tag)).result), []);
    });

    if (!template) continue;
    it(`${name} template: create, createOrUpdate, update, delete`, async () => {
      const platform = service[name];
      const device = handle();
      const options = name === "apns" ? { headers: { "apns-priority": "5" } } : {};
      const made = await ask(platform, "createTemplateRegistration", device, ["t"], template, options);
      const id = idOf(made);
      assert.equal(made.result._.ContentRootElement, `${element}TemplateRegistrationDescription`);
      assert.match(made.result.BodyTemplate, /"\$\(text\)"/);
      if (name === "apns") assert.equal(made.result.ApnsHeaders.ApnsHeader.Value, "5");
      const second = await ask(platform, "createOrUpdateTemplateRegistration", id, device, ["t"], template, options);
      assert.equal(second.result.ETag, "2");
      const third = await ask(platform, "updateTemplateRegistration", id, device, ["t"], template, { ...options, etag: '"2"' });
      assert.equal(third.result.ETag, "3");
      const fourth = await ask(service, "createOrUpdateRegistration", third.result);
      assert.equal(fourth.result.BodyTemplate, made.result.BodyTemplate);
      await ask(service, "deleteRegistration", id);
    });
  }

  it("createRegistrationId gives an id that createOrUpdate takes", async () => {
    const { result: id } = await ask(service, "createRegistrationId");
    assert.match(id, /^-?\d+--?\d+-\d+$/);
    const made = await ask(service.apns, "createOrUpdateNativeRegistration", id, handles.apns(), null);
    assert.equal(idOf(made), id);
    await ask(service, "deleteRegistration", id);
  });

  it("apns templates keep expiry, payload members and variables in lower-case tokens", async () => {
    const token = handles.apns().toLowerCase();
    const made = await ask(service.apns, "createTemplateRegistration", token, null, { alert: "$(text)", payload: { more: "$(more)" }, expiry: "$(until)" });
    assert.equal(made.result.DeviceToken, token.toUpperCase());
    assert.equal(made.result.Expiry, "$(until)");
    assert.deepEqual(JSON.parse(made.result.BodyTemplate), { aps: { alert: "$(text)" }, more: "$(more)" });
    await ask(service, "deleteRegistration", idOf(made));
  });

  it("lists page by top and skip", async () => {
    const tag = `skip:${uuid()}`;
    const made = [];
    for (let i = 0; i < 5; i++) made.push(idOf(await ask(service.apns, "createNativeRegistration", handles.apns(), [tag])));
    const seen = [];
    for (let skip = 0; skip < 6; skip += 2) {
      const page = list((await ask(service, "listRegistrationsByTag", tag, { top: 2, skip })).result);
      assert.ok(page.length <= 2);
      seen.push(...page.map((r) => r.RegistrationId));
    }
    assert.deepEqual(seen.sort(), made.sort());
    assert.equal(list((await ask(service, "listRegistrations", { top: 2, skip: 1 })).result).length, 2);
  });

  it("what is wrong is refused with 400 and the reason", async () => {
    const error = await failing(service.apns, "createTemplateRegistration", handles.apns(), null, '{"aps":{"alert":"$(a-b)"}}');
    assert.equal(error.statusCode, 400);
    assert.match(error.detail ?? error.message, /TrackingId/);
    assert.equal((await failing(service.apns, "createNativeRegistration", "nonsense", null)).statusCode, 400);
  });
});

/** Names of the templates that a platform service has all of create, update and createOrUpdate for. */
const templatesOf = (platform) =>
  Object.keys(platform)
    .map((name) => /^create(.+)Registration$/.exec(name)?.[1])
    .filter((name) => name && platform[`update${name}Registration`] && platform[`createOrUpdate${name}Registration`]);

describe("template methods", () => {
  it("of wns: every tile and toast is created, updated, upserted and sent", async () => {
    const names = templatesOf(service.wns);
    assert.ok(names.length >= 50, `${names.length} templates`);
    const channel = handles.wns();
    const { result: id } = await ask(service, "createRegistrationId");
    for (const name of names) {
      const made = await ask(service.wns, `create${name}Registration`, channel, ["wt"], { text1: "$(text)" });
      assert.equal(made.result._.ContentRootElement, "WindowsTemplateRegistrationDescription", name);
      const type = name.startsWith("Tile") ? "wns/tile" : "wns/toast";
      assert.deepEqual(made.result.WnsHeaders.WnsHeader, { Header: "X-WNS-Type", Value: type }, name);
      assert.match(made.result.BodyTemplate, new RegExp(`template="${name}"`));
      await ask(service, "deleteRegistration", idOf(made));
      await ask(service.wns, `createOrUpdate${name}Registration`, id, channel, ["wt"], { text1: "$(text)" });
      await ask(service.wns, `update${name}Registration`, id, channel, ["wt"], { text1: "$(text)" });
    }
    const sent = await Promise.all(names.map((name) => ask(service.wns, `send${name}`, `nobody-${uuid()}`, { text1: "hi" })));
    for (const { response } of sent) assert.equal(response.statusCode, 201);
    await ask(service, "deleteRegistration", id);
  });

  it("of wns: raw", async () => {
    const channel = handles.wns();
    const options = () => ({ headers: { "X-WNS-Type": "wns/raw" } });
    const made = await ask(service.wns, "createRawTemplateRegistration", channel, "r", '{"m":"$(text)"}', options());
    const id = idOf(made);
    await ask(service.wns, "createOrUpdateRawTemplateRegistration", id, channel, "r", '{"m":"$(text)"}', options());
    const updated = await ask(service.wns, "updatesRawTemplateRegistration", id, channel, "r", "just text", options());
    assert.equal(updated.result.BodyTemplate, "just text");
    await ask(service, "deleteRegistration", id);
  });

  it("of mpns: every kind is created, updated, upserted and sent", async () => {
    const names = templatesOf(service.mpns);
    assert.deepEqual([...names].sort(), ["FlipTile", "Raw", "Tile", "Toast"]);
    const channel = mpnsChannel();
    const { result: id } = await ask(service, "createRegistrationId");
    for (const name of names) {
      const payload = name === "Toast" ? { text1: "$(text)" } : { title: "$(text)" };
      if (name !== "Raw") {
        const made = await ask(service.mpns, `create${name}Registration`, channel, ["mt"], payload);
        assert.equal(made.result._.ContentRootElement, "MpnsTemplateRegistrationDescription", name);
        assert.match(JSON.stringify(made.result.MpnsHeaders), /X-NotificationClass/);
        await ask(service, "deleteRegistration", idOf(made));
        await ask(service.mpns, `createOrUpdate${name}Registration`, id, channel, ["mt"], payload);
        await ask(service.mpns, `update${name}Registration`, id, channel, ["mt"], payload);
      }
      const { response } = await ask(service.mpns, `send${name}`, `nobody-${uuid()}`, name === "Raw" ? "anything" : payload);
      assert.equal(response.statusCode, 201, name);
    }
    const headers = { "X-NotificationClass": "3" };
    const rawMade = await ask(service.mpns, "createRawTemplateRegistration", channel, "r", "<r>$(text)</r>", { headers: { ...headers } });
    await ask(service.mpns, "createOrUpdateRawTemplateRegistration", idOf(rawMade), channel, "r", "<r>$(text)</r>", { headers: { ...headers } });
    await ask(service.mpns, "updatesRawTemplateRegistration", idOf(rawMade), channel, "r", "<r>$(other)</r>", { headers: { ...headers } });
    await ask(service, "deleteRegistration", idOf(rawMade));
    await ask(service, "deleteRegistration", id);
  });
});

describe("installations", () => {
  const channels = { apns: handles.apns, gcm: handles.fcmv1, wns: handles.wns, mpns: mpnsChannel, adm: handles.adm };
  for (const [platform, channel] of Object.entries(channels)) {
    it(`${platform}: createOrUpdate, get, patch, delete`, async () => {
      const installationId = uuid();
      const installation = { installationId, platform, pushChannel: channel(), tags: ["a"] };
      const put = await ask(service, "createOrUpdateInstallation", installation);
      assert.equal(put.response.statusCode, 200);
      const { result } = await ask(service, "getInstallation", installationId);
      assert.equal(result.pushChannel, installation.pushChannel);
      assert.equal(result.platform, platform);
      const patched = await ask(service, "patchInstallation", installationId, [{ op: "add", path: "/tags", value: "b" }]);
      assert.equal(patched.response.statusCode, 200);
      assert.deepEqual((await ask(service, "getInstallation", installationId)).result.tags.sort(), ["a", "b"]);
      const gone = await ask(service, "deleteInstallation", installationId);
      assert.equal(gone.response.statusCode, 204);
      assert.equal((await failing(service, "getInstallation", installationId)).statusCode, 404);
    });
  }
});

describe("sends", () => {
  const telemetryOf = ({ response }) => final(hub.client, new URL(response.headers.location).pathname.split("/")[3]);

  it("apns: objects, strings, expiry, priority and lists of tags", async () => {
    const [a, b] = [`a:${uuid()}`, `b:${uuid()}`];
    const tokens = [handles.apns(), handles.apns()];
    await ask(service.apns, "createNativeRegistration", tokens[0], a);
    await ask(service.apns, "createNativeRegistration", tokens[1], b);
    await exactly({ apns: tokens }, async () => {
      const expiry = new Date(Date.now() + 3_600_000);
      const details = await telemetryOf(await ask(service.apns, "send", [a, b], { alert: "Storm", expiry, priority: 5, payload: { more: 1 } }));
      assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 2 });
    });
    assert.deepEqual(JSON.parse(await sims.apns.bodyOf(tokens[0])), { aps: { alert: "Storm" }, more: 1 });
    await exactly({ apns: [tokens[0]] }, async () => {
      await telemetryOf(await ask(service.apns, "send", a, '{"aps":{"alert":"text"}}', { headers: { "apns-push-type": "alert" } }));
    });
  });

  it("wns: toast, badge, raw and any type", async () => {
    const tag = `w:${uuid()}`;
    const channel = handles.wns();
    await ask(service.wns, "createNativeRegistration", channel, tag);
    const calls = [
      ["sendToastText01", tag, "Storm"],
      ["sendBadge", tag, 7],
      ["sendRaw", tag, "anything"],
      ["send", tag, toast.replace("$(text)", "x"), "wns/toast"],
    ];
    for (const call of calls) {
      await exactly({ wns: [channel] }, async () => {
        const details = await telemetryOf(await ask(service.wns, ...call));
        assert.deepEqual(counts(details.wnsOutcomeCounts), { Success: 1 }, call[0]);
      });
    }
  });

  it("gcm and mpns end with an honest outcome", async () => {
    const tag = `g:${uuid()}`;
    await ask(service.gcm, "createNativeRegistration", handles.fcmv1(), tag);
    await ask(service.mpns, "createNativeRegistration", mpnsChannel(), tag);
    const sent = [await ask(service.gcm, "send", tag, { data: { m: "x" } }), await ask(service.mpns, "sendToast", tag, { text1: "x" })];
    for (const [answer, element] of [[sent[0], "GcmOutcomeCounts"], [sent[1], "MpnsOutcomeCounts"]]) {
      const { notificationId } = await telemetryOf(answer);
      const { body } = await raw({ path: `/${hub.name}/messages/${notificationId}?${v}` });
      assert.match(body, new RegExp(`<${element}><Outcome><Name>PnsInterfaceError</Name><Count>1</Count></Outcome></${element}>`));
    }
  });

  it("templates reach every platform that has one", async () => {
    const tag = `t:${uuid()}`;
    const [token, channel] = [handles.apns(), handles.wns()];
    await ask(service.apns, "createTemplateRegistration", token, tag, { alert: "$(text)" });
    await ask(service.wns, "createToastText01Registration", channel, tag, "$(text)");
    await exactly({ apns: [token], wns: [channel] }, async () => {
      const details = await telemetryOf(await ask(service, "send", tag, { text: "Fog" }));
      assert.equal(details.state, "Completed");
    });
    assert.match(await sims.wns.bodyOf(channel), /<text id="1">Fog<\/text>/);
    assert.equal(JSON.parse(await sims.apns.bodyOf(token)).aps.alert, "Fog");
    assert.equal((await failing(service, "send", "a &&", { text: "x" })).statusCode, 400);
  });
});

describe("connections and hubs", () => {
  it("a service is made from an endpoint, a key's name and its value", async () => {
    const other = azure.createNotificationHubService(hub.name, `https://127.0.0.1:${url.port}/`, rule.name, rule.key);
    assert.ok((await ask(other, "createRegistrationId")).result);
    const stranger = azure.createNotificationHubService(hub.name, `https://127.0.0.1:${url.port}/`, rule.name, "AAAA".repeat(11));
    assert.equal((await failing(stranger, "createRegistrationId")).statusCode, 401);
  });

  it("hubs are created, read, listed and deleted", async () => {
    const manager = azure.createServiceBusService(dotted);
    const name = `sb-${randomBytes(4).toString("hex")}`;
    await ask(manager, "createNotificationHub", name, { gcm: { GoogleApiKey: "AIzaGolden", GcmEndpoint: "https://fcm.googleapis.com/fcm/send" } });
    const read = await ask(manager, "getNotificationHub", name);
    assert.equal(read.result.NotificationHubName, name);
    assert.deepEqual(
      read.result.GcmCredential.Properties.Property.map((p) => [p.Name, p.Value]).sort(),
      [["GcmEndpoint", "https://fcm.googleapis.com/fcm/send"], ["GoogleApiKey", "AIzaGolden"]],
    );
    const hubs = list((await ask(manager, "listNotificationHubs")).result).map((h) => h.NotificationHubName);
    assert.ok(hubs.includes(name) && hubs.includes(hub.name));
    assert.equal((await failing(manager, "createNotificationHub", name)).statusCode, 409);
    await ask(manager, "deleteNotificationHub", name);
    assert.equal((await failing(manager, "getNotificationHub", name)).statusCode, 404);
  });

  it("every method is called by these tests", () => {
    const own = Object.keys(azure.NotificationHubService.prototype).filter((name) => !name.startsWith("_") && name !== "constructor");
    const known = [
      "send", "createRegistrationId", "getRegistration", "deleteRegistration", "updateRegistration", "createOrUpdateRegistration",
      "listRegistrations", "listRegistrationsByTag", "createOrUpdateInstallation", "patchInstallation", "deleteInstallation", "getInstallation",
    ];
    const inherited = new Set(Object.keys(Object.getPrototypeOf(azure.NotificationHubService.prototype)));
    assert.deepEqual(own.filter((name) => !inherited.has(name)).sort(), known.sort());
  });
});
