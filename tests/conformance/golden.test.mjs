// Whole bodies, byte by byte, against the files of tests/data/golden: what clients send in both forms and what they must
// be answered (contracts: sections 2.5, 3.2 to 3.7, 4.1, 4.2 and 6.1). In the files {host}, {hub}, {id}, {etag}, {time}
// and so on stand for what differs from run to run; white space between elements is for the reader only.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { deleteHub, freshHub, h2session, raw, raw2, sims, url, uuid } from "./support.mjs";
import { setTimeout as wait } from "node:timers/promises";

const v = "api-version=2020-06";
const kinds = ["apple", "gcm", "fcmv1", "windows", "mpns", "adm", "baidu", "browser", "xiaomi"];
const golden = (name) => readFileSync(new URL(`../data/golden/${name}`, import.meta.url), "utf8");
/** White space between elements is dropped, but for CDATA sections. */
const compact = (xml) =>
  xml
    .split(/(<!\[CDATA\[[^]*?\]\]>)/)
    .map((part) => (part.startsWith("<![CDATA[") ? part : part.replace(/>\s+</g, "><")))
    .join("")
    .trim();
const time = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z";
const fill = (text, values) => text.replace(/\{(host|hub|id|etag|tag|entry|container|path)\}/g, (all, name) => values[name] ?? all);

/** The answer is the golden body; the values that the first answer chose are returned. */
function assertGolden(body, file, values) {
  const wanted = compact(fill(golden(file), { host: url.host, ...values }));
  const seen = wanted.includes("{time}") ? compact(body).replace(new RegExp(`>${time}</(published|updated|EnqueueTime|StartTime|EndTime|CreatedAt|UpdatedAt)>`, "g"), ">{time}</$2>") : compact(body);
  assert.equal(seen, wanted);
}

let hub;
before(async () => {
  hub = await freshHub("golden");
});
after(() => deleteHub(hub.name));

const atom = { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" };
const idOf = (body) => /<RegistrationId>([^<]+)<\/RegistrationId>/.exec(body)?.[1];

describe("registrations", () => {
  for (const kind of kinds) {
    for (const shape of ["native", "template"]) {
      for (const form of ["a", "b"]) {
        it(`${kind} ${shape}, body form ${form.toUpperCase()}, is answered as the golden file says`, async () => {
          const body = golden(`${kind}.${shape}.${form}.request.xml`);
          const file = `${kind}.${shape}.response.xml`;
          const made = await raw({ method: "POST", path: `/${hub.name}/registrations?${v}`, headers: atom, body });
          assert.equal(made.status, 200, made.body);
          const id = idOf(made.body);
          assert.match(id, /^-?\d+--?\d+-\d+$/);
          const values = { hub: hub.name, id, etag: "1" };
          assertGolden(made.body, file, values);
          assert.match(made.headers["content-type"], /^application\/atom\+xml; ?type=entry; ?charset=utf-8$/);
          assert.equal(made.headers.etag, 'W/"1"');
          assert.equal(made.headers["content-location"], `https://${url.host}/${hub.name}/registrations/${id}?${v}`);

          const path = `/${hub.name}/registrations/${id}?${v}`;
          const read = await raw({ path });
          assert.equal(read.status, 200);
          assertGolden(read.body, file, values);
          const put = await raw({ method: "PUT", path, headers: { ...atom, "If-Match": '"1"' }, body });
          assert.equal(put.status, 200, put.body);
          assertGolden(put.body, file, { ...values, etag: "2" });
          const gone = await raw({ method: "DELETE", path, headers: { "If-Match": "*" } });
          assert.equal(gone.status, 200);
          assert.equal(gone.body, "");
        });
      }
    }
  }

  it("are listed in feeds as the golden file says, full and empty", async () => {
    const tag = `golden-${uuid()}`;
    const path = `/${hub.name}/tags/${tag}/registrations?${v}`;
    const empty = await raw({ path });
    assert.equal(empty.status, 200);
    assert.match(empty.headers["content-type"], /^application\/atom\+xml; ?type=feed; ?charset=utf-8$/);
    assertGolden(empty.body, "feed.empty.response.xml", { hub: hub.name, tag });

    const body = golden("apple.template.a.request.xml").replace("lang:nl,team:red", `${tag},team:red`);
    const made = await raw({ method: "POST", path: `/${hub.name}/registrations?${v}`, headers: atom, body });
    assert.equal(made.status, 200, made.body);
    const id = idOf(made.body);
    const entry = compact(fill(golden("apple.template.response.xml"), { host: url.host, hub: hub.name, id, etag: "1" })).replace(
      "lang:nl,team:red",
      `${tag},team:red`,
    );
    const list = await raw({ path });
    assertGolden(list.body, "feed.response.xml", { hub: hub.name, tag, entry });
    assert.equal(list.headers["x-ms-continuationtoken"], undefined);
    await raw({ method: "DELETE", path: `/${hub.name}/registrations/${id}?${v}`, headers: { "If-Match": "*" } });
  });

  it("are the same bytes over HTTP/2", async () => {
    const session = h2session();
    try {
      const body = golden("windows.template.b.request.xml");
      const headers = { "content-type": "application/xml" };
      const made = await raw2(session, { method: "POST", path: `/${hub.name}/registrations?${v}`, headers, body });
      assert.equal(made.status, 200, made.body);
      const id = idOf(made.body);
      assertGolden(made.body, "windows.template.response.xml", { hub: hub.name, id, etag: "1" });
    } finally {
      session.close();
    }
  });
});

describe("installations", () => {
  for (const kind of [...kinds, "browser-text"]) {
    it(`on ${kind} read back as the golden file says`, async () => {
      const id = uuid();
      const path = `/${hub.name}/installations/${id}?${v}`;
      const headers = { "Content-Type": "application/json" };
      const body = fill(golden(`installation.${kind}.request.json`), { id });
      const put = await raw({ method: "PUT", path, headers, body });
      assert.equal(put.status, 200, put.body);
      assert.equal(put.body, "");
      const read = await raw({ path });
      assert.equal(read.status, 200, read.body);
      const sorted = ({ tags, ...rest }) => ({ ...rest, tags: [...tags].sort() });
      const wanted = JSON.parse(fill(golden(`installation.${kind}.response.json`), { id }));
      assert.deepEqual(sorted(JSON.parse(read.body)), sorted(wanted));
      const again = await raw({ method: "PUT", path, headers, body: read.body });
      assert.equal(again.status, 200, `what a read returns can be written: ${again.body}`);
      assert.equal((await raw({ method: "DELETE", path })).status, 204);
    });
  }
});

describe("other answers", () => {
  const stamped = (body) =>
    body
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}_G\d+/i, "{guid}_G{n}")
      .replace(/TimeStamp:\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d:\d\d [AP]M/, "TimeStamp:{stamp}");
  const wrong = `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><PigeonRegistrationDescription/></content></entry>`;
  const errors = {
    installation: () => raw({ path: `/${hub.name}/installations/${uuid()}?${v}` }),
    hub: () => raw({ path: `/no-such-hub-${uuid()}?${v}` }),
    description: () => raw({ method: "POST", path: `/${hub.name}/registrations?${v}`, headers: atom, body: wrong }),
  };
  for (const [name, call] of Object.entries(errors)) {
    it(`an error (${name}) is the golden body`, async () => {
      const answer = await call();
      assert.equal(stamped(answer.body), golden(`error.${name}.response.xml`).trim());
      assert.equal(answer.headers["content-type"], "application/xml; charset=utf-8");
    });
  }

  it("a test send is answered with the golden body, with and without devices", async () => {
    const test = (tags) =>
      raw({
        method: "POST",
        path: `/${hub.name}/messages?${v}&test`,
        headers: { "Content-Type": "application/json", "ServiceBusNotification-Format": "apple", "ServiceBusNotification-Tags": tags },
        body: '{"aps":{"alert":"x"}}',
      });
    const body = golden("apple.native.a.request.xml").replace("lang:nl,team:red", "test-send");
    const made = await raw({ method: "POST", path: `/${hub.name}/registrations?${v}`, headers: atom, body });
    const id = idOf(made.body);
    const full = await test("test-send");
    assert.equal(full.status, 201, full.body);
    assert.equal(full.headers["content-type"], "application/xml; charset=utf-8");
    assertGolden(full.body, "outcome.response.xml", { id });
    const empty = await test("nobody-has-this");
    assert.equal(empty.status, 201, empty.body);
    assertGolden(empty.body, "outcome.empty.response.xml", {});
    await raw({ method: "DELETE", path: `/${hub.name}/registrations/${id}?${v}`, headers: { "If-Match": "*" } });
  });

  it("a finished job is the golden description", async () => {
    const container = (await raw({ path: `/${hub.name}/blobcontainers/jobs?${v}` })).body.trim();
    const body = fill(golden("job.export.request.xml"), { container });
    const made = await raw({ method: "POST", path: `/${hub.name}/jobs?${v}`, headers: atom, body });
    assert.equal(made.status, 201, made.body);
    const id = /<JobId>([^<]+)<\/JobId>/.exec(made.body)[1];
    assert.match(made.headers.location, new RegExp(`^https://${url.host}/${hub.name}/jobs/${id}\\?`));
    let answer;
    for (let i = 0; i < 500; i++) {
      answer = await raw({ path: `/${hub.name}/jobs/${id}?${v}` });
      assert.equal(answer.status, 200, answer.body);
      if (!/<Status>(Started|Running)</.test(answer.body)) break;
      await wait(20);
    }
    const job = /<NotificationHubJob [^]*<\/NotificationHubJob>/.exec(answer.body)[0];
    const path = /<d3p1:Value>([^<]+)<\/d3p1:Value>/.exec(job)?.[1];
    assert.match(path, new RegExp(`^[^/]+//${hub.name}/${id}/Output\\.txt$`));
    assertGolden(job, "job.export.response.xml", { id, path, container: container.replaceAll("&", "&amp;") });
  });

  it("telemetry of a finished send is the golden body", async () => {
    const body = golden("apple.native.a.request.xml").replace("lang:nl,team:red", "golden");
    const made = await raw({ method: "POST", path: `/${hub.name}/registrations?${v}`, headers: atom, body });
    assert.equal(made.status, 200, made.body);
    await sims.apns.reset();
    const sent = await raw({
      method: "POST",
      path: `/${hub.name}/messages?${v}`,
      headers: {
        "Content-Type": "application/json;charset=utf-8",
        "ServiceBusNotification-Format": "apple",
        "ServiceBusNotification-Tags": "golden && !muted",
      },
      body: '{"aps":{"alert":"Fog & ice <A2>"}}',
    });
    assert.equal(sent.status, 201, sent.body);
    assert.equal(sent.body, "");
    const id = new RegExp(`^https://${url.host}/${hub.name}/messages/([^/?]+)\\?${v}$`).exec(sent.headers.location)?.[1];
    assert.ok(id, sent.headers.location);
    let answer;
    for (let i = 0; i < 500; i++) {
      answer = await raw({ path: `/${hub.name}/messages/${id}?${v}` });
      assert.equal(answer.status, 200, answer.body);
      if (!/<State>(Enqueued|Processing)</.test(answer.body)) break;
      await wait(20);
    }
    assert.equal(answer.headers["content-type"], "application/xml; charset=utf-8");
    assertGolden(answer.body, "telemetry.response.xml", { hub: hub.name, id });
  });
});
