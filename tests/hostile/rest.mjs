// What attacks with a key share besides support.mjs: requests over kept connections.
import https from "node:https";
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { hub, sas, share, url } from "./support.mjs";

export { hub, share, wait };
const agent = new https.Agent({ keepAlive: true, maxSockets: 16, ca: readFileSync(process.env.PUSHHUB_CA_FILE) });

/** {status, headers}; a request that fails has status 0. `headOnly`: ends the connection after the head. */
export function ask(method, path, headers = {}, body = undefined, { headOnly = false } = {}) {
  return new Promise((done) => {
    const request = https.request(
      { host: url.hostname, port: url.port, method, path, agent, timeout: 20_000, headers: { Authorization: sas(), ...headers } },
      (response) => {
        const answer = { status: response.statusCode, headers: response.headers };
        if (headOnly) {
          done(answer);
          request.destroy();
          return;
        }
        response.resume();
        response.on("end", () => done(answer));
      },
    );
    request.on("timeout", () => request.destroy());
    request.on("error", () => done({ status: 0, headers: {} }));
    request.end(body);
  });
}

/** The body of a page that needs no key. */
export function text(path) {
  return new Promise((done, failed) => {
    https.get({ host: url.hostname, port: url.port, path, agent }, async (response) => {
      let body = "";
      for await (const chunk of response) body += chunk;
      done(body);
    }).on("error", failed);
  });
}

/** Makes a hub without credentials, if there is none of this name. */
export async function putHub(name) {
  await ask("PUT", `/${name}`, { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" },
    '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><NotificationHubDescription ' +
    'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"/></content></entry>');
  return name;
}

export function finish(said) {
  agent.destroy();
  console.log(said);
  process.exit(0);
}
