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
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ChainKind, qcow2Kinds } from './chain-disks.ts';
import { chainTable, medianFigures } from './chain-report.ts';
import {
  type ChainPlan,
  type Figures,
  growingMaps,
  overwriteAfterSnapshot,
  readAtDepth,
} from './chain-session.ts';
import { varveKinds } from './varve-chain.ts';

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

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    kind: { type: 'string', default: '' },
    rounds: { type: 'string' },
    json: { type: 'string' },
  },
});

// Leaving through exit() ends the servers, too (daemon.ts); a bare signal would orphan them.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const folder = mkdtempSync(join(tmpdir(), 'varve-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

const { rounds: usual, ...scale } = options.quick ? scales.quick : scales.full;
const rounds = Number(options.rounds ?? usual);
const plan: ChainPlan = { ...scale, folder };
const kinds = [...varveKinds, ...qcow2Kinds].filter(({ name }) => name.includes(options.kind));
const document: Record<string, unknown> = {};

for (const [name, scenario] of Object.entries(scenarios)) {
  if (!name.includes(options.only)) continue;
  const results = new Map<string, Figures[]>();
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds.filter(scenario.takes)) {
      const figures = await scenario.run(kind, plan).catch(sayFailure(name, kind));
      if (figures !== undefined)
        results.set(kind.name, [...(results.get(kind.name) ?? []), figures]);
    }
  }
  const medians = new Map([...results].map(([kind, all]) => [kind, medianFigures(all)]));
  process.stdout.write(`${name}\n${chainTable(medians, 'varve')}\n`);
  document[name] = Object.fromEntries(
    [...medians].map(([kind, figures]) => [kind, Object.fromEntries(figures)]),
  );
}
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify({ ...scale, rounds, ...document }, null, 2)}\n`);
}

function sayFailure(scenario: string, kind: ChainKind): (error: Error) => undefined {
  return (error) => {
    process.exitCode = 1;
    process.stderr.write(`${scenario}: ${kind.name}: failed: ${error.message}\n`);
    return undefined;
  };
}
