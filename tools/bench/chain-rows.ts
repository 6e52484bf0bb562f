/**
 * The two goals that need chains, as comparisons like the others: the first overwrite after a snapshot, and reads at depth.
 */
import { type ChainKind, qcow2Kinds } from './chain-disks.ts';
import {
  type ChainPlan,
  type Figures,
  overwriteAfterSnapshot,
  readAtDepth,
} from './chain-session.ts';
import { type Comparison, type Row, rowOf } from './compare.ts';
import type { Measurement } from './fio.ts';
import { type Outcomes, outcomesOf } from './rounds.ts';
import { varveKinds } from './varve-chain.ts';
import { type Check, costCheck, iopsCheck } from './verdict.ts';

const varve = varveKinds.filter(({ name }) => name === 'varve');

const scenarios = [
  {
    name: 'first random overwrite 4k qd32 after a snapshot',
    run: overwriteAfterSnapshot,
    kinds: [...varve, ...qcow2Kinds],
    checksOf: overwriteChecks,
  },
  { name: 'random read 4k qd32 at depth', run: readAtDepth, kinds: varve, checksOf: depthChecks },
];

/** Kinds interleaved within each of `rounds`. @param only those whose name contains this */
export async function chainComparisons(
  plan: ChainPlan,
  rounds: number,
  only: string,
): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const { name, run, kinds, checksOf } of scenarios) {
    if (!name.includes(only)) continue;
    const scenario = { name, takes: () => true, run: (kind: ChainKind) => run(kind, plan) };
    comparisons.push(comparison(name, await outcomesOf(scenario, kinds, rounds), checksOf));
  }
  return comparisons;
}

/** Pure. Refuses as compare.ts does. */
export function comparison(
  name: string,
  { figures, failures }: Outcomes,
  checksOf: (rows: readonly Row[]) => Check[],
): Comparison {
  const rows = [...figures].flatMap(([kind, rounds]) => rowsOf(kind, rounds));
  const checks = failures.length === 0 ? checksOf(rows) : undefined;
  return { name, rows, failures, checks };
}

/** One row per measured figure: `kind: figure`. */
function rowsOf(kind: string, rounds: readonly Figures[]): Row[] {
  const names = new Set(rounds.flatMap((figures) => [...figures.keys()]));
  return [...names].flatMap((name) => {
    const measured = rounds
      .map((figures) => figures.get(name))
      .filter((figure): figure is Measurement => typeof figure === 'object');
    const role = kind === 'varve' ? 'varve' : 'thin';
    return measured.length === 0 ? [] : [rowOf(`${kind}: ${name}`, role, measured)];
  });
}

export function overwriteChecks(rows: readonly Row[]): Check[] {
  const after = rows.filter(({ server }) => server.endsWith('after a snapshot'));
  const medians = (belongs: (row: Row) => boolean) =>
    after.filter(belongs).map(({ median }) => median);
  const [own] = medians(({ role }) => role === 'varve');
  const before = rows.filter(
    ({ role, server }) => role === 'varve' && server.endsWith('no snapshot'),
  );
  if (own === undefined) return [];
  const extended = medians(({ server }) => server.includes('extended_l2'));
  const plain = medians(({ role, server }) => role === 'thin' && !server.includes('extended_l2'));
  const thin = [...extended, ...plain];
  return [
    iopsCheck('IOPS ÷ plain qcow2', own, plain, 4),
    iopsCheck('IOPS ÷ extended_l2', own, extended, 1.5),
    iopsCheck(
      'IOPS ÷ own',
      own,
      before.map(({ median }) => median),
      0.9,
    ),
    costCheck('CPU ÷ thin', 'cpuUsPerIo', own, thin, 0.5),
    costCheck('p99 ÷ best', 'p99Us', own, thin, 1),
  ].flat();
}

export function depthChecks(rows: readonly Row[]): Check[] {
  const [shallow, deep] = [rows[0]?.median, rows.at(-1)?.median];
  if (shallow === undefined || deep === undefined) return [];
  return iopsCheck('IOPS ÷ own', deep, [shallow], 0.95);
}
