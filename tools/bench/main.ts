/**
 * `npm run bench`: varve beside other NBD servers, in one run on one machine.
 *
 *   npm run bench                         the goals: 3 rounds, about 40 minutes
 *   npm run bench -- --quick              1 short round, under two minutes: a smoke test, not a result
 *   npm run bench -- --matrix             also peers with O_DIRECT, TCP, 1, 4 and 16 connections, eight volumes
 *   npm run bench -- --rounds 5 --seconds 2
 *   npm run bench -- --json FILE          all medians and ratios, too
 *   npm run bench -- --report FILE        the same as Markdown: docs/bench.md
 *   npm run bench -- --only 'read 4k'     workloads whose name contains this
 *   npm run bench -- --peers FOLDER       also the peers of a newer Debian (peer-tools.ts)
 *   npm run bench -- --versus FOLDER      no peers: beside the build in another checkout, to see what a change gave
 *
 * Exit status 1 when any server failed in any workload, or did not keep what was written. Missed goals are shown, they do not fail the run.
 */
import { writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { numberAboveZero, wholeNumber } from '../lib/options.ts';
import { aboutRun } from './about.ts';
import { chainComparisons } from './chain-rows.ts';
import { type Comparison, compare } from './compare.ts';
import { markdownReport, type Section } from './markdown.ts';
import { ownPeers, peersIn } from './peer-tools.ts';
import { peerKinds } from './peers.ts';
import { jsonReport, textReport } from './report.ts';
import { scratchFolder } from './rounds.ts';
import { varve, varveOf } from './servers.ts';
import { type Result, runSession } from './session.ts';
import { directDisks, eightVolumes, overTcp, plainSetting } from './settings.ts';
import { crowds, sampler, workloads } from './workloads.ts';

const scales = {
  full: { rounds: 3, runtimeSeconds: 5, spanMiB: 2048, depths: [1000], mappedGiB: [] },
  quick: { rounds: 1, runtimeSeconds: 0.3, spanMiB: 64, depths: [10], mappedGiB: [] },
};

interface Options {
  readonly quick: boolean;
  readonly matrix: boolean;
  readonly rounds?: number;
  readonly seconds?: number;
  readonly json?: string;
  readonly report?: string;
  readonly only: string;
  readonly peers?: string;
  readonly versus?: string;
}

const options = new Command('bench')
  .description('varve beside other NBD servers, in one run on one machine')
  .option('--quick', 'one short round: a smoke test, not a result', false)
  .option(
    '--matrix',
    'also peers with O_DIRECT, TCP, 1, 4 and 16 connections, eight volumes',
    false,
  )
  .option('--rounds <n>', 'fewer, or more', wholeNumber)
  .option('--seconds <n>', 'of each measurement', numberAboveZero)
  .option('--json <file>', 'all medians and ratios, too')
  .option('--report <file>', 'the same as Markdown')
  .option('--only <text>', 'workloads whose name contains it', '')
  .option('--peers <folder>', 'also the peers of a newer Debian in that folder')
  .option('--versus <folder>', 'no peers: beside the build in another checkout')
  .parse()
  .opts<Options>();

const folder = scratchFolder();
const tools = [ownPeers, ...(options.peers === undefined ? [] : [peersIn(options.peers)])];
const { versus } = options;
const others = versus === undefined ? tools.flatMap(peerKinds) : [varveOf(resolve(versus))];
const servers = [varve, ...others];
const usual = options.quick ? scales.quick : scales.full;
const scale = {
  ...usual,
  // All filled disks fit into half of the memory together: otherwise whoever was filled first is read from the backing disk.
  spanMiB: Math.min(usual.spanMiB, Math.floor(totalmem() / 2 / servers.length / 2 ** 20)),
  rounds: options.rounds ?? usual.rounds,
  runtimeSeconds: options.seconds ?? usual.runtimeSeconds,
};
const about = await aboutRun(scale, tools);

const matrix = [
  { title: 'Connections', setting: plainSetting, of: crowds },
  { title: 'Peers with O_DIRECT, varve through the page cache', setting: directDisks, of: sampler },
  { title: 'TCP', setting: overTcp, of: sampler },
  { title: 'Eight volumes', setting: eightVolumes, of: sampler },
];
const goals = { title: 'Goals', setting: plainSetting, of: workloads };

const sections: Section[] = [];
for (const { title, setting, of } of [goals, ...(options.matrix ? matrix : [])]) {
  const chosen = of.filter(({ name }) => name.includes(options.only));
  const plan = { ...scale, folder, servers, setting, workloads: chosen };
  add(title, compare(await runSession(plan, sayProgress)));
}
if (versus === undefined) {
  add(
    'Goals with chains',
    await chainComparisons({ ...scale, folder }, scale.rounds, options.only),
  );
}

const comparisons = sections.flatMap((section) => section.comparisons);
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify(jsonReport(comparisons, { about }), null, 2)}\n`);
}
if (options.report !== undefined) writeFileSync(options.report, markdownReport(about, sections));
if (comparisons.some(({ failures }) => failures.length > 0)) process.exitCode = 1;

function add(title: string, compared: readonly Comparison[]): void {
  if (compared.length === 0) return;
  sections.push({ title, comparisons: compared });
  process.stdout.write(`${title}\n\n${textReport(compared)}\n`);
}

function sayProgress({ workload, server, round, outcome }: Result): void {
  const what = typeof outcome === 'string' ? 'failed' : `${outcome.iops.toFixed(0)} IOPS`;
  process.stderr.write(`round ${round + 1}: ${workload.name}: ${server.name}: ${what}\n`);
}
