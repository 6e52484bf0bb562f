/**
 * `npm run bench`: varve beside other NBD servers, in one run on one machine.
 *
 *   npm run bench                        3 rounds, about 40 minutes
 *   npm run bench -- --quick             1 short round, about 5 minutes: a smoke test, not a result
 *   npm run bench -- --json FILE         the medians and ratios as JSON, too
 *   npm run bench -- --only 'read 4k'    workloads whose name contains this
 *
 * Exit status 1 when any server failed in any workload. Missed goals are shown, they do not fail the run.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { compare } from './compare.ts';
import { jsonReport, textReport } from './report.ts';
import { scratchFolder } from './rounds.ts';
import { serverKinds } from './servers.ts';
import { type Result, runSession } from './session.ts';
import { workloads } from './workloads.ts';

const scales = {
  full: { rounds: 3, runtimeSeconds: 5, spanMiB: 2048 },
  quick: { rounds: 1, runtimeSeconds: 1, spanMiB: 512 },
};

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});

const folder = scratchFolder();
const chosen = workloads.filter(({ name }) => name.includes(options.only));
const scale = options.quick ? scales.quick : scales.full;
const plan = { ...scale, folder, servers: serverKinds, workloads: chosen };
const comparisons = compare(await runSession(plan, sayProgress));
process.stdout.write(textReport(comparisons));
if (options.json !== undefined) {
  const about = { ...scale, cpu: cpus()[0]?.model, cores: cpus().length, at: new Date() };
  writeFileSync(options.json, `${JSON.stringify(jsonReport(comparisons, about), null, 2)}\n`);
}
if (comparisons.some(({ failures }) => failures.length > 0)) process.exitCode = 1;

function sayProgress({ workload, server, round, outcome }: Result): void {
  const what = typeof outcome === 'string' ? 'failed' : `${outcome.iops.toFixed(0)} IOPS`;
  process.stderr.write(`round ${round + 1}: ${workload.name}: ${server.name}: ${what}\n`);
}
