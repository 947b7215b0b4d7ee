// Registrations and installations through the official SDK, unmodified (contracts: sections 3 and 4).
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  createAdmInstallation,
  createAdmRegistrationDescription,
  createAdmTemplateRegistrationDescription,
  createAppleInstallation,
  createAppleRegistrationDescription,
  createAppleTemplateRegistrationDescription,
  createFcmV1Installation,
  createFcmV1RegistrationDescription,
  createFcmV1TemplateRegistrationDescription,
  createWindowsInstallation,
  createWindowsRegistrationDescription,
  createWindowsTemplateRegistrationDescription,
} from "@azure/notification-hubs";
import { all, deleteHub, freshHub, handles, statusOf, uuid } from "./support.mjs";

let hub;
let client;
before(async () => {
  hub = await freshHub("registrations");
  client = hub.client;
});
after(() => deleteHub(hub.name));

const toast = '<toast><visual><binding template="ToastText01"><text id="1">$(text)</text></binding></visual></toast>';

describe("installations", () => {
  const makers = {
    apns: [createAppleInstallation, '{"aps":{"alert":"$(text)"}}', {}],
    fcmv1: [createFcmV1Installation, '{"message":{"notification":{"body":"$(text)"}}}', {}],
    wns: [createWindowsInstallation, toast, { "X-WNS-Type": "wns/toast" }],
    adm: [createAdmInstallation, '{"data":{"alert":"$(text)"}}', {}],
  };
  for (const [platform, [make, body, headers]] of Object.entries(makers)) {
    it(`puts, reads back and deletes on ${platform}`, async () => {
      const installationId = uuid();
      const pushChannel = handles[platform]();
      const put = await client.createOrUpdateInstallation(
        make({
          installationId,
          userId: "user-1",
          pushChannel,
          tags: ["lang:nl", "team:red"],
          pushVariables: { nick: "Kim" },
          templates: { news: { body, headers, tags: ["breaking"] } },
        }),
      );
      assert.ok(put.trackingId, "TrackingId is set");
      assert.ok(put.correlationId, "x-ms-correlation-request-id is set");
      const back = await client.getInstallation(installationId);
      assert.equal(back.installationId, installationId);
      assert.equal(back.platform.toLowerCase(), platform);
      assert.equal(back.pushChannel.toLowerCase(), pushChannel.toLowerCase());
      assert.equal(back.userId, "user-1");
      assert.equal(back.pushChannelExpired, false);
      assert.ok(back.expirationTime);
      assert.deepEqual([...back.tags].sort(), ["lang:nl", "team:red"]);
      assert.deepEqual(back.pushVariables, { nick: "Kim" });
      assert.equal(back.templates.news.body, body);
      assert.deepEqual(back.templates.news.tags, ["breaking"]);

      const parts = await all(client.listRegistrationsByTag(`$InstallationId:{${installationId}}`));
      assert.deepEqual(parts.map((r) => r.kind.endsWith("Template")).sort(), [false, true]);
      const template = parts.find((r) => r.kind.endsWith("Template"));
      for (const tag of [`$InstallationId:{${installationId}}`, "$UserId:{user-1}", "lang:nl", "breaking", "news"])
        assert.ok(template.tags.includes(tag), `${tag} in ${template.tags}`);

      await client.deleteInstallation(installationId);
      assert.equal(await statusOf(client.getInstallation(installationId)), 404);
      assert.deepEqual(await all(client.listRegistrationsByTag(`$InstallationId:{${installationId}}`)), []);
    });
  }

  it("overwrites everything on the second put", async () => {
    const installationId = uuid();
    await client.createOrUpdateInstallation(
      createAppleInstallation({ installationId, pushChannel: handles.apns(), tags: ["old"], userId: "u" }),
    );
    const pushChannel = handles.apns();
    await client.createOrUpdateInstallation(createAppleInstallation({ installationId, pushChannel, tags: ["new"] }));
    const back = await client.getInstallation(installationId);
    assert.equal(back.pushChannel, pushChannel);
    assert.deepEqual(back.tags, ["new"]);
    assert.equal(back.userId, undefined);
    assert.deepEqual(await all(client.listRegistrationsByTag("old")), []);
    await client.deleteInstallation(installationId);
  });

  it("patches tags, channel, user, templates and variables, all or nothing", async () => {
    const installationId = uuid();
    await client.createOrUpdateInstallation(
      createAppleInstallation({ installationId, pushChannel: handles.apns(), tags: ["a", "b"] }),
    );
    const pushChannel = handles.apns();
    await client.updateInstallation(installationId, [
      { op: "add", path: "/tags", value: "c" },
      { op: "remove", path: "/tags/a" },
      { op: "replace", path: "/pushChannel", value: pushChannel },
      { op: "add", path: "/userId", value: "user-2" },
      { op: "add", path: "/templates/t1", value: '{"body":"{\\"aps\\":{\\"alert\\":\\"$(m)\\"}}","tags":["x"]}' },
      { op: "add", path: "/pushVariables/nick", value: "Bo" },
    ]);
    let back = await client.getInstallation(installationId);
    assert.deepEqual([...back.tags].sort(), ["b", "c"]);
    assert.equal(back.pushChannel, pushChannel);
    assert.equal(back.userId, "user-2");
    assert.equal(back.templates.t1.body, '{"aps":{"alert":"$(m)"}}');
    assert.equal(back.pushVariables.nick, "Bo");

    const status = await statusOf(
      client.updateInstallation(installationId, [
        { op: "add", path: "/tags", value: "d" },
        { op: "replace", path: "/pushChannel", value: "not-hex" },
      ]),
    );
    assert.equal(status, 400);
    assert.deepEqual((await client.getInstallation(installationId)).tags.sort(), ["b", "c"]);

    await client.updateInstallation(installationId, [
      { op: "remove", path: "/tags" },
      { op: "remove", path: "/templates/t1" },
      { op: "remove", path: "/userId" },
    ]);
    back = await client.getInstallation(installationId);
    assert.equal(back.tags, undefined);
    assert.equal(back.userId, undefined);
    assert.equal(back.templates?.t1, undefined);
    await client.deleteInstallation(installationId);
  });

  it("answers 404 for what is not there and 204 when deleting it", async () => {
    const id = uuid();
    assert.equal(await statusOf(client.getInstallation(id)), 404);
    assert.equal(await statusOf(client.updateInstallation(id, [{ op: "add", path: "/tags", value: "x" }])), 404);
    await client.deleteInstallation(id);
  });

  it("keeps a template that cannot be sent, and a channel of any host", async () => {
    const kept = [
      createAppleInstallation({
        installationId: uuid(),
        pushChannel: handles.apns(),
        templates: { t: { body: '{"aps":{"alert":"$(not closed"}}', headers: {} } },
      }),
      createWindowsInstallation({ installationId: uuid(), pushChannel: "https://evil.example.test/?token=a" }),
    ];
    for (const installation of kept) {
      await client.createOrUpdateInstallation(installation);
      const back = await client.getInstallation(installation.installationId);
      assert.equal(back.pushChannel, installation.pushChannel);
      await client.deleteInstallation(installation.installationId);
    }
  });

  it("refuses bad handles, tags and platforms with 400", async () => {
    const bad = [
      createAppleInstallation({ installationId: uuid(), pushChannel: "not-hex" }),
      createAppleInstallation({ installationId: uuid(), pushChannel: handles.apns(), tags: ["two words"] }),
      createAppleInstallation({ installationId: uuid(), pushChannel: handles.apns(), tags: ["$UserId:{x}"] }),
      { installationId: uuid(), pushChannel: handles.apns(), platform: "pigeon" },
      { installationId: uuid(), platform: "apns" },
    ];
    for (const installation of bad) {
      const status = await statusOf(client.createOrUpdateInstallation(installation));
      assert.equal(status, 400, JSON.stringify(installation));
      assert.equal(await statusOf(client.getInstallation(installation.installationId)), 404);
    }
  });
});

describe("registrations", () => {
  const kinds = {
    Apple: [createAppleRegistrationDescription, () => ({ deviceToken: handles.apns() }), "deviceToken"],
    FcmV1: [createFcmV1RegistrationDescription, () => ({ fcmV1RegistrationId: handles.fcmv1() }), "fcmV1RegistrationId"],
    Windows: [createWindowsRegistrationDescription, () => ({ channelUri: handles.wns() }), "channelUri"],
    Adm: [createAdmRegistrationDescription, () => ({ admRegistrationId: handles.adm() }), "admRegistrationId"],
    AppleTemplate: [
      createAppleTemplateRegistrationDescription,
      () => ({
        deviceToken: handles.apns(),
        templateName: "news",
        bodyTemplate: '{"aps":{"alert":"$(text)"}}',
        apnsHeaders: { "apns-priority": "5" },
      }),
      "deviceToken",
    ],
    FcmV1Template: [
      createFcmV1TemplateRegistrationDescription,
      () => ({
        fcmV1RegistrationId: handles.fcmv1(),
        templateName: "news",
        bodyTemplate: '{"message":{"notification":{"body":"$(text)"}}}',
      }),
      "fcmV1RegistrationId",
    ],
    WindowsTemplate: [
      createWindowsTemplateRegistrationDescription,
      () => ({
        channelUri: handles.wns(),
        templateName: "news",
        bodyTemplate: toast,
        wnsHeaders: { "X-WNS-Type": "wns/toast" },
      }),
      "channelUri",
    ],
    AdmTemplate: [
      createAdmTemplateRegistrationDescription,
      () => ({ admRegistrationId: handles.adm(), templateName: "news", bodyTemplate: '{"data":{"m":"$(text)"}}' }),
      "admRegistrationId",
    ],
  };
  for (const [kind, [make, fields, handleField]] of Object.entries(kinds)) {
    it(`creates, reads, updates, lists and deletes ${kind}`, async () => {
      const tag = `k:${uuid()}`;
      const created = await client.createRegistration(make({ ...fields(), tags: [tag, "lang:nl"] }));
      assert.match(created.registrationId, /^-?\d+--?\d+-\d+$/);
      assert.equal(created.kind, kind);
      assert.equal(String(created.etag), "1");
      const back = await client.getRegistration(created.registrationId);
      assert.equal(back[handleField], created[handleField]);
      assert.deepEqual([...back.tags].sort(), [tag, "lang:nl"].sort());
      if (kind.endsWith("Template")) {
        assert.equal(back.templateName, "news");
        assert.equal(back.bodyTemplate, created.bodyTemplate);
      }

      const updated = await client.updateRegistration({ ...back, tags: [tag, "lang:de"] });
      assert.equal(String(updated.etag), "2");
      assert.deepEqual([...updated.tags].sort(), [tag, "lang:de"].sort());
      assert.equal(await statusOf(client.updateRegistration({ ...back, etag: "1" })), 412);

      assert.deepEqual((await all(client.listRegistrationsByTag(tag))).map((r) => r.registrationId), [
        created.registrationId,
      ]);
      assert.equal(await statusOf(client.deleteRegistration(created.registrationId, { etag: "1" })), 412);
      await client.deleteRegistration(created.registrationId);
      assert.equal(await statusOf(client.getRegistration(created.registrationId)), 404);
      assert.deepEqual(await all(client.listRegistrationsByTag(tag)), []);
    });
  }

  it("reserves ids and accepts them in createOrUpdate", async () => {
    const registrationId = await client.createRegistrationId();
    assert.match(registrationId, /^-?\d+--?\d+-\d+$/);
    assert.equal(await statusOf(client.getRegistration(registrationId)), 404);
    const deviceToken = handles.apns();
    const first = await client.createOrUpdateRegistration(
      createAppleRegistrationDescription({ registrationId, deviceToken, tags: ["one"] }),
    );
    assert.equal(first.registrationId, registrationId);
    const second = await client.createOrUpdateRegistration(
      createAppleRegistrationDescription({ registrationId, deviceToken, tags: ["two"] }),
    );
    assert.equal(String(second.etag), "2");
    assert.deepEqual((await client.getRegistration(registrationId)).tags, ["two"]);
    await client.deleteRegistration(registrationId);
  });

  it("finds registrations by their channel", async () => {
    const channels = [
      [createAppleRegistrationDescription, "deviceToken", "apple", handles.apns()],
      [createFcmV1RegistrationDescription, "fcmV1RegistrationId", "fcmv1", handles.fcmv1()],
      [createWindowsRegistrationDescription, "channelUri", "windows", handles.wns()],
      [createAdmRegistrationDescription, "admRegistrationId", "adm", handles.adm()],
    ];
    for (const [make, field, kind, handle] of channels) {
      const { registrationId } = await client.createRegistration(make({ [field]: handle }));
      const found = await all(client.listRegistrationsByChannel({ kind, [field]: handle }));
      assert.deepEqual(found.map((r) => r.registrationId), [registrationId], kind);
      await client.deleteRegistration(registrationId);
      assert.deepEqual(await all(client.listRegistrationsByChannel({ kind, [field]: handle })), [], kind);
    }
  });

  it("pages through lists without losing or repeating one", async () => {
    const tag = `page:${uuid()}`;
    const made = [];
    for (let i = 0; i < 25; i++)
      made.push((await client.createRegistration(
        createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: [tag] }))).registrationId);
    const pages = [];
    for await (const page of client.listRegistrationsByTag(tag, { top: 10 }).byPage())
      pages.push(page.map((r) => r.registrationId));
    assert.deepEqual(pages.map((p) => p.length), [10, 10, 5]);
    assert.deepEqual(pages.flat().sort(), made.sort());
    const listed = (await all(client.listRegistrations({ top: 7 }))).map((r) => r.registrationId);
    for (const id of made) assert.equal(listed.filter((l) => l === id).length, 1);
    for (const id of made) await client.deleteRegistration(id);
  });

  it("refuses system tags, bad handles and bad templates with 400", async () => {
    const bad = [
      createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: ["$UserId:{u}"] }),
      createAppleRegistrationDescription({ deviceToken: "xyz" }),
      createAppleTemplateRegistrationDescription({
        deviceToken: handles.apns(),
        templateName: "t",
        bodyTemplate: '{"aps":{"alert":"$(a-b)"}}',
      }),
      createWindowsTemplateRegistrationDescription({
        channelUri: handles.wns(),
        templateName: "t",
        bodyTemplate: "<toast>$(a)</toast>",
        wnsHeaders: {},
      }),
    ];
    for (const description of bad)
      assert.equal(await statusOf(client.createRegistration(description)), 400, JSON.stringify(description));
  });
});
