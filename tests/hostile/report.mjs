// The page that `run.mjs --report FILE` writes: what each attack did to the hub at its worst, and memory, descriptors and
// latencies of every second as pictures beside it.
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import drawing from "../../bench/drawing.cjs";

const most = (rows, of) => Math.max(...rows.map(of));

/**
 * `rounds`: {name, requests, p99, before, peak, after, faults: [text]} of each attack of each round, memory in MiB;
 * `samples`: {s, rss_mib, descriptors, p99_ms} of each second; `answered`: requests the hub has answered in all.
 */
export function writeReport(file, { rounds, samples, answered, memoryMib, commit, sanitized }) {
  const pictures = join(dirname(file), "pictures");
  mkdirSync(pictures, { recursive: true });
  const name = basename(file, ".md");
  const curves = [
    ["memory", "Memory of the hub", "MiB", (sample) => sample.rss_mib],
    ["descriptors", "Open descriptors", "", (sample) => sample.descriptors],
    ["latency", "How long others wait: 99 of 100, since the attack began", "ms", (sample) => sample.p99_ms],
  ].map(([id, title, unit, of]) => {
    const picture = `${name}-${id}.svg`;
    writeFileSync(join(pictures, picture), drawing.lines(title, { hub: samples.map((s) => [s.s, of(s)]) }, "s", unit));
    return `![${title}](pictures/${picture})`;
  });
  const attacks = [...new Set(rounds.map((one) => one.name))].sort();
  const rows = attacks.map((attack) => {
    const of = rounds.filter((one) => one.name === attack);
    const good = of.filter((one) => one.faults.length === 0).length;
    const worst = of.reduce((a, b) => (a.peak - a.before > b.peak - b.before ? a : b));
    const memory = `${worst.before.toFixed(0)} → ${worst.peak.toFixed(0)} → ${worst.after.toFixed(0)}`;
    return `| ${attack} | ${good} of ${of.length} | ${most(of, (one) => one.p99).toFixed(0)} | ${memory} |`;
  });
  const faults = rounds.flatMap((one) => one.faults.map((fault) => `- ${one.name}: ${fault.split("\n")[0]}`));
  const seconds = samples.at(-1)?.s ?? 0;
  const text = `# Attacks on a hub: report of a run

Written by \`node tests/hostile/run.mjs --minutes ${Math.round(seconds / 60)} --report ${file}\`. ${new Date().toISOString().slice(0, 10)}, commit ${commit}, ${sanitized ? "with the address sanitizer" : "release build"}, at most ${memoryMib} MiB.
One hub, ${seconds} s, ${rounds.length} attacks, ${drawing.number(answered)} requests answered. Others ask something every 25 ms meanwhile.

| Attack | Good | Others wait, 99 of 100, at the worst, ms | Memory before, at its top, after: where it grew most, MiB |
|---|---|---|---|
${rows.join("\n")}

${faults.length ? `Not good:\n\n${faults.join("\n")}` : "Nothing was lost: every request of others was answered as it should be."}

${curves.join("\n\n")}
`;
  writeFileSync(file, text);
}
