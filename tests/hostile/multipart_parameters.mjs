// Multipart parts whose header is half a megabyte of semicolons, eight at a time, forty in all, with a key that may send. A
// parser that looks to the end of the header at each of them works for minutes on every one.
import { ask, finish, hub } from "./rest.mjs";

const headers = { "Content-Type": 'multipart/mixed; boundary="b"', "ServiceBusNotification-Format": "apple" };
const shapes = [";", ";name", ";a=b", "; =", ';a="', "\n;"];
const statuses = {};
for (let round = 0; round < 5; ++round) {
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const body = "--b\r\nContent-Disposition: inline" + shapes[i % shapes.length].repeat(510_000).slice(0, 510_000);
      const { status } = await ask("POST", `/${hub}/messages/$batch?direct&api-version=2020-06`, headers, body);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }),
  );
}
finish(`40 batches of 510 KB: ${JSON.stringify(statuses)}`);
