/**
 * What snapshots and chains cost, varve beside qcow2: first overwrites after a snapshot, reads at depth, times of
 * making and deleting snapshots, also of large disks.
 *
 *   npm run bench:chains                      3 rounds; an hour: qcow2 takes minutes to stack 300 images
 *   npm run bench:chains -- --quick           1 short round: a smoke test, not a result
 *   npm run bench:chains -- --only overwrite  or depth, or maps
 *   npm run bench:chains -- --kind qcow2      disks whose name contains this
 *   npm run bench:chains -- --rounds 1        fewer, or more
 *   npm run bench:chains -- --json FILE       the medians as JSON, too
 *
 * Kinds are interleaved within a round. Exit status 1 when anything failed; the others are measured nevertheless.
 */

import { writeFileSync } from 'node:fs';
import { type ChainKind, qcow2Kinds } from './chain-disks.ts';
import { chainTable } from './chain-report.ts';
import {
  type ChainPlan,
  growingMaps,
  overwriteAfterSnapshot,
  readAtDepth,
} from './chain-session.ts';
import { type RoundOptions, roundsCommand } from './options.ts';
import { mediansOf, plain, scratchFolder } from './rounds.ts';
import { varveKinds } from './varve-chain.ts';

interface Options extends RoundOptions {
  readonly only: string;
  readonly kind: string;
}

const scales = {
  full: {
    rounds: 3,
    runtimeSeconds: 5,
    spanMiB: 1024,
    depths: [10, 100, 300, 1000],
    mappedGiB: [1, 100, 1024],
  },
  quick: { rounds: 1, runtimeSeconds: 1, spanMiB: 256, depths: [10, 30], mappedGiB: [1, 10] },
};
const scenarios = {
  overwrite: { run: overwriteAfterSnapshot, takes: () => true },
  depth: { run: readAtDepth, takes: ({ depthMax }: ChainKind) => depthMax > 1 },
  maps: { run: growingMaps, takes: () => true },
};

const options = roundsCommand(
  'bench:chains',
  'snapshots and chains, varve beside qcow2',
  'the medians',
)
  .option('--only <scenario>', 'overwrite, depth or maps', '')
  .option('--kind <text>', 'disks whose name contains it', '')
  .parse()
  .opts<Options>();

const { rounds: usual, ...scale } = options.quick ? scales.quick : scales.full;
const rounds = options.rounds ?? usual;
const plan: ChainPlan = { ...scale, folder: scratchFolder() };
const kinds = [...varveKinds, ...qcow2Kinds].filter(({ name }) => name.includes(options.kind));
const document: Record<string, unknown> = {};

for (const [name, { run, takes }] of Object.entries(scenarios)) {
  if (!name.includes(options.only)) continue;
  const scenario = { name, takes, run: (kind: ChainKind) => run(kind, plan) };
  const medians = await mediansOf(scenario, kinds, rounds);
  process.stdout.write(`${name}\n${chainTable(medians, 'varve')}\n`);
  document[name] = plain(medians);
}
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify({ ...scale, rounds, ...document }, null, 2)}\n`);
}
