// Patches of one installation with 10,900 tags each, four at a time, 200 in all, with a key that may listen. A search for
// repetitions at each tag holds a lane for a tenth of a second.
import { ask, finish, hub, share } from "./rest.mjs";

const json = { "Content-Type": "application/json" };
const path = `/${hub}/installations/hostile-tags`;
await ask("PUT", path, json, JSON.stringify({ installationId: "hostile-tags", platform: "fcmv1", pushChannel: "hostile" }));
const list = (from, count) => Array.from({ length: count }, (_, i) => String.fromCharCode(97 + (i % 26)) + ((from + i) % 999));
const patches = [
  JSON.stringify([0, 1, 2].map((part) => ({ op: "add", path: "/tags", value: list(part * 3_600, 3_633) }))),
  JSON.stringify([{ op: "add", path: "/tags", value: Array(3_900).fill("a") }]),
  JSON.stringify(Array.from({ length: 256 }, (_, i) => ({ op: "add", path: `/templates/t${i}/tags`, value: list(i, 20) }))),
  "[" + "[],".repeat(20_000) + "[]]",
];
const statuses = {};
for (let round = 0; round < share(50); ++round) {
  await Promise.all(
    Array.from({ length: 4 }, async (_, i) => {
      const { status } = await ask("PATCH", path, json, patches[(round + i) % patches.length]);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }),
  );
}
await ask("DELETE", path);
finish(`${4 * share(50)} patches: ${JSON.stringify(statuses)}`);
