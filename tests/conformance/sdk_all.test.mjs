// Every method of @azure/notification-hubs, through the client class and through the functions of its ./api export
// (contracts: sections 3 to 6, 9 and 11.1).
import assert from "node:assert/strict";
import { createECDH, randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import * as sdk from "@azure/notification-hubs";
import * as api from "@azure/notification-hubs/api";
import * as sdkModels from "@azure/notification-hubs/models";
import { all, connectionString, counts, deleteHub, exactly, final, freshHub, handles, raw, sims, statusOf, url, uuid } from "./support.mjs";

const models = { ...sdkModels, ...sdk };
const v = "api-version=2020-06";
let hub;
let client;
let context;
before(async () => {
  hub = await freshHub("sdk");
  client = hub.client;
  context = api.createClientContext(connectionString, hub.name);
});
after(() => deleteHub(hub.name));

/** Both faces of the SDK: `call(name)(...args)` is a method of the client, or a function of the api with its context. */
const faces = {
  "client class": { call: (name) => client[name].bind(client) },
  "api functions": { call: (name) => api[name].bind(null, context) },
};

const browserChannel = () => {
  const pair = createECDH("prime256v1");
  return {
    endpoint: `https://updates.push.services.mozilla.com/wpush/v2/${randomBytes(24).toString("base64url")}`,
    p256dh: pair.generateKeys("base64url"),
    auth: randomBytes(16).toString("base64url"),
  };
};
const someHandle = {
  ...handles,
  gcm: handles.fcmv1,
  mpns: () => `http://sn1.notify.live.net/throttledthirdparty/01.00/${randomBytes(20).toString("base64url")}`,
  baidu: () => `${Math.floor(Math.random() * 1e15)}-${Math.floor(Math.random() * 1e15)}`,
  xiaomi: () => `d//${randomBytes(24).toString("base64")}`,
  browser: browserChannel,
};
const toast = '<toast><visual><binding template="ToastText01"><text id="1">$(text)</text></binding></visual></toast>';
const wpToast =
  '<wp:Notification xmlns:wp="WPNotification"><wp:Toast><wp:Text1>$(text)</wp:Text1></wp:Toast></wp:Notification>';
/** Kind: [fields of the handle, template body, header lists, channel for listRegistrationsByChannel]. */
const kinds = {
  Apple: [() => ({ deviceToken: handles.apns() }), '{"aps":{"alert":"$(text)"}}', { apnsHeaders: { "apns-priority": "5" } }, "apple"],
  Adm: [() => ({ admRegistrationId: handles.adm() }), '{"data":{"m":"$(text)"}}', {}, "adm"],
  Baidu: [
    () => ({ baiduUserId: `${Math.floor(Math.random() * 1e15)}`, baiduChannelId: `${Math.floor(Math.random() * 1e15)}` }),
    '{"title":"$(text)"}',
    {},
    "baidu",
  ],
  Browser: [browserChannel, '{"title":"$(text)"}', {}, "browser"],
  FcmV1: [() => ({ fcmV1RegistrationId: handles.fcmv1() }), '{"message":{"notification":{"body":"$(text)"}}}', {}, "fcmv1"],
  Gcm: [() => ({ gcmRegistrationId: handles.fcmv1() }), '{"data":{"m":"$(text)"}}', {}, "gcm"],
  Mpns: [
    () => ({ channelUri: someHandle.mpns() }),
    wpToast,
    { mpnsHeaders: { "X-WindowsPhone-Target": "toast", "X-NotificationClass": "2" } },
  ],
  Windows: [() => ({ channelUri: handles.wns() }), toast, { wnsHeaders: { "X-WNS-Type": "wns/toast" } }, "windows"],
  Xiaomi: [() => ({ xiaomiRegistrationId: someHandle.xiaomi() }), '{"title":"$(text)"}', {}],
};
const maker = (kind) =>
  models[`create${kind.replace(/^Gcm/, "FcmLegacy")}RegistrationDescription`] ?? ((description) => ({ ...description, kind }));
const pick = (object, fields) => Object.fromEntries(fields.map((name) => [name, object[name]]));

for (const [face, { call }] of Object.entries(faces)) {
  describe(`registrations through the ${face}`, () => {
    for (const [kind, [fields, bodyTemplate, headerLists, channelKind]] of Object.entries(kinds)) {
      for (const shape of ["", "Template"]) {
        it(`${kind}${shape}: create, get, update, upsert, lists, delete`, async () => {
          const handle = fields();
          const names = Object.keys(handle);
          const tag = `k:${uuid()}`;
          const templated = shape ? { bodyTemplate, templateName: "news", ...headerLists } : {};
          const description = maker(kind + shape)({ ...handle, ...templated, tags: [tag, "lang:nl"], pushVariables: { nick: "Kim" } });
          const created = await call("createRegistration")(description);
          assert.equal(created.kind, kind + shape);
          assert.equal(String(created.etag), "1");
          assert.match(created.registrationId, /^-?\d+--?\d+-\d+$/);
          assert.ok(created.expirationTime instanceof Date);
          assert.deepEqual(pick(created, names), handle);

          const read = await call("getRegistration")(created.registrationId);
          assert.deepEqual(pick(read, names), handle);
          assert.deepEqual([...read.tags].sort(), [tag, "lang:nl"].sort());
          assert.deepEqual(read.pushVariables, { nick: "Kim" });
          if (shape) {
            assert.equal(read.bodyTemplate, bodyTemplate);
            assert.equal(read.templateName, "news");
            for (const [list, values] of Object.entries(headerLists)) assert.deepEqual(read[list], values);
          }

          const updated = await call("updateRegistration")({ ...read, tags: [tag, "lang:de"] });
          assert.equal(String(updated.etag), "2");
          assert.equal(await statusOf(call("updateRegistration")({ ...read, etag: "1" })), 412);
          const { etag, ...unconditional } = updated;
          const upserted = await call("createOrUpdateRegistration")({ ...unconditional, tags: [tag] });
          assert.equal(String(upserted.etag), String(Number(etag) + 1));
          assert.equal(upserted.registrationId, created.registrationId);

          const idsOf = (list) => list.map((r) => r.registrationId);
          assert.deepEqual(idsOf(await all(call("listRegistrationsByTag")(tag))), [created.registrationId]);
          assert.deepEqual(await all(call("listRegistrationsByTag")("lang:de")), []);
          if (channelKind) {
            const found = await all(call("listRegistrationsByChannel")({ kind: channelKind, ...handle }));
            assert.deepEqual(idsOf(found), [created.registrationId]);
            assert.deepEqual(pick(found[0], names), handle);
          }
          assert.ok(idsOf(await all(call("listRegistrations")())).includes(created.registrationId));

          assert.equal(await statusOf(call("deleteRegistration")(created.registrationId, { etag: "1" })), 412);
          const gone = await call("deleteRegistration")(created.registrationId);
          assert.ok(gone.trackingId);
          assert.ok(gone.correlationId);
          assert.equal(await statusOf(call("getRegistration")(created.registrationId)), 404);
          if (channelKind) assert.deepEqual(await all(call("listRegistrationsByChannel")({ kind: channelKind, ...handle })), []);
        });
      }
    }

    it("createRegistrationId reserves an id for an upsert", async () => {
      const registrationId = await call("createRegistrationId")();
      const description = models.createAppleRegistrationDescription({ registrationId, deviceToken: handles.apns() });
      assert.equal((await call("createOrUpdateRegistration")(description)).registrationId, registrationId);
      await call("deleteRegistration")(registrationId);
    });
  });

  describe(`installations through the ${face}`, () => {
    const bodies = {
      apns: ['{"aps":{"alert":"$(text)"}}', { "apns-priority": "5" }],
      wns: [toast, { "X-WNS-Type": "wns/toast" }],
      mpns: [wpToast, { "X-WindowsPhone-Target": "toast" }],
      fcmv1: ['{"message":{"notification":{"body":"$(text)"}}}', {}],
      gcm: ['{"data":{"m":"$(text)"}}', {}],
      adm: ['{"data":{"m":"$(text)"}}', {}],
      baidu: ['{"title":"$(text)"}', {}],
      browser: ['{"title":"$(text)"}', {}],
      xiaomi: ['{"title":"$(text)"}', {}],
    };
    const makers = {
      apns: models.createAppleInstallation,
      wns: models.createWindowsInstallation,
      fcmv1: models.createFcmV1Installation,
      gcm: models.createFcmLegacyInstallation,
      adm: models.createAdmInstallation,
      baidu: models.createBaiduInstallation,
      browser: models.createBrowserInstallation,
      xiaomi: models.createXiaomiInstallation,
    };
    for (const [platform, [body, headers]] of Object.entries(bodies)) {
      it(`${platform}: put, get, patch, delete`, async () => {
        const installationId = uuid();
        const make = makers[platform] ?? ((installation) => ({ ...installation, platform }));
        const pushChannel = someHandle[platform]();
        const put = await call("createOrUpdateInstallation")(
          make({
            installationId,
            userId: "user-1",
            pushChannel,
            tags: ["lang:nl"],
            pushVariables: { nick: "Kim" },
            templates: { news: { body, headers, tags: ["breaking"] } },
          }),
        );
        assert.ok(put.trackingId);
        assert.ok(put.correlationId);
        const back = await call("getInstallation")(installationId);
        assert.equal(back.platform, platform);
        assert.deepEqual(back.pushChannel, pushChannel);
        assert.deepEqual(back.templates.news.tags, ["breaking"]);
        assert.equal(back.templates.news.body, body);
        for (const [name, value] of Object.entries(headers)) assert.equal(back.templates.news.headers[name], value);
        assert.equal((await all(client.listRegistrationsByTag(`$InstallationId:{${installationId}}`))).length, 2);
        assert.ok(await call("updateInstallation")(installationId, [{ op: "add", path: "/tags", value: "lang:de" }]));
        assert.deepEqual((await call("getInstallation")(installationId)).tags.sort(), ["lang:de", "lang:nl"]);
        await call("deleteInstallation")(installationId);
        assert.equal(await statusOf(call("getInstallation")(installationId)), 404);
      });
    }
  });
}

describe("installation details", () => {
  it("a browser channel written as text is answered as text", async () => {
    const installationId = uuid();
    const pushChannel = JSON.stringify(browserChannel());
    await client.createOrUpdateInstallation({ installationId, platform: "browser", pushChannel });
    const back = await client.getInstallation(installationId);
    assert.equal(typeof back.pushChannel, "string");
    assert.deepEqual(JSON.parse(back.pushChannel), JSON.parse(pushChannel));
    await client.deleteInstallation(installationId);
  });

  it("wns secondary tiles have channels, tags and templates of their own", async () => {
    const installationId = uuid();
    const tile = handles.wns();
    const tag = `tile:${uuid()}`;
    await client.createOrUpdateInstallation({
      installationId,
      platform: "wns",
      pushChannel: handles.wns(),
      secondaryTiles: {
        t1: { pushChannel: tile, tags: [tag], templates: { x: { body: toast, headers: { "X-WNS-Type": "wns/toast" }, tags: ["deep"] } } },
      },
    });
    const back = await client.getInstallation(installationId);
    assert.equal(back.secondaryTiles.t1.pushChannel, tile);
    assert.equal(back.secondaryTiles.t1.pushChannelExpired, false);
    const parts = await all(client.listRegistrationsByTag(tag));
    assert.deepEqual(parts.map((r) => r.channelUri), [tile, tile]);
    await exactly({ wns: [tile] }, async () => {
      const body = toast.replace("$(text)", "hi");
      const sent = await client.sendNotification(models.createWindowsToastNotification({ body }), { tagExpression: tag });
      await final(client, sent.notificationId);
    });
    const other = handles.wns();
    await client.updateInstallation(installationId, [
      { op: "replace", path: "/secondaryTiles/t1/pushChannel", value: other },
      { op: "add", path: "/secondaryTiles/t1/tags", value: "more" },
      { op: "remove", path: "/secondaryTiles/t1/templates/x" },
    ]);
    const patched = (await client.getInstallation(installationId)).secondaryTiles.t1;
    assert.equal(patched.pushChannel, other);
    assert.deepEqual(patched.tags.sort(), ["more", tag].sort());
    assert.equal(patched.templates, undefined);
    await client.updateInstallation(installationId, [{ op: "remove", path: "/secondaryTiles/t1" }]);
    assert.equal((await client.getInstallation(installationId)).secondaryTiles, undefined);
    assert.deepEqual(await all(client.listRegistrationsByTag(tag)), []);
    await client.deleteInstallation(installationId);
  });

  // Path and value of each row of contracts 4.3, and what a read must show.
  const second = JSON.stringify({ body: '{"aps":{"alert":"$(second)"}}', tags: ["s"] });
  const patches = {
    "add a tag": [[{ op: "add", path: "/tags", value: "c" }], (i) => assert.deepEqual(i.tags.sort(), ["a", "b", "c"])],
    "add an array of tags": [[{ op: "add", path: "/tags", value: ["c", "d"] }], (i) => assert.deepEqual(i.tags.sort(), ["a", "b", "c", "d"])],
    "replace tags by an array as text": [[{ op: "replace", path: "/tags", value: '["x","y"]' }], (i) => assert.deepEqual(i.tags.sort(), ["x", "y"])],
    "remove one tag": [[{ op: "remove", path: "/tags/a" }], (i) => assert.deepEqual(i.tags, ["b"])],
    "remove every tag": [[{ op: "remove", path: "/tags" }], (i) => assert.equal(i.tags, undefined)],
    "remove the last tag": [[{ op: "remove", path: "/tags/a" }, { op: "remove", path: "/tags/b" }], (i) => assert.equal(i.tags, undefined)],
    "add a user": [[{ op: "add", path: "/userId", value: "u2" }], (i) => assert.equal(i.userId, "u2")],
    "remove the user": [[{ op: "remove", path: "/userId" }], (i) => assert.equal(i.userId, undefined)],
    "add a template as text": [[{ op: "add", path: "/templates/second", value: second }], (i) => assert.deepEqual(i.templates.second.tags, ["s"])],
    "add a template as an object": [[{ op: "add", path: "/templates/second", value: JSON.parse(second) }], (i) => assert.equal(i.templates.second.body, JSON.parse(second).body)],
    "replace a template's body": [[{ op: "replace", path: "/templates/first/body", value: '{"aps":{}}' }], (i) => assert.equal(i.templates.first.body, '{"aps":{}}')],
    "set and remove a template's expiry": [
      [{ op: "add", path: "/templates/first/expiry", value: "$(until)" }, { op: "remove", path: "/templates/first/expiry" }],
      (i) => assert.equal(i.templates.first.expiry, undefined),
    ],
    "add one header": [[{ op: "add", path: "/templates/first/headers/apns-collapse-id", value: "c" }], (i) => assert.equal(i.templates.first.headers["apns-collapse-id"], "c")],
    "replace all headers": [[{ op: "replace", path: "/templates/first/headers", value: '{"apns-priority":"10"}' }], (i) => assert.deepEqual(i.templates.first.headers, { "apns-priority": "10" })],
    "add a template's tag": [[{ op: "add", path: "/templates/first/tags", value: "t2" }], (i) => assert.deepEqual(i.templates.first.tags.sort(), ["t1", "t2"])],
    "remove a template's tag": [[{ op: "remove", path: "/templates/first/tags/t1" }], (i) => assert.equal(i.templates.first.tags, undefined)],
    "remove a template": [[{ op: "remove", path: "/templates/first" }], (i) => assert.equal(i.templates, undefined)],
    "add a variable": [[{ op: "add", path: "/pushVariables/city", value: "Oslo" }], (i) => assert.deepEqual(i.pushVariables, { nick: "Kim", city: "Oslo" })],
    "remove the variables": [[{ op: "remove", path: "/pushVariables" }], (i) => assert.equal(i.pushVariables, undefined)],
    "set the expiration": [[{ op: "replace", path: "/expirationTime", value: "2035-02-19T17:50:00Z" }], (i) => assert.equal(Date.parse(i.expirationTime), Date.UTC(2035, 1, 19, 17, 50))],
    "spell operation and path in capitals": [[{ op: "ADD", path: "/Tags", value: "c" }], (i) => assert.deepEqual(i.tags.sort(), ["a", "b", "c"])],
    "escape a pointer": [[{ op: "add", path: "/pushVariables/a~1b~0c", value: "v" }], (i) => assert.equal(i.pushVariables["a/b~c"], "v")],
  };
  for (const [name, [operations, check]] of Object.entries(patches)) {
    it(`patches: ${name}`, async () => {
      const installationId = uuid();
      await client.createOrUpdateInstallation(
        models.createAppleInstallation({
          installationId,
          userId: "u1",
          pushChannel: handles.apns(),
          tags: ["a", "b"],
          pushVariables: { nick: "Kim" },
          templates: { first: { body: '{"aps":{"alert":"$(text)"}}', headers: { "apns-priority": "5" }, tags: ["t1"] } },
        }),
      );
      await client.updateInstallation(installationId, operations);
      check(await client.getInstallation(installationId));
      await client.deleteInstallation(installationId);
    });
  }
});

describe("paging", () => {
  it("gives every registration that stays once, while others come and go", async () => {
    const tag = `page:${uuid()}`;
    const make = () =>
      client.createRegistration(models.createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: [tag] }));
    const stay = (await Promise.all(Array.from({ length: 40 }, make))).map((r) => r.registrationId);
    const leave = (await Promise.all(Array.from({ length: 20 }, make))).map((r) => r.registrationId);
    const seen = [];
    for await (const page of client.listRegistrationsByTag(tag, { top: 7 }).byPage()) {
      assert.ok(page.length <= 7);
      seen.push(...page.map((r) => r.registrationId));
      if (leave.length) await client.deleteRegistration(leave.pop());
      await make();
    }
    for (const id of stay) assert.equal(seen.filter((other) => other === id).length, 1, `${id} once`);
    assert.equal(new Set(seen).size, seen.length, "nothing twice");
  });

  it("takes a token as it was given, encoded once more and in the other spelling", async () => {
    const tag = `token:${uuid()}`;
    for (let i = 0; i < 3; i++)
      await client.createRegistration(models.createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: [tag] }));
    const first = await raw({ path: `/${hub.name}/tags/${tag}/registrations?${v}&$top=1` });
    const token = first.headers["x-ms-continuationtoken"];
    assert.ok(token);
    const bodies = [];
    for (const query of [`continuationtoken=${token}`, `ContinuationToken=${encodeURIComponent(token)}`, `continuationtoken=${encodeURIComponent(encodeURIComponent(token))}`]) {
      const page = await raw({ path: `/${hub.name}/tags/${tag}/registrations?${v}&%24top=1&${query}` });
      assert.equal(page.status, 200, query);
      bodies.push(/<RegistrationId>([^<]+)</.exec(page.body)[1]);
    }
    assert.equal(new Set(bodies).size, 1);
    assert.notEqual(bodies[0], /<RegistrationId>([^<]+)</.exec(first.body)[1]);
    assert.equal((await raw({ path: `/${hub.name}/registrations?${v}&continuationtoken=%21%21` })).status, 400);
  });
});

const native = {
  apns: {
    make: () => models.createAppleNotification({ body: { aps: { alert: "Storm" } }, headers: { "apns-priority": "10", "apns-push-type": "alert" } }),
    register: (handle, tags) => models.createAppleRegistrationDescription({ deviceToken: handle, tags }),
    counts: "apnsOutcomeCounts",
  },
  fcmv1: {
    make: () => models.createFcmV1Notification({ body: { message: { notification: { body: "Storm" } } } }),
    register: (handle, tags) => models.createFcmV1RegistrationDescription({ fcmV1RegistrationId: handle, tags }),
    counts: "fcmV1OutcomeCounts",
  },
  adm: {
    make: () => models.createAdmNotification({ body: { data: { m: "Storm" } } }),
    register: (handle, tags) => models.createAdmRegistrationDescription({ admRegistrationId: handle, tags }),
    counts: "admOutcomeCounts",
  },
  wns: {
    make: () => models.createWindowsToastNotification({ body: toast.replace("$(text)", "Storm") }),
    register: (handle, tags) => models.createWindowsRegistrationDescription({ channelUri: handle, tags }),
    counts: "wnsOutcomeCounts",
  },
};

for (const [face, { call }] of Object.entries(faces)) {
  describe(`sends through the ${face}`, () => {
    for (const [platform, row] of Object.entries(native)) {
      it(`sendNotification reaches ${platform} by tag, directly and in a batch`, async () => {
        const tag = `s:${uuid()}`;
        const [tagged, direct, ...batch] = Array.from({ length: 6 }, handles[platform]);
        await client.createRegistration(row.register(tagged, [tag]));
        for (const [options, reached] of [
          [{ tagExpression: `${tag} && !other` }, [tagged]],
          [{ deviceHandle: direct }, [direct]],
          [{ deviceHandle: batch }, batch],
        ]) {
          const details = await exactly({ [platform]: reached }, async () => {
            const sent = await call("sendNotification")(row.make(), options);
            assert.ok(sent.trackingId);
            assert.ok(sent.correlationId);
            assert.ok(sent.notificationId && sent.notificationId !== "$batch");
            return final({ getNotificationOutcomeDetails: call("getNotificationOutcomeDetails") }, sent.notificationId);
          });
          assert.equal(details.state, "Completed");
          assert.deepEqual(counts(details[row.counts]), { Success: reached.length });
          assert.ok(details.enqueueTime instanceof Date);
          assert.ok(details.endTime instanceof Date);
        }
      });
    }

    it("sendBroadcastNotification reaches everyone of the platform", async () => {
      const other = await freshHub("sdk-all");
      try {
        const broadcast = (...args) =>
          face === "client class" ? other.client.sendBroadcastNotification(...args) : api.sendBroadcastNotification(api.createClientContext(connectionString, other.name), ...args);
        const tokens = Array.from({ length: 3 }, handles.apns);
        for (const token of tokens) await other.client.createRegistration(native.apns.register(token, []));
        await other.client.createRegistration(native.adm.register(handles.adm(), []));
        await exactly({ apns: tokens }, async () => {
          const sent = await broadcast(native.apns.make());
          await final(other.client, sent.notificationId);
        });
      } finally {
        await deleteHub(other.name);
      }
    });

    it("template sends render per registration", async () => {
      const tag = `t:${uuid()}`;
      const token = handles.apns();
      const channel = handles.wns();
      await client.createRegistration(
        models.createAppleTemplateRegistrationDescription({ deviceToken: token, tags: [tag], templateName: "a", bodyTemplate: '{"aps":{"alert":"$(text)","badge":"#(n)"}}' }),
      );
      await client.createRegistration(
        models.createWindowsTemplateRegistrationDescription({ channelUri: channel, tags: [tag], templateName: "w", bodyTemplate: toast, wnsHeaders: { "X-WNS-Type": "wns/toast" } }),
      );
      const details = await exactly({ apns: [token], wns: [channel] }, async () => {
        const notification = models.createTemplateNotification({ body: JSON.stringify({ text: "Fog & ice", n: "3" }) });
        const sent = await call("sendNotification")(notification, { tagExpression: tag });
        return final(client, sent.notificationId);
      });
      assert.equal(details.state, "Completed");
      assert.deepEqual(JSON.parse(await sims.apns.bodyOf(token)), { aps: { alert: "Fog & ice", badge: 3 } });
      assert.match(await sims.wns.bodyOf(channel), /<text id="1">Fog &amp; ice<\/text>/);
    });

    it("every Windows type passes", async () => {
      const channel = handles.wns();
      const bodies = {
        createWindowsToastNotification: toast.replace("$(text)", "x"),
        createWindowsTileNotification: '<tile><visual><binding template="TileSquareText01"/></visual></tile>',
        createWindowsBadgeNotification: '<badge value="7"/>',
        createWindowsRawNotification: "anything at all",
      };
      for (const [name, body] of Object.entries(bodies)) {
        await exactly({ wns: [channel] }, async () => {
          const sent = await call("sendNotification")(models[name]({ body }), { deviceHandle: channel });
          const details = await final(client, sent.notificationId);
          assert.deepEqual(counts(details.wnsOutcomeCounts), { Success: 1 }, name);
        });
      }
    });

    it("platforms without a sender end with an honest outcome", async () => {
      const cases = [
        [models.createFcmLegacyNotification({ body: { data: { m: "x" } } }), "gcmRegistrationId", "Gcm", "GcmOutcomeCounts"],
        [models.createBaiduNotification({ body: '{"title":"x"}' }), null, "Baidu", "BaiduOutcomeCounts"],
        [models.createXiaomiNotification({ body: '{"title":"x"}' }), null, "Xiaomi", "XiaomiOutcomeCounts"],
      ];
      for (const [notification, , kind, element] of cases) {
        const tag = `none:${uuid()}`;
        const made = await client.createRegistration(maker(kind)({ ...kinds[kind][0](), tags: [tag] }));
        const sent = await exactly({}, () => call("sendNotification")(notification, { tagExpression: tag }));
        await final(client, sent.notificationId);
        const { body } = await raw({ path: `/${hub.name}/messages/${sent.notificationId}?${v}` });
        assert.match(body, /<State>Completed<\/State>/, kind);
        assert.match(body, new RegExp(`<${element}><Outcome><Name>PnsInterfaceError</Name><Count>1</Count></Outcome></${element}>`), kind);
        await client.getRegistration(made.registrationId);
      }
    });

    it("a send to nobody ends as NoTargetFound", async () => {
      const sent = await call("sendNotification")(native.apns.make(), { tagExpression: `nobody-${uuid()}` });
      assert.equal((await final(client, sent.notificationId)).state, "NoTargetFound");
    });

    it("test sends answer with the outcome of each device", async () => {
      const tag = `test:${uuid()}`;
      const [good, dead] = [handles.apns(), handles.apns()];
      const { registrationId } = await client.createRegistration(native.apns.register(good, [tag]));
      await client.createRegistration(native.apns.register(dead, [tag]));
      const answer = await exactly({ apns: [good] }, async () => {
        await sims.apns.kill(dead);
        return call("sendNotification")(native.apns.make(), { tagExpression: tag, enableTestSend: true });
      });
      assert.equal(answer.successCount, 1);
      assert.equal(answer.failureCount, 1);
      assert.equal(answer.results.length, 2);
      const byHandle = Object.fromEntries(answer.results.map((r) => [r.pnsHandle, r]));
      assert.equal(byHandle[good].applicationPlatform, "apple");
      assert.equal(byHandle[good].registrationId, registrationId);
      assert.equal(byHandle[good].outcome, "The Notification was successfully sent to the Push Notification System");
      assert.equal(byHandle[dead].outcome, "The Push Notification System handle for the registration is invalid");
      const nobody = await call("sendNotification")(native.apns.make(), { tagExpression: `nobody-${uuid()}`, enableTestSend: true });
      assert.deepEqual([nobody.successCount, nobody.failureCount, nobody.results], [0, 0, []]);
    });

    it("scheduleNotification fires at its time, once", async () => {
      const tag = `later:${uuid()}`;
      const token = handles.apns();
      const at = Date.now() + 2_000;
      await exactly({ apns: [token] }, async () => {
        const scheduled = await call("scheduleNotification")(new Date(at), native.apns.make(), { tagExpression: tag });
        assert.match(new URL(scheduled.location).pathname, new RegExp(`^/${hub.name}/schedulednotifications/[^/]+$`));
        const details = await client.getNotificationOutcomeDetails(scheduled.notificationId);
        assert.equal(details.state, "Scheduled");
        await client.createRegistration(native.apns.register(token, [tag]));  // the audience is the one of that time
        while (Date.now() < at + 10_000) {
          const { state } = await client.getNotificationOutcomeDetails(scheduled.notificationId);
          if (!["Scheduled", "Enqueued", "Processing"].includes(state)) break;
          if (Date.now() < at - 200) assert.equal(state, "Scheduled");
          await wait(50);
        }
        const done = await client.getNotificationOutcomeDetails(scheduled.notificationId);
        assert.equal(done.state, "Completed");
        assert.deepEqual(counts(done.apnsOutcomeCounts), { Success: 1 });
      });
    });

    it("scheduleBroadcastNotification and cancelScheduledNotification: what is cancelled never fires", async () => {
      await exactly({}, async () => {
        const at = new Date(Date.now() + 1_500);
        const scheduled = await call("scheduleBroadcastNotification")(at, native.apns.make());
        assert.ok(scheduled.notificationId);
        const cancelled = await call("cancelScheduledNotification")(scheduled.notificationId);
        assert.ok(cancelled.trackingId);
        await wait(2_000);
        const { body } = await raw({ path: `/${hub.name}/messages/${scheduled.notificationId}?${v}` });
        assert.match(body, /<State>Canceled<\/State>/);
        assert.equal(await statusOf(call("cancelScheduledNotification")(`unknown-${uuid()}`)), 404);
      });
    });

    it("getFeedbackContainerUrl lists what became of dead handles", async () => {
      const tag = `fb:${uuid()}`;
      const dead = handles.apns();
      await client.createRegistration(native.apns.register(dead, [tag]));
      await sims.apns.kill(dead);
      const sent = await client.sendNotification(native.apns.make(), { tagExpression: tag });
      let details = await final(client, sent.notificationId);
      for (let i = 0; i < 100 && !details.pnsErrorDetailsUrl; i++) {
        await wait(50);  // the details are written behind the last verdict
        details = await client.getNotificationOutcomeDetails(sent.notificationId);
      }
      assert.ok(details.pnsErrorDetailsUrl, "a send with failures has its details");
      const container = new URL(await call("getFeedbackContainerUrl")());
      assert.equal(container.protocol, "https:");
      const fetchText = async (at) => {
        const answer = await raw({ path: `${at.pathname}${at.search}`, auth: false });
        assert.equal(answer.status, 200, `${at.pathname}: ${answer.body}`);
        return answer.body;
      };
      const errors = await fetchText(new URL(details.pnsErrorDetailsUrl));
      assert.match(errors, new RegExp(`<PnsHandle>${dead}</PnsHandle>`));
      let found = "";
      for (let i = 0; i < 100 && !found; i++) {
        const list = new URL(container);
        list.searchParams.set("restype", "container");
        list.searchParams.set("comp", "list");
        for (const [, name] of (await fetchText(list)).matchAll(/<Name>([^<]+)<\/Name>/g)) {
          const blob = new URL(container);
          blob.pathname += `/${name}`;
          const text = await fetchText(blob);
          if (text.includes(dead)) found = text;
        }
        if (!found) await wait(50);
      }
      const document = [...found.matchAll(/<PnsFeedback [^]*?<\/PnsFeedback>/g)].map((m) => m[0]).find((d) => d.includes(dead));
      assert.match(
        document,
        /^<PnsFeedback [^>]*><FeedbackTime>[^<]+<\/FeedbackTime><NotificationSystemError>(ExpiredChannel|BadChannel)<\/NotificationSystemError><Platform>apple<\/Platform><PnsHandle>[0-9A-F]+<\/PnsHandle><RegistrationId>/,
      );
      const forged = container.pathname + container.search.replace(/sig=[^&]*/, "sig=AAAA");
      assert.equal((await raw({ path: `${forged}&restype=container&comp=list`, auth: false })).status, 403);
    });
  });
}

/** The signed URL of a container of the hub's blob area. */
async function container(name) {
  const answer = await raw({ path: `/${hub.name}/blobcontainers/${name}?${v}` });
  assert.equal(answer.status, 200, answer.body);
  return answer.body.trim();
}
/** The URL of a blob in a container that a signed URL opens. */
const blobIn = (signed, name) => {
  const at = new URL(signed);
  at.pathname += `/${name}`;
  return at;
};
async function upload(name, text) {
  const at = blobIn(await container("uploads"), name);
  const headers = { "x-ms-blob-type": "BlockBlob", "Content-Type": "text/plain" };
  const answer = await raw({ method: "PUT", path: at.pathname + at.search, headers, body: text, auth: false });
  assert.equal(answer.status, 201, answer.body);
  return at.href;
}
async function outputOf(job, property) {
  const name = job.outputProperties[property].split("/").filter(Boolean).join("/");
  const at = blobIn(job.outputContainerUrl, name);
  const answer = await raw({ path: at.pathname + at.search, auth: false });
  assert.equal(answer.status, 200, `${name}: ${answer.body}`);
  return answer.body.split("\n").filter(Boolean);
}
const connect = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
const importLine = (token, tags, id = "") =>
  `<RegistrationDescription xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="AppleRegistrationDescription" xmlns="${connect}">` +
  `${id && `<RegistrationId>${id}</RegistrationId>`}<Tags>${tags}</Tags><DeviceToken>${token}</DeviceToken></RegistrationDescription>`;

for (const [face, { call }] of Object.entries(faces)) {
  describe(`jobs through the ${face}`, () => {
    const finished = async (jobId) => {
      for (let i = 0; i < 400; i++) {
        const job = await call("getNotificationHubJob")(jobId);
        assert.equal(job.jobId, jobId);
        if (["Completed", "Failed"].includes(job.status)) return job;
        await wait(50);
      }
      return assert.fail(`job ${jobId} does not end`);
    };

    it("submit, get and list: an import creates registrations and says which lines failed", async () => {
      const tag = `import:${uuid()}`;
      const tokens = Array.from({ length: 5 }, handles.apns);
      const lines = tokens.map((token) => importLine(token, tag)).concat(importLine("not-hex", tag));
      const importFileUrl = await upload(`in-${uuid()}.txt`, lines.join("\n"));
      const outputContainerUrl = await container("jobs");
      const submitted = await call("submitNotificationHubJob")({ type: "ImportCreateRegistrations", outputContainerUrl, importFileUrl });
      assert.ok(submitted.jobId);
      assert.equal(submitted.type, "ImportCreateRegistrations");
      assert.equal(submitted.outputContainerUrl, outputContainerUrl);
      const job = await finished(submitted.jobId);
      assert.equal(job.status, "Completed", job.failure);
      assert.equal(job.progress, 100);
      assert.ok(job.createdAt instanceof Date && job.updatedAt instanceof Date);
      assert.ok((await call("listNotificationHubJobs")()).some((other) => other.jobId === job.jobId));
      assert.equal((await outputOf(job, "OutputFilePath")).length, 5);
      const failures = await outputOf(job, "FailedFilePath");
      assert.equal(failures.length, 1);
      assert.match(failures[0], /^6,/);
      const made = await all(client.listRegistrationsByTag(tag));
      assert.deepEqual(made.map((r) => r.deviceToken).sort(), [...tokens].sort());
    });

    it("beginSubmitNotificationHubJob: update, upsert, delete and export, polled to their end", async () => {
      const run = async (type, lines) => {
        const importFileUrl = lines && (await upload(`in-${uuid()}.txt`, lines.join("\n")));
        const job = { type, outputContainerUrl: await container("jobs"), importFileUrl };
        // The poller is a thenable: awaiting it polls until the job has ended.
        const result = await call("beginSubmitNotificationHubJob")(job, { updateIntervalInMs: 50 });
        assert.equal(result.status, "Completed");
        return result;
      };
      const tag = `bulk:${uuid()}`;
      const tagged = async (wanted) => (await all(client.listRegistrationsByTag(wanted))).map((r) => r.registrationId).sort();
      const known = await client.createRegistration(models.createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: ["before"] }));
      const fresh = await client.createRegistrationId();
      await run("ImportUpdateRegistrations", [importLine(known.deviceToken, tag, known.registrationId)]);
      assert.deepEqual(await tagged(tag), [known.registrationId]);
      await run("ImportUpsertRegistrations", [importLine(known.deviceToken, `${tag},two`, known.registrationId), importLine(handles.apns(), tag, fresh)]);
      assert.deepEqual(await tagged(tag), [known.registrationId, fresh].sort());
      const rows = await outputOf(await run("ExportRegistrations"), "OutputFilePath");
      for (const id of [known.registrationId, fresh]) assert.equal(rows.filter((row) => row.includes(`<RegistrationId>${id}</RegistrationId>`)).length, 1);
      await run("ImportDeleteRegistrations", [known.registrationId, fresh].map((id) => importLine(handles.apns(), tag, id)));
      assert.deepEqual(await tagged(tag), []);
    });

    it("what cannot be a job is refused", async () => {
      const outputContainerUrl = await container("jobs");
      assert.equal(await statusOf(call("submitNotificationHubJob")({ type: "ImportCreateRegistrations", outputContainerUrl })), 400);
      assert.equal(await statusOf(call("submitNotificationHubJob")({ type: "MakeCoffee", outputContainerUrl })), 400);
      assert.equal(await statusOf(call("getNotificationHubJob")(`none-${uuid()}`)), 404);
    });
  });
}

describe("direct sends to browsers and batches", () => {
  it("a browser subscription is a device handle", async () => {
    const deviceHandle = await sims.browser.subscribe(browserChannel().endpoint);
    await exactly({ browser: [JSON.stringify(deviceHandle)] }, async () => {
      const sent = await client.sendNotification(models.createBrowserNotification({ body: '{"title":"x"}' }), { deviceHandle });
      const details = await final(client, sent.notificationId);
      assert.deepEqual(counts(details.browserOutcomeCounts), { Success: 1 });
    });
    // What the simulator keeps is what its browser decrypted.
    assert.equal(await sims.browser.bodyOf(JSON.stringify(deviceHandle)), '{"title":"x"}');
  });

  it("a thousand handles fit into a batch and one more does not", async () => {
    const batch = Array.from({ length: 1_000 }, handles.apns);
    await exactly({ apns: batch }, async () => {
      const sent = await client.sendNotification(native.apns.make(), { deviceHandle: batch });
      const details = await final(client, sent.notificationId);
      assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 1_000 });
    });
    assert.equal(await statusOf(client.sendNotification(native.apns.make(), { deviceHandle: [...batch, handles.apns()] })), 400);
  });
});

describe("what the SDK exports", () => {
  it("is called by these tests, method by method", () => {
    const methods = Object.getOwnPropertyNames(sdk.NotificationHubsClient.prototype).filter((name) => name !== "constructor");
    const functions = Object.keys(api).filter((name) => name !== "createClientContext");
    assert.deepEqual([...methods].sort(), [...functions].sort());
    assert.equal(methods.length, 24, "a new method needs a test here");
    assert.equal(url.protocol, "https:");
  });
});
