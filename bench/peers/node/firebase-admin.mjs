// Drives firebase-admin, unmodified: sendEach over HTTP/2, 500 messages a call, as many as it takes. It has no option for the
// host: http2.connect is given another socket.
import http2 from "node:http2";
import { initializeApp } from "firebase-admin/app";
import { getMessaging } from "firebase-admin/messaging";
import { lead, peer, setting } from "./peer.mjs";

await peer(import.meta.url, () => {
  const { connect } = http2;
  http2.connect = (authority, options, ...rest) =>
    connect(authority, { ...options, createConnection: () => lead(new URL(authority).hostname, ["h2"]) }, ...rest);
  const projectId = setting("PEER_PROJECT");
  const credential = { getAccessToken: async () => ({ access_token: "x".repeat(180), expires_in: 3600 }) };
  const messaging = getMessaging(initializeApp({ credential, projectId }));
  const { message } = JSON.parse(setting("PEER_BODY"));
  const sendMany = async (handles) => {
    const { responses } = await messaging.sendEach(handles.map((token) => ({ ...message, token })));
    return responses.map((one) => (one.success ? null : one.error.code));
  };
  sendMany.batch = 500;
  return { sendMany, inFlight: 2 };
});
