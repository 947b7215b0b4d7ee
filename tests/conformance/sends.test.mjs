// Sends through the official SDK: what the devices' providers receive, and what telemetry says about it
// (contracts: sections 5, 6 and 8).
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  createAdmNotification,
  createAppleInstallation,
  createAppleNotification,
  createAppleRegistrationDescription,
  createAppleTemplateRegistrationDescription,
  createAdmRegistrationDescription,
  createFcmV1Notification,
  createFcmV1RegistrationDescription,
  createFcmV1TemplateRegistrationDescription,
  createTemplateNotification,
  createWindowsRegistrationDescription,
  createWindowsToastNotification,
} from "@azure/notification-hubs";
import { all, counts, deleteHub, exactly, final, freshHub, handles, sims, statusOf, uuid } from "./support.mjs";

let hub;
let client;
before(async () => {
  hub = await freshHub("sends");
  client = hub.client;
});
after(() => deleteHub(hub.name));

const apple = (text = "hello") =>
  createAppleNotification({
    body: JSON.stringify({ aps: { alert: text } }),
    headers: { "apns-priority": "10", "apns-push-type": "alert" },
  });
const natives = {
  apns: {
    make: (handle, tags) => createAppleRegistrationDescription({ deviceToken: handle, tags }),
    notification: apple,
    field: "apnsOutcomeCounts",
  },
  fcmv1: {
    make: (handle, tags) => createFcmV1RegistrationDescription({ fcmV1RegistrationId: handle, tags }),
    notification: () => createFcmV1Notification({ body: '{"message":{"notification":{"title":"hello"}}}' }),
    field: "fcmV1OutcomeCounts",
  },
  wns: {
    make: (handle, tags) => createWindowsRegistrationDescription({ channelUri: handle, tags }),
    notification: () =>
      createWindowsToastNotification({
        body: '<toast><visual><binding template="ToastText01"><text id="1">hi</text></binding></visual></toast>',
        headers: {},
      }),
    field: "wnsOutcomeCounts",
  },
  adm: {
    make: (handle, tags) => createAdmRegistrationDescription({ admRegistrationId: handle, tags }),
    notification: () => createAdmNotification({ body: '{"data":{"title":"hello"}}' }),
    field: "admOutcomeCounts",
  },
};

async function register(platform, count, tags) {
  const made = Array.from({ length: count }, () => handles[platform]());
  for (const handle of made) await client.createRegistration(natives[platform].make(handle, tags));
  return made;
}

describe("native sends", () => {
  for (const [platform, native] of Object.entries(natives)) {
    it(`reaches exactly the tagged devices on ${platform} and counts them`, async () => {
      const tag = `t:${uuid()}`;
      const wanted = await register(platform, 7, [tag]);
      await register(platform, 3, ["other"]);
      const answer = await exactly({ [platform]: wanted }, async () => {
        const sent = await client.sendNotification(native.notification(), { tagExpression: tag });
        assert.ok(sent.notificationId, "the Location names the notification");
        assert.ok(sent.trackingId && sent.correlationId);
        return final(client, sent.notificationId);
      });
      assert.equal(answer.state, "Completed");
      assert.equal(answer.notificationId.length > 0, true);
      assert.deepEqual(counts(answer[native.field]), { Success: 7 });
      assert.ok(answer.enqueueTime <= answer.startTime && answer.startTime <= answer.endTime);
    });
  }

  it("leaves out templates and other platforms, and broadcasts without tags", async () => {
    const own = await freshHub("broadcast");
    try {
      const deviceToken = handles.apns();
      await own.client.createRegistration(createAppleRegistrationDescription({ deviceToken }));
      await own.client.createRegistration(
        createAppleTemplateRegistrationDescription({
          deviceToken: handles.apns(),
          templateName: "t",
          bodyTemplate: '{"aps":{"alert":"$(a)"}}',
        }),
      );
      await own.client.createRegistration(
        createFcmV1RegistrationDescription({ fcmV1RegistrationId: handles.fcmv1() }),
      );
      const details = await exactly({ apns: [deviceToken] }, async () => {
        const sent = await own.client.sendBroadcastNotification(apple());
        return final(own.client, sent.notificationId);
      });
      assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 1 });
      assert.equal(details.fcmV1OutcomeCounts, undefined);
    } finally {
      await deleteHub(own.name);
    }
  });

  it("delivers once per handle and counts the duplicate as Skipped", async () => {
    const tag = `dup:${uuid()}`;
    const deviceToken = handles.apns();
    for (let i = 0; i < 2; i++)
      await client.createRegistration(createAppleRegistrationDescription({ deviceToken, tags: [tag] }));
    const details = await exactly({ apns: [deviceToken] }, async () => {
      const sent = await client.sendNotification(apple(), { tagExpression: tag });
      return final(client, sent.notificationId);
    });
    assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 1, Skipped: 1 });
  });

  it("ends with NoTargetFound when nobody matches", async () => {
    const details = await exactly({}, async () => {
      const sent = await client.sendNotification(apple(), { tagExpression: `nobody:${uuid()}` });
      return final(client, sent.notificationId);
    });
    assert.equal(details.state, "NoTargetFound");
  });
});

describe("tag expressions", () => {
  it("selects by and, or, not, parentheses, precedence and system tags", async () => {
    const run = uuid().slice(0, 8);
    const t = (name) => `${name}.${run}`;
    const devices = {};
    for (const [name, tags] of Object.entries({
      none: [], a: ["a"], b: ["b"], c: ["c"], ab: ["a", "b"], ac: ["a", "c"], bc: ["b", "c"], abc: ["a", "b", "c"],
    })) {
      devices[name] = handles.apns();
      await client.createRegistration(
        createAppleRegistrationDescription({ deviceToken: devices[name], tags: [t("all"), ...tags.map(t)] }),
      );
    }
    const installationId = uuid();
    devices.installed = handles.apns();
    await client.createOrUpdateInstallation(
      createAppleInstallation({ installationId, userId: `u-${run}`, pushChannel: devices.installed, tags: [t("all")] }),
    );
    const cases = {
      [`${t("a")}&&${t("b")}`]: ["ab", "abc"],
      [`${t("a")} && !${t("b")}`]: ["a", "ac"],
      [`${t("a")}||${t("b")}&&${t("c")}`]: ["a", "ab", "ac", "abc", "bc"],
      [`(${t("a")} || ${t("b")}) && ${t("c")}`]: ["ac", "bc", "abc"],
      [`!( ${t("a")} || ${t("b")} || ${t("c")} ) && ${t("all")}`]: ["none", "installed"],
      [`$InstallationId:{${installationId}}`]: ["installed"],
      [`$UserId:{u-${run}} || ${t("A")} && ${t("B")} && ${t("C")}`]: ["installed", "abc"],
      [Array.from({ length: 40 }, (_, i) => `x${i}.${run}`).concat(t("c")).join("||")]: ["c", "ac", "bc", "abc"],
    };
    for (const [tagExpression, names] of Object.entries(cases)) {
      const details = await exactly({ apns: names.map((n) => devices[n]) }, async () => {
        const sent = await client.sendNotification(apple(), { tagExpression });
        return final(client, sent.notificationId);
      });
      assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: names.length }, tagExpression);
    }
  });

  it("refuses broken expressions with 400 and sends nothing", async () => {
    await exactly({}, async () => {
      for (const tagExpression of ["a &&", "a b", "(a", "a)", "a & b", "a | b", "!", "$Other:{x}", "a && || b", '"a"'])
        assert.equal(await statusOf(client.sendNotification(apple(), { tagExpression })), 400, tagExpression);
    });
  });
});

describe("template sends", () => {
  it("renders each device's own template and leaves natives out", async () => {
    const tag = `tpl:${uuid()}`;
    const deviceToken = handles.apns();
    const fcmV1RegistrationId = handles.fcmv1();
    await client.createRegistration(
      createAppleTemplateRegistrationDescription({
        deviceToken,
        tags: [tag],
        templateName: "nl",
        bodyTemplate: '{"aps":{"alert":"{\'Goud voor \' + $(athlete)}"}}',
      }),
    );
    await client.createRegistration(
      createFcmV1TemplateRegistrationDescription({
        fcmV1RegistrationId,
        tags: [tag],
        templateName: "de",
        bodyTemplate: '{"message":{"notification":{"body":"{\'Gold für \' + $(athlete)}"}}}',
      }),
    );
    await client.createRegistration(
      createAppleRegistrationDescription({ deviceToken: handles.apns(), tags: [tag] }),
    );
    const details = await exactly({ apns: [deviceToken], fcmv1: [fcmV1RegistrationId] }, async () => {
      const sent = await client.sendNotification(createTemplateNotification({ body: { athlete: "Kramer" } }), {
        tagExpression: tag,
      });
      return final(client, sent.notificationId);
    });
    assert.equal(details.state, "Completed");
    assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 1 });
    assert.deepEqual(counts(details.fcmV1OutcomeCounts), { Success: 1 });
    assert.deepEqual(JSON.parse(await sims.apns.bodyOf(deviceToken)), { aps: { alert: "Goud voor Kramer" } });
    const fcm = JSON.parse(await sims.fcmv1.bodyOf(fcmV1RegistrationId));
    assert.equal(fcm.message.token, fcmV1RegistrationId);
    assert.equal(fcm.message.notification.body, "Gold für Kramer");
  });
});

describe("direct sends", () => {
  for (const [platform, native] of Object.entries(natives)) {
    it(`reaches one handle without a registration on ${platform}`, async () => {
      const handle = handles[platform]();
      const details = await exactly({ [platform]: [handle] }, async () => {
        const sent = await client.sendNotification(native.notification(), { deviceHandle: handle });
        assert.ok(sent.notificationId);
        return final(client, sent.notificationId);
      });
      assert.deepEqual(counts(details[native.field]), { Success: 1 });
    });
  }

  it("reaches every handle of a batch", async () => {
    const batch = Array.from({ length: 50 }, () => handles.apns());
    const details = await exactly({ apns: batch }, async () => {
      const sent = await client.sendNotification(apple(), { deviceHandle: batch });
      assert.notEqual(sent.notificationId, "$batch");
      return final(client, sent.notificationId);
    });
    assert.deepEqual(counts(details.apnsOutcomeCounts), { Success: 50 });
  });

  it("refuses what cannot be a handle", async () => {
    assert.equal(await statusOf(client.sendNotification(apple(), { deviceHandle: "not-hex" })), 400);
  });
});

describe("dead handles", () => {
  for (const [platform, native] of Object.entries(natives)) {
    it(`removes registrations that ${platform} calls dead`, async () => {
      const tag = `dead:${uuid()}`;
      const alive = await register(platform, 9, [tag]);
      const [dead] = await register(platform, 1, [tag]);
      await sims[platform].kill(dead);
      const sent = await client.sendNotification(native.notification(), { tagExpression: tag });
      const details = await final(client, sent.notificationId);
      const byName = counts(details[native.field]);
      assert.equal(byName.Success, 9);
      assert.equal(Object.values(byName).reduce((a, b) => a + b, 0), 10);
      assert.equal((byName.ExpiredChannel ?? 0) + (byName.BadChannel ?? 0), 1, JSON.stringify(byName));
      assert.equal((await all(client.listRegistrationsByTag(tag))).length, 9);
      const again = await exactly({ [platform]: alive }, async () => {
        const second = await client.sendNotification(native.notification(), { tagExpression: tag });
        return final(client, second.notificationId);
      });
      assert.deepEqual(counts(again[native.field]), { Success: 9 });
    });
  }

  it("flags installations instead, until their channel is written again", async () => {
    const tag = `dead:${uuid()}`;
    const alive = await register("apns", 4, [tag]);
    const installationId = uuid();
    const dead = handles.apns();
    await client.createOrUpdateInstallation(createAppleInstallation({ installationId, pushChannel: dead, tags: [tag] }));
    await sims.apns.kill(dead);
    const sent = await client.sendNotification(apple(), { tagExpression: tag });
    await final(client, sent.notificationId);
    assert.equal((await client.getInstallation(installationId)).pushChannelExpired, true);
    await exactly({ apns: alive }, async () => {
      const second = await client.sendNotification(apple(), { tagExpression: tag });
      await final(client, second.notificationId);
    });
    const pushChannel = handles.apns();
    await client.updateInstallation(installationId, [{ op: "replace", path: "/pushChannel", value: pushChannel }]);
    assert.equal((await client.getInstallation(installationId)).pushChannelExpired, false);
    await exactly({ apns: [...alive, pushChannel] }, async () => {
      const third = await client.sendNotification(apple(), { tagExpression: tag });
      await final(client, third.notificationId);
    });
  });
});
