// Drives web-push, unmodified: HTTP/1.1 with connections that stay open, which its agent leads to the simulator.
import https from "node:https";
import webpush from "web-push";
import { lead, peer, setting } from "./peer.mjs";

const inFlight = 64;

class LeadTo extends https.Agent {
  createConnection(options) {
    return lead(options.servername || options.host);
  }
}

await peer(import.meta.url, () => {
  const agent = new LeadTo({ keepAlive: true, maxSockets: inFlight });
  const vapidDetails = {
    subject: setting("PEER_SUBJECT"),
    publicKey: setting("PEER_VAPID_PUBLIC"),
    privateKey: setting("PEER_VAPID_PRIVATE"),
  };
  const body = setting("PEER_BODY");
  const send = (handle) => {
    const { endpoint, p256dh, auth } = JSON.parse(handle);
    return webpush.sendNotification({ endpoint, keys: { p256dh, auth } }, body, { agent, vapidDetails }).catch((error) => {
      throw new Error(`${error.statusCode ?? ""} ${error.body ?? error.message}`);
    });
  };
  return { send, inFlight };
});
