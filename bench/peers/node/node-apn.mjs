// Drives @parse/node-apn, unmodified.
import { readFileSync } from "node:fs";
import apn from "@parse/node-apn";
import { ca, peer, port, setting } from "./peer.mjs";

const atOnce = 1_000;

await peer(import.meta.url, () => {
  const provider = new apn.Provider({
    token: { key: readFileSync(setting("PEER_KEY_FILE")), keyId: setting("PEER_KEY_ID"), teamId: setting("PEER_TEAM_ID") },
    production: true,
    address: "localhost",
    port,
    ca,
    requestTimeout: 60_000,
  });
  const note = new apn.Notification({ topic: setting("PEER_TOPIC"), pushType: "alert" });
  note.rawPayload = JSON.parse(setting("PEER_BODY"));
  const sendMany = async (handles) => {
    const { failed } = await provider.send(note, handles);
    const reasons = new Map(failed.map((one) => [one.device, one.response?.reason ?? String(one.error ?? one.status)]));
    return handles.map((handle) => reasons.get(handle) ?? null);
  };
  sendMany.batch = atOnce / 2;
  return { sendMany, inFlight: 2 };
});
