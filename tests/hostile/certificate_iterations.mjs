// Certificates that are dear to open: 60 descriptions of hubs whose PKCS#12 file asks for 100 million iterations or for as
// many as can be written, in its MAC, in its certificates or in its key, eight at a time. Each must be refused before it is
// opened. The key of the namespace is needed.
import { ask, finish, hub, share } from "./rest.mjs";

const der = (tag, ...parts) => {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const size = content.length;
  const length = size < 128 ? [size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const sequence = (...parts) => der(0x30, ...parts);
const octets = (...parts) => der(0x04, ...parts);
const nothing = Buffer.from([5, 0]);
const id = (hex) => der(0x06, Buffer.from(hex, "hex"));
const number = (value) => {
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  return der(0x02, bytes[0] > 127 ? [0] : [], bytes);
};
const ids = {
  data: id("2a864886f70d010701"), encrypted: id("2a864886f70d010706"), pbes2: id("2a864886f70d01050d"),
  pbkdf2: id("2a864886f70d01050c"), hmacSha256: id("2a864886f70d0209"), aes256: id("60864801650304012a"),
  sha256: id("608648016503040201"), shroudedKey: id("2a864886f70d010c0a0102"),
};
const bytes = (count) => Buffer.alloc(count, 0x5a);
const cipher = (count) =>
  sequence(
    ids.pbes2,
    sequence(
      sequence(ids.pbkdf2, sequence(octets(bytes(8)), number(count), sequence(ids.hmacSha256, nothing))),
      sequence(ids.aes256, octets(bytes(16))),
    ),
  );
const explicit = (content) => der(0xa0, content);

/** RFC 7292. */
function pkcs12(mac, certificates, key) {
  const safes = sequence(
    sequence(ids.encrypted, explicit(sequence(number(0), sequence(ids.data, cipher(certificates), der(0x80, bytes(64)))))),
    sequence(
      ids.data,
      explicit(octets(sequence(sequence(ids.shroudedKey, explicit(sequence(cipher(key), octets(bytes(64)))))))),
    ),
  );
  return sequence(
    number(3),
    sequence(ids.data, explicit(octets(safes))),
    sequence(sequence(sequence(ids.sha256, nothing), octets(bytes(32))), octets(bytes(8)), number(mac)),
  );
}

const property = (name, value) => `<Property><Name>${name}</Name><Value>${value}</Value></Property>`;
const files = [];
for (const many of [100_000_000, 0x7fffffff]) {
  files.push(pkcs12(many, 1, 1), pkcs12(1, many, 1), pkcs12(1, 1, many));
}
const count = share(60);
const answers = {};
let spent = 0;
let next = 0;
await Promise.all(
  Array.from({ length: 8 }, async () => {
    while (next < count) {
      const turn = next++;
      const began = performance.now();
      const { status } = await ask(
        "PUT",
        `/${hub}-certificate-${turn}`,
        { "Content-Type": "application/atom+xml;type=entry;charset=utf-8" },
        '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><NotificationHubDescription ' +
          'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"><ApnsCredential><Properties>' +
          property("Endpoint", "https://api.push.apple.com:443/3/device") +
          property("ApnsCertificate", files[turn % files.length].toString("base64")) +
          property("CertificateKey", "pass") +
          "</Properties></ApnsCredential></NotificationHubDescription></content></entry>",
      );
      answers[status] = (answers[status] ?? 0) + 1;
      spent = Math.max(spent, performance.now() - began);
    }
  }),
);
if (Object.keys(answers).join() !== "400") {
  console.log(`answers by status: ${JSON.stringify(answers)}`);
  process.exit(1);
}
finish(`${count} certificates refused, the slowest after ${spent.toFixed(0)} ms`);
