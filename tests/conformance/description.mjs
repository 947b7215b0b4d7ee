// Holds real exchanges against /openapi.json: an answer with a status, a content type, a body or a header of ours that is
// not described fails the test that made the request, and so does an accepted JSON body that the schema does not allow.
import assert from "node:assert/strict";
import Ajv2020 from "ajv/dist/2020.js";

/** What HTTP itself puts into an answer. */
const plainHeaders = new Set(["connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding"]);

export class Description {
  constructor(document) {
    this.document = document;
    // Formats are words for people here: who generates requests gives them a meaning.
    this.ajv = new Ajv2020({ strict: false, validateFormats: false });
    this.compiled = new Map();
    this.operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({
        method: method.toUpperCase(),
        name: `${method.toUpperCase()} ${path}`,
        segments: path.split("/").filter(Boolean),
        takesRest: path.endsWith("{container}/{name}"),
        operation,
      })),
    );
    /** Names of operations that have answered with success. */
    this.succeeded = new Set();
  }

  resolved(value) {
    if (value.$ref === undefined) return value;
    return value.$ref.slice(2).split("/").reduce((at, key) => at[key], this.document);
  }

  /** Says what is wrong with `value`; undefined: nothing. */
  fault(schema, value) {
    if (!this.compiled.has(schema))
      this.compiled.set(schema, this.ajv.compile({ ...schema, components: this.document.components }));
    const validate = this.compiled.get(schema);
    return validate(value) ? undefined : this.ajv.errorsText(validate.errors);
  }

  /** The operation that a request leads to; literal segments win. */
  find(method, path) {
    const given = path.split("?")[0].split("/").filter(Boolean);
    const literal = (segment) => !segment.startsWith("{");
    const fits = ({ segments, takesRest }) =>
      (takesRest ? given.length >= segments.length : given.length === segments.length) &&
      segments.every((segment, i) => !literal(segment) || segment.toLowerCase() === decodeURIComponent(given[i]).toLowerCase());
    const score = ({ segments }) => segments.reduce((sum, segment) => sum * 2 + (literal(segment) ? 1 : 0), 0);
    const all = this.operations.filter(fits).sort((a, b) => score(b) - score(a));
    const best = all.filter((one) => score(one) === score(all[0]));
    return best.find((one) => one.method === method) ?? (method === "HEAD" ? best.find((one) => one.method === "GET") : undefined);
  }

  check({ method, path, requestBody }, { status, headers, body }) {
    let found;
    try {
      found = this.find(method, path);
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
      return assert.equal(status, 400, path);
    }
    const what = `${method} ${path}: ${status}`;
    if (found === undefined) {
      assert.ok([400, 404, 405].includes(status), `${what} of an operation that is not described`);
      return status === 405 && assert.ok(headers.allow, `${what} has no Allow`);
    }
    const described = found.operation.responses[status];
    assert.ok(described, `${what} is not described in ${found.name}`);
    const answer = this.resolved(described);
    this.checkHeaders(what, answer.headers, headers);
    this.checkBody(what, answer.content, status, headers["content-type"], method === "HEAD" ? undefined : body);
    if (status >= 300) return;
    this.succeeded.add(found.name);
    this.checkRequest(what, found.operation.requestBody, requestBody);
  }

  checkHeaders(what, described = {}, headers) {
    const known = new Map(Object.entries(described).map(([name, header]) => [name.toLowerCase(), this.resolved(header)]));
    for (const [name, value] of Object.entries(headers)) {
      if (name.startsWith(":") || plainHeaders.has(name)) continue;
      const header = known.get(name);
      assert.ok(header, `${what} has the header ${name}, which is not described`);
      const typed = header.schema.type === "integer" ? Number(value) : value;
      assert.equal(this.fault(header.schema, typed), undefined, `${what}, header ${name}: ${value}`);
    }
    for (const [name, header] of known) if (header.required) assert.ok(name in headers, `${what} lacks the header ${name}`);
  }

  checkBody(what, content, status, contentType, body) {
    if (body === undefined) return;
    if (content === undefined) return assert.equal(body, "", `${what} has a body, and none is described`);
    // A missing right has nothing to say on the wire contract.
    if (status === 403 && body === "" && contentType === undefined) return;
    const type = contentType?.split(";")[0];
    const media = content[type];
    assert.ok(media, `${what} has the content type ${contentType}, which is not described`);
    const value = /[/+]json$/.test(type) ? JSON.parse(body) : body;
    if (media.schema) assert.equal(this.fault(media.schema, value), undefined, `${what}, body: ${body}`);
  }

  checkRequest(what, described, body) {
    if (described === undefined || typeof body !== "string") return;
    const media = this.resolved(described).content["application/json"];
    let value;
    try {
      value = JSON.parse(body);
    } catch {
      return; // XML, or what the app reads
    }
    if (media?.schema) assert.equal(this.fault(media.schema, value), undefined, `${what} of a body that is not described: ${body}`);
  }
}
