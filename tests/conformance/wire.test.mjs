// The wire itself, without an SDK: spellings of paths and headers, credentials, hub management, and what bytes from
// outside may not do (contracts: sections 0, 1, 2 and 10).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { after, before, describe, it } from "node:test";
import { connectionString, deleteHub, freshHub, h2session, handles, raw, raw2, rule, sas, url, uuid } from "./support.mjs";

let hub;
before(async () => {
  hub = await freshHub("wire");
});
after(() => deleteHub(hub.name));

const v = "api-version=2020-06";
const guid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const detail = (answer) => /^<Error><Code>(\d+)<\/Code><Detail>([^]*)<\/Detail><\/Error>$/.exec(answer.body);

/** The contract's error shape, always. */
function assertError(answer, status, what = "") {
  assert.equal(answer.status, status, `${what} ${answer.body}`);
  assert.match(answer.headers["content-type"], /^application\/xml/, what);
  assert.match(answer.headers.trackingid, guid, what);
  assert.match(answer.headers["x-ms-correlation-request-id"], guid, what);
  const parts = detail(answer);
  assert.ok(parts, `${what} ${answer.body}`);
  assert.equal(parts[1], String(status));
  assert.match(parts[2], /\.TrackingId:[0-9a-f-]{36}_G\d+,TimeStamp:\d+\/\d+\/\d{4} \d+:\d\d:\d\d [AP]M$/, what);
}

const nativeEntry = (token, extra = "") =>
  `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">
  <AppleRegistrationDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">${extra}
  <DeviceToken>${token}</DeviceToken></AppleRegistrationDescription></content></entry>`;
const atom = { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" };
const json = { "Content-Type": "application/json" };
const post = (path, body, headers = atom) => raw({ method: "POST", path, headers, body });

describe("paths", () => {
  it("are case-insensitive, with or without slashes and escapes", async () => {
    const name = hub.name;
    for (const path of ["registrationids", "registrationIDs", "registrationids/", "RegistrationIds"]) {
      const answer = await raw({ method: "POST", path: `/${name}/${path}?${v}` });
      assert.equal(answer.status, 201, path);
      assert.equal(answer.body, "");
      assert.match(
        answer.headers.location,
        new RegExp(`^https://${url.host}/${name}/registrationids/-?\\d+--?\\d+-\\d+\\?`, "i"),
      );
    }
    for (const path of ["registrations", "Registrations", "registrations/", "REGISTRATIONS"])
      assert.equal((await raw({ path: `/${name}/${path}?${v}` })).status, 200, path);
    assert.equal((await raw({ path: `/${name.toUpperCase()}/registrations?${v}` })).status, 200);
    const made = await post(`/${name}/registrations?${v}`, nativeEntry(handles.apns(), "<Tags>esc</Tags>"));
    assert.equal(made.status, 200, made.body);
    for (const query of ["$top=1", "%24top=1", "API-VERSION=2013-04&$TOP=1"]) {
      const answer = await raw({ path: `/${name}/tags/esc/registrations?${query}` });
      assert.equal(answer.status, 200, query);
      assert.equal(answer.body.match(/<entry/g)?.length, 1, query);
    }
    assert.equal((await raw({ path: `/${name}/tags/%65sc/registrations` })).body.match(/<entry/g)?.length, 1);
  });

  it("accept any api-version or none", async () => {
    for (const query of ["", `?${v}`, "?api-version=2013-04", "?api-version=banana"])
      assert.equal((await raw({ path: `/${hub.name}/registrations${query}` })).status, 200, query);
  });

  it("answer 404 and 405 with the error body", async () => {
    assertError(await raw({ path: `/${hub.name}/nothing-here?${v}` }), 404);
    const answer = await raw({ method: "PATCH", path: `/${hub.name}/registrations?${v}` });
    assertError(answer, 405);
    assert.ok(answer.headers.allow);
    assertError(await raw({ path: `/no-such-hub-${uuid()}/registrations?${v}` }), 404);
  });

  it("refuse broken escapes and NUL", async () => {
    for (const path of [`/${hub.name}/installations/%zz`, `/${hub.name}/installations/a%00b`])
      assert.equal((await raw({ path })).status, 400, path);
  });
});

describe("answers", () => {
  it("carry a tracking id, the client's own when it is a GUID", async () => {
    const mine = uuid();
    const echoed = await raw({ path: `/${hub.name}/registrations?${v}`, headers: { TrackingId: mine } });
    assert.equal(echoed.headers.trackingid, mine);
    const fresh = await raw({ path: `/${hub.name}/registrations?${v}`, headers: { TrackingId: "not a guid" } });
    assert.match(fresh.headers.trackingid, guid);
  });

  it("have the element order of the contract and no prefixes", async () => {
    const token = handles.apns();
    const body = `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">
      <RegistrationDescription i:type="AppleTemplateRegistrationDescription"
        xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
        xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
        <RegistrationId i:nil="true"/><TemplateName>t</TemplateName><Expiry i:nil="true"/>
        <BodyTemplate><![CDATA[{"aps":{"alert":"$(m)"}}]]></BodyTemplate>
        <DeviceToken>${token.toLowerCase()}</DeviceToken><Tags> a , b </Tags>
      </RegistrationDescription></content></entry>`;
    const answer = await post(`/${hub.name}/registrations?${v}`, body);
    assert.equal(answer.status, 200, answer.body);
    assert.match(answer.headers["content-type"], /^application\/atom\+xml/);
    assert.equal(answer.headers.etag, 'W/"1"');
    assert.match(
      answer.body,
      new RegExp(
        "<AppleTemplateRegistrationDescription [^>]*>\\s*<ETag>1</ETag>\\s*<ExpirationTime>9999-12-31T23:59:59\\.\\d+Z</ExpirationTime>" +
          `\\s*<RegistrationId>[^<]+</RegistrationId>\\s*<Tags>a,b</Tags>\\s*<DeviceToken>${token}</DeviceToken>` +
          '\\s*<BodyTemplate><!\\[CDATA\\[\\{"aps":\\{"alert":"\\$\\(m\\)"\\}\\}\\]\\]></BodyTemplate>\\s*<TemplateName>t</TemplateName>',
      ),
    );
  });

  it("accept every If-Match spelling", async () => {
    const made = await post(`/${hub.name}/registrations?${v}`, nativeEntry(handles.apns()));
    const id = /<RegistrationId>([^<]+)</.exec(made.body)[1];
    const path = `/${hub.name}/registrations/${id}?${v}`;
    let etag = 1;
    for (const form of [() => "*", () => '"*"', () => `"${etag}"`, () => `W/"${etag}"`, () => `${etag}`]) {
      const answer = await raw({ method: "PUT", path, headers: { ...atom, "If-Match": form() }, body: nativeEntry(handles.apns()) });
      assert.equal(answer.status, 200, form());
      assert.equal(answer.headers.etag, `W/"${++etag}"`);
    }
    assertError(await raw({ method: "DELETE", path, headers: { "If-Match": '"99"' } }), 412);
    assert.equal((await raw({ method: "DELETE", path, headers: { "If-Match": '"*"' } })).status, 200);
    assertError(await raw({ method: "DELETE", path, headers: { "If-Match": "*" } }), 404);
  });

  it("are the same over HTTP/2", async () => {
    const session = h2session();
    try {
      assert.equal(session.alpnProtocol === undefined || session.alpnProtocol === "h2", true);
      const id = uuid();
      const path = `/${hub.name}/installations/${id}?${v}`;
      const body = JSON.stringify({ installationId: id, platform: "apns", pushChannel: handles.apns() });
      const put = await raw2(session, { method: "PUT", path, headers: { "content-type": "application/json" }, body });
      assert.equal(put.status, 200, put.body);
      assert.equal(put.body, "");
      const many = await Promise.all(Array.from({ length: 50 }, () => raw2(session, { path })));
      for (const answer of many) assert.equal(JSON.parse(answer.body).installationId, id);
      assert.equal((await raw2(session, { method: "DELETE", path })).status, 204);
      assertError(await raw2(session, { path }), 404);
      assertError(await raw2(session, { path, auth: false }), 401);
    } finally {
      session.close();
    }
  });
});

describe("credentials", () => {
  const path = () => `/${hub.name}/registrations?${v}`;
  it("accept what each SDK signs", async () => {
    const host = url.host;
    for (const sr of [
      encodeURIComponent(`https://${host}/`),
      encodeURIComponent(`http://${url.hostname}/${hub.name}/registrations/`).replace(/%[0-9A-F]{2}/g, (x) => x.toLowerCase()),
      encodeURIComponent(`https://${host}/${hub.name}/registrations?${v}`).toLowerCase(),
      encodeURIComponent(`sb://${host}/${hub.name}`),
      encodeURIComponent(`https://${host.toUpperCase()}/${hub.name.toUpperCase()}/`),
    ])
      assert.equal((await raw({ path: path(), auth: sas({ sr }) })).status, 200, sr);
    const parts = sas().slice("SharedAccessSignature ".length).split("&");
    assert.equal((await raw({ path: path(), auth: `sharedaccesssignature  ${parts.reverse().join("&")}` })).status, 200);
  });

  it("refuse with 401 and the reason", async () => {
    const now = Math.floor(Date.now() / 1000);
    const cases = [
      [false, /MissingToken/],
      ["Bearer abc", /MalformedToken|MissingToken/],
      ["SharedAccessSignature sr=a&sig=b&se=c&skn=d", /MalformedToken/],
      ["SharedAccessSignature sr=a&sig=b", /MalformedToken/],
      [sas({ expires: now - 3600 }), /ExpiredToken/],
      [sas({ resource: "https://other.example.test/" }), /InvalidAudience/],
      [sas({ resource: `https://${url.host}/another-hub` }), /InvalidAudience/],
      [sas({ key: randomBytes(32).toString("base64") }), /InvalidSignature/],
      [sas({ name: "NoSuchRule" }), /InvalidSignature/],
    ];
    for (const [auth, reason] of cases) {
      const answer = await raw({ path: path(), auth });
      assertError(answer, 401, String(auth));
      assert.match(detail(answer)[2], reason, String(auth));
      assert.ok(!answer.body.includes(rule.key), "no secret in an answer");
    }
  });

  it("hold hub rules to their rights: 403 without a body", async () => {
    const entry = (await raw({ path: `/${hub.name}?${v}` })).body;
    const listen = /<KeyName>DefaultListenSharedAccessSignature<\/KeyName>\s*<PrimaryKey>([^<]+)<\/PrimaryKey>\s*<SecondaryKey>([^<]+)</.exec(entry);
    assert.ok(listen, entry);
    const name = "DefaultListenSharedAccessSignature";
    for (const key of [listen[1], listen[2]]) {
      const ok = await raw({ method: "POST", path: `/${hub.name}/registrationids?${v}`, auth: sas({ name, key }) });
      assert.equal(ok.status, 201);
    }
    const refused = await raw({
      method: "POST",
      path: `/${hub.name}/messages?${v}`,
      headers: { ...json, "ServiceBusNotification-Format": "apple" },
      body: '{"aps":{}}',
      auth: sas({ name, key: listen[1] }),
    });
    assert.equal(refused.status, 403);
    assert.equal(refused.body, "");
    assert.match(refused.headers.trackingid, guid);
    assert.equal(refused.headers["retry-after"], undefined);
    assertError(await raw({ method: "PUT", path: `/other-${uuid()}?${v}`, auth: sas({ name, key: listen[1] }) }), 401);
  });
});

describe("hub management", () => {
  it("creates, refuses to create twice, updates, lists and deletes", async () => {
    const name = `mgmt-${randomBytes(3).toString("hex")}`;
    const entry = '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><NotificationHubDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"/></content></entry>';
    const put = (headers = {}) => raw({ method: "PUT", path: `/${name}?${v}`, headers: { ...atom, ...headers }, body: entry });
    const made = await put();
    assert.equal(made.status, 201, made.body);
    assert.match(made.body, new RegExp(`<title type="text">${name}</title>`));
    assert.match(made.body, /DefaultListenSharedAccessSignature/);
    assert.match(made.body, /DefaultFullSharedAccessSignature/);
    const twice = await put();
    assertError(twice, 409);
    assert.match(twice.body, /SubCode=40900/);
    assert.equal((await put({ "If-Match": "*" })).status, 200);
    for (const path of ["/", `/$Resources/NotificationHubs/?${v}&$skip=0&$top=2147483647`, "/$Resources/NotificationHubs"]) {
      const list = await raw({ path });
      assert.equal(list.status, 200, path);
      assert.match(list.body, new RegExp(`<title type="text">${name}</title>`), path);
    }
    assert.equal((await raw({ method: "DELETE", path: `/${name}?${v}` })).status, 200);
    const gone = await raw({ path: `/${name}?${v}` });
    assertError(gone, 404);
    assert.match(gone.body, /No service is hosted at the specified address\./);
    assertError(await raw({ method: "DELETE", path: `/${name}?${v}` }), 404);
  });
});

describe("bad input", () => {
  const send = (headers, body = '{"aps":{"alert":"x"}}') =>
    raw({ method: "POST", path: `/${hub.name}/messages?${v}`, headers: { ...json, ...headers }, body });

  it("is refused with 400 in installations", async () => {
    const id = uuid();
    const path = `/${hub.name}/installations/${id}?${v}`;
    const good = { installationId: id, platform: "apns", pushChannel: handles.apns() };
    const bodies = [
      "", "{", "[]", "null", '"x"', "{}", '{"platform":"apns"}', JSON.stringify(good) + "x", "\xff\xfe",
      JSON.stringify({ ...good, tags: "a" }),
      JSON.stringify({ ...good, tags: [1] }),
      JSON.stringify({ ...good, platform: 7 }),
      JSON.stringify({ ...good, expirationTime: "soon" }),
      JSON.stringify({ ...good, templates: [] }),
      JSON.stringify({ ...good, tags: [`t${"x".repeat(120)}`] }),
      JSON.stringify({ ...good, tags: Array.from({ length: 1000 }, (_, i) => `tag-number-${i}`) }),
      '{"a":'.repeat(50_000) + "1" + "}".repeat(50_000),
      `{"installationId":"${id}","platform":"apns","pushChannel":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
    ];
    for (const body of bodies) {
      const answer = await raw({ method: "PUT", path, headers: json, body: Buffer.from(body, "latin1") });
      assert.ok([400, 413].includes(answer.status), `${answer.status} for ${body.slice(0, 80)}`);
      assertError(answer, answer.status, body.slice(0, 80));
    }
    assert.equal((await raw({ path })).status, 404);
    for (const body of ["{}", "[1]", '[{"op":"jump","path":"/tags"}]', '[{"op":"add","path":"tags"}]', '[{"op":"add","path":"/nowhere","value":"x"}]']) {
      await raw({ method: "PUT", path, headers: json, body: JSON.stringify(good) });
      assertError(await raw({ method: "PATCH", path, headers: json, body }), 400, body);
    }
    await raw({ method: "DELETE", path });
  });

  it("is refused with 400 in registrations, without following entities", async () => {
    const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 20 }, (_, i) => `<!ENTITY a${i} "${(i ? `&a${i - 1};` : "&a;").repeat(10)}">`).join("")}]>`;
    const token = handles.apns();
    const bodies = [
      "", "not xml", "<entry>", "<entry></entry><entry></entry>", nativeEntry("zz"), nativeEntry(""),
      nativeEntry(token).replaceAll("AppleRegistration", "PigeonRegistration"),
      nativeEntry(token, "<Tags>two words</Tags>"), nativeEntry(token, "<Tags>$UserId:{x}</Tags>"),
      `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>${nativeEntry("&e;")}`,
      `${bomb}${nativeEntry(token, "<Tags>&a19;</Tags>")}`,
      nativeEntry(token, "<Tags>&nope;</Tags>"),
      "<a>".repeat(20_000) + "</a>".repeat(20_000),
    ];
    for (const body of bodies) {
      const answer = await post(`/${hub.name}/registrations?${v}`, body);
      assert.ok([400, 413].includes(answer.status), `${answer.status} for ${body.slice(0, 100)}`);
      assertError(answer, answer.status, body.slice(0, 100));
      assert.ok(!answer.body.includes("root:"));
    }
  });

  it("is refused with 400 in sends", async () => {
    const cases = [
      [{}],
      [{ "ServiceBusNotification-Format": "pigeon" }],
      [{ "ServiceBusNotification-Format": "apple" }, "not json"],
      [{ "ServiceBusNotification-Format": "apple" }, "[]"],
      [{ "ServiceBusNotification-Format": "apple" }, ""],
      [{ "ServiceBusNotification-Format": "template" }, '{"a":{"b":1}}'],
      [{ "ServiceBusNotification-Format": "template" }, "nope"],
      [{ "ServiceBusNotification-Format": "windows", "X-WNS-Type": "wns/toast" }, "<toast>"],
      [{ "ServiceBusNotification-Format": "fcmv1" }, '{"data":{}}'],
      [{ "ServiceBusNotification-Format": "apple", "ServiceBusNotification-Tags": "(".repeat(10_000) }],
      [{ "ServiceBusNotification-Format": "apple", "ServiceBusNotification-Tags": "a &&" }],
    ];
    for (const [headers, body] of cases) assertError(await send(headers, body), 400, JSON.stringify(headers).slice(0, 100));
    assertError(
      await raw({ method: "POST", path: `/${hub.name}/messages?direct&${v}`, headers: { ...json, "ServiceBusNotification-Format": "apple" }, body: '{"aps":{}}' }),
      400,
      "direct without handle",
    );
  });

  it("is refused with 400 in direct batches", async () => {
    const part = (name, body) => `--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; name=${name}\r\n\r\n${body}\r\n`;
    const bodies = [
      "", "--b--", part("notification", '{"aps":{}}') + "--b--", part("devices", `["${handles.apns()}"]`) + "--b--",
      part("notification", '{"aps":{}}') + part("devices", "nope") + "--b--",
      part("notification", '{"aps":{}}') + part("devices", "[1]") + "--b--",
      part("notification", '{"aps":{}}') + part("devices", JSON.stringify(Array.from({ length: 1001 }, handles.apns))) + "--b--",
    ];
    for (const body of bodies) {
      const answer = await raw({
        method: "POST",
        path: `/${hub.name}/messages/$batch?direct&${v}`,
        headers: { "Content-Type": "multipart/mixed; boundary=b", "ServiceBusNotification-Format": "apple" },
        body,
      });
      assert.ok([400, 413].includes(answer.status), `${answer.status} for ${body.slice(0, 200)}`);
    }
  });

  it("is refused with 413 when it is too large", async () => {
    const big = "x".repeat(300 * 1024);
    assertError(await send({ "ServiceBusNotification-Format": "apple" }, `{"aps":{"alert":"${big}"}}`), 413);
    assertError(await post(`/${hub.name}/registrations?${v}`, nativeEntry(handles.apns(), `<Tags>${big}</Tags>`)), 413);
    const session = h2session();
    try {
      const answer = await raw2(session, {
        method: "POST", path: `/${hub.name}/messages?${v}`, headers: { "servicebusnotification-format": "apple" }, body: big,
      });
      assertError(answer, 413);
    } finally {
      session.close();
    }
  });

  it("on the connection ends that connection and nothing else", async () => {
    const port = Number(url.port);
    const throwAt = (bytes, secure) =>
      new Promise((done) => {
        const socket = secure
          ? tls.connect({ port, host: url.hostname, ALPNProtocols: [secure] }, () => socket.write(bytes))
          : net.connect(port, url.hostname, () => socket.write(bytes));
        socket.on("error", () => done());
        socket.on("close", () => done());
        socket.on("data", () => {});
        socket.setTimeout(15_000, () => {
          socket.destroy();
          done();
        });
      });
    await Promise.all([
      throwAt(randomBytes(512)),
      throwAt("GET / HTTP/1.1\r\n\r\n"),
      throwAt("NONSENSE\r\n\r\n", "http/1.1"),
      throwAt("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "http/1.1"),
      throwAt("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "http/1.1"),
      throwAt(`GET / HTTP/1.1\r\nX: ${"y".repeat(200_000)}\r\n\r\n`, "http/1.1"),
      throwAt(randomBytes(512), "h2"),
      throwAt(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), randomBytes(512)]), "h2"),
    ]);
    assert.equal((await raw({ path: `/${hub.name}/registrations?${v}` })).status, 200);
  });
});

describe("the process", () => {
  it("shows health, version and metrics without credentials", async () => {
    for (const path of ["/healthz", "/readyz", "/version"]) assert.equal((await raw({ path, auth: false })).status, 200, path);
    const metrics = await raw({ path: "/metrics", auth: false });
    assert.equal(metrics.status, 200);
    assert.match(metrics.body, /^pushhub_http_requests_total\{/m);
    const secret = /SharedAccessKey=(.+?)(;|$)/.exec(connectionString)[1];
    assert.ok(!metrics.body.includes(secret));
  });
});
