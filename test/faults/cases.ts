/**
 * Which operation meets which fault, where: the whole table, or a few of it by a seed.
 */
import { Random } from '../../tools/explore/random.ts';
import { type FaultKind, faultKinds } from './kinds.ts';
import { type Operation, operations } from './operations.ts';

export interface FaultCase {
  readonly name: string;
  readonly operation: Operation;
  readonly fault: FaultKind;
  /** Calls that still go well. */
  readonly after: number;
  readonly disks: readonly string[];
}

export const seed = Number(process.env.SEED ?? 101);
const wanted = process.env.FAULTS;
/** In `npm test`. */
const chosenCount = 20;
const everywhere = ['a', 'b', 'c', 'm', 'image', 'left'];
const places = [0, 1, 3, 8, 20];

function allCases(): FaultCase[] {
  return Object.entries(operations).flatMap(([what, operation]) =>
    faultKinds.flatMap((fault) =>
      [['a'], everywhere].flatMap((disks) =>
        places.map((after) => {
          const where = disks.length === 1 ? 'one disk' : 'all disks';
          const name = `${what}; ${fault.name}, on ${where}, after ${after}`;
          return { name, operation, fault, after, disks };
        }),
      ),
    ),
  );
}

export function chosenCases(): FaultCase[] {
  const all = allCases();
  if (wanted === 'all') return all;
  const count = Number(wanted ?? chosenCount);
  if (Number.isNaN(count)) return all.filter(({ name }) => name.includes(String(wanted)));
  const short = all.filter(({ fault }) => fault.isLong !== true);
  return spread(short).slice(0, count);
}

/** In random order, but operations in turn. */
function spread(all: readonly FaultCase[]): FaultCase[] {
  const random = new Random(seed);
  const shuffled = all
    .map((each) => ({ each, key: random.below(2 ** 32) }))
    .sort((a, b) => a.key - b.key)
    .map(({ each }) => each);
  const turns = new Map<Operation, number>();
  const inTurn = shuffled.map((each) => {
    const turn = turns.get(each.operation) ?? 0;
    turns.set(each.operation, turn + 1);
    return { each, turn };
  });
  return inTurn.sort((a, b) => a.turn - b.turn).map(({ each }) => each);
}
