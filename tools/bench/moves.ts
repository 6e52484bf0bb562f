/**
 * How fast data moves from one disk to another, and what a guest notices: varve's drain and move beside cp, qemu-img convert and QEMU's
 * blockdev-mirror.
 *
 *   npm run bench:moves                      5 rounds, some ten minutes
 *   npm run bench:moves -- --quick           1 short round: a smoke test, not a result
 *   npm run bench:moves -- --only alone      or guest
 *   npm run bench:moves -- --mover varve     those whose name contains this
 *   npm run bench:moves -- --rounds 1        fewer, or more
 *   npm run bench:moves -- --json FILE       the medians as JSON, too
 *
 * Movers are interleaved within a round. Exit status 1 when anything failed; the others are measured nevertheless.
 */

import { writeFileSync } from 'node:fs';
import { chainTable } from './chain-report.ts';
import { type MovePlan, moveAlone, moveBesideGuest } from './move-session.ts';
import { type Mover, movers } from './movers.ts';
import { type RoundOptions, roundsCommand } from './options.ts';
import { mediansOf, plain, scratchFolder } from './rounds.ts';

interface Options extends RoundOptions {
  readonly only: string;
  readonly mover: string;
}

const scales = {
  full: { rounds: 5, runtimeSeconds: 5, spanMiB: 2048 },
  quick: { rounds: 1, runtimeSeconds: 1, spanMiB: 256 },
};
const scenarios = {
  alone: { run: moveAlone, takes: () => true },
  guest: { run: moveBesideGuest, takes: ({ isOnline }: Mover) => isOnline },
};

const options = roundsCommand(
  'bench:moves',
  'drain and move, beside cp, qemu-img convert and blockdev-mirror',
  'the medians',
)
  .option('--only <scenario>', 'alone or guest', '')
  .option('--mover <text>', 'those whose name contains it', '')
  .parse()
  .opts<Options>();

const { rounds: usual, ...scale } = options.quick ? scales.quick : scales.full;
const rounds = options.rounds ?? usual;
const plan: MovePlan = { ...scale, folder: scratchFolder() };
const chosen = movers.filter(({ name }) => name.includes(options.mover));
const document: Record<string, unknown> = {};

for (const [name, { run, takes }] of Object.entries(scenarios)) {
  if (!name.includes(options.only)) continue;
  const scenario = { name, takes, run: (kind: Mover) => run(kind, plan) };
  const medians = await mediansOf(scenario, chosen, rounds);
  process.stdout.write(`${name}\n${chainTable(medians, 'varve disk drain')}\n`);
  document[name] = plain(medians);
}
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify({ ...scale, rounds, ...document }, null, 2)}\n`);
}
