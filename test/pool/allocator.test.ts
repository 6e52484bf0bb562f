/**
 * Goal: a cluster is free, granted, owned, on its way back or the checkpoint's, never two of them; the reserve is never granted;
 *   what is stored and loaded again is what was owned.
 * Method: random operations against a model that keeps one state per cluster.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Allocator, type AllocatorDiskSpec } from '../../src/pool/allocator.ts';
import type { ClusterRun } from '../../src/pool/format/batch.ts';
import { parseIndexKey } from '../../src/pool/format/index-keys.ts';

const disks: AllocatorDiskSpec[] = [
  { number: 0, firstCluster: 3, clusterCount: 200, journal: true },
  { number: 4, firstCluster: 1, clusterCount: 90, journal: false },
];
const usable = 197 + 89;
const reserve = 20;

type State = 'free' | 'granted' | 'used' | 'returning' | 'checkpoint';

class Model {
  readonly #states = new Map<string, State>();

  constructor() {
    for (const { number, firstCluster, clusterCount } of disks) {
      for (let at = firstCluster; at < clusterCount; at++)
        this.#states.set(`${number}/${at}`, 'free');
    }
  }

  in(state: State): { disk: number; cluster: number }[] {
    return [...this.#states]
      .filter(([, is]) => is === state)
      .map(([name]) => {
        const [disk = 0, cluster = 0] = name.split('/').map(Number);
        return { disk, cluster };
      });
  }

  move(disk: number, cluster: number, from: State, to: State): void {
    const is = this.#states.get(`${disk}/${cluster}`);
    if (is !== from) throw new Error(`cluster ${disk}/${cluster} is ${is}, not ${from}`);
    this.#states.set(`${disk}/${cluster}`, to);
  }

  moveRuns(runs: readonly ClusterRun[], from: State, to: State): void {
    for (const { disk, firstCluster, count } of runs) {
      for (let at = 0; at < count; at++) this.move(disk, firstCluster + at, from, to);
    }
  }
}

const operation = fc.record({
  kind: fc.constantFrom('grant', 'use', 'release', 'safe', 'checkpoint', 'drop'),
  amount: fc.integer({ min: 1, max: 60 }),
  pick: fc.nat(),
});

function makeAllocator(): Allocator {
  return new Allocator(disks, () => reserve);
}

function apply(
  allocator: Allocator,
  model: Model,
  kind: string,
  amount: number,
  pick: number,
): void {
  const chosen = (state: State) => {
    const all = model.in(state);
    return all.length === 0 ? undefined : all[pick % all.length];
  };
  if (kind === 'grant') {
    const before = allocator.grantableCount;
    const runs = allocator.grant(amount);
    expect(runs.reduce((sum, run) => sum + run.count, 0)).toBe(Math.min(amount, before));
    model.moveRuns(runs, 'free', 'granted');
  }
  const granted = chosen('granted');
  if (kind === 'use' && granted) {
    expect(allocator.use(granted.disk, granted.cluster)).toBe(true);
    expect(allocator.use(granted.disk, granted.cluster)).toBe(false);
    model.move(granted.disk, granted.cluster, 'granted', 'used');
  }
  const used = chosen('used');
  if (kind === 'release' && used) {
    expect(allocator.release(used.disk, used.cluster, 1)).toBe(true);
    expect(allocator.release(used.disk, used.cluster, 1)).toBe(false);
    model.move(used.disk, used.cluster, 'used', 'returning');
  }
  if (kind === 'safe') {
    expect(allocator.takeReleased(0)).toEqual([]);
    const runs = allocator.takeReleased(1);
    allocator.free(runs);
    model.moveRuns(runs, 'returning', 'free');
    expect(model.in('returning')).toEqual([]);
  }
  const hasRoom = model.in('free').some(({ disk }) => disk === 0);
  if (kind === 'checkpoint' && hasRoom) {
    const clusters = allocator.holdForCheckpoint(0, Math.min(amount, 5));
    for (const cluster of clusters) model.move(0, cluster, 'free', 'checkpoint');
  }
  if (kind === 'drop') {
    const clusters = model.in('checkpoint').map(({ cluster }) => cluster);
    allocator.freeCheckpoint(0, clusters);
    for (const cluster of clusters) model.move(0, cluster, 'checkpoint', 'free');
  }
}

function expectCounts(allocator: Allocator, model: Model): void {
  const owned = model.in('used').length + model.in('returning').length;
  expect(allocator.usedCount).toBe(owned);
  expect(allocator.grantedCount).toBe(model.in('granted').length);
  expect(allocator.checkpointCount).toBe(model.in('checkpoint').length);
  const free = model.in('free');
  const reserved = Math.max(0, reserve - model.in('checkpoint').length);
  const freeOnJournal = free.filter(({ disk }) => disk === 0).length;
  expect(allocator.grantableCount).toBe(free.length - Math.min(reserved, freeOnJournal));
}

/** Stores the bitmaps and loads them into a new allocator. */
function reloaded(allocator: Allocator): Allocator {
  const copy = makeAllocator();
  for (const { key, value } of allocator.takeChanges()) {
    const parsed = parseIndexKey(key);
    if (parsed.kind !== 'allocator' || value === null) continue;
    expect(copy.loadChunk(parsed.disk, parsed.chunk, value)).toBe(true);
  }
  return copy;
}

describe('allocator', () => {
  test('keeps every cluster in one state', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 150 }), (operations) => {
        const allocator = makeAllocator();
        const model = new Model();
        for (const { kind, amount, pick } of operations) {
          apply(allocator, model, kind, amount, pick);
          expectCounts(allocator, model);
        }
        const copy = reloaded(allocator);
        expect(copy.usedCount).toBe(model.in('used').length);
        for (const { disk, cluster } of model.in('used')) {
          expect(copy.disk(disk).isUsed(cluster)).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('grants long runs first, on all disks, down to the reserve', () => {
    const allocator = makeAllocator();
    const runs = allocator.grant(usable);
    expect(runs.reduce((sum, run) => sum + run.count, 0)).toBe(usable - reserve);
    expect(new Set(runs.map((run) => run.disk))).toEqual(new Set([0, 4]));
    expect(allocator.grant(1)).toEqual([]);
    expect(allocator.holdForCheckpoint(0, reserve)).toHaveLength(reserve);
  });

  test('released clusters come back coalesced', () => {
    const allocator = makeAllocator();
    for (const cluster of [7, 5, 6, 9]) allocator.use(0, cluster);
    for (const cluster of [7, 5, 6, 9]) allocator.release(0, cluster, 3);
    expect(allocator.takeReleased(2)).toEqual([]);
    expect(allocator.takeReleased(3)).toEqual([
      { disk: 0, firstCluster: 5, count: 3 },
      { disk: 0, firstCluster: 9, count: 1 },
    ]);
  });

  test('a replay frees at once and lists only what stayed free', () => {
    const allocator = makeAllocator();
    for (const cluster of [5, 6]) allocator.use(0, cluster);
    for (const cluster of [5, 6]) allocator.releaseNow(0, cluster);
    allocator.use(0, 5);
    const released = [5, 6].map((cluster) => ({ disk: 0, cluster }));
    expect(allocator.stillFree(released)).toEqual([{ disk: 0, firstCluster: 6, count: 1 }]);
  });

  test('clusters that do not exist are damage', () => {
    const allocator = makeAllocator();
    for (const [disk, cluster] of [
      [0, 2],
      [0, 200],
      [1, 5],
      [4, 0],
    ] as const) {
      expect(() => allocator.use(disk, cluster)).toThrow(/does not exist/);
    }
  });

  test('a bitmap that marks what is not usable is refused', () => {
    const first = new Uint8Array(4096).fill(1, 0, 1);
    expect(makeAllocator().loadChunk(0, 0, first)).toBe(false);
    const behind = new Uint8Array(4096).fill(1, 25, 26);
    expect(makeAllocator().loadChunk(0, 0, behind)).toBe(false);
  });
});

test('a foreign disk is no space: nothing of it is granted, released clusters come to nobody, its bitmaps go with it', () => {
  const allocator = new Allocator(disks, () => reserve);
  const before = { usable: allocator.usableCount, grantable: allocator.grantableCount };
  allocator.addForeign({ number: 254, firstCluster: 0, clusterCount: 40_000 });
  for (const cluster of [0, 1, 39_999]) expect(allocator.use(254, cluster)).toBe(true);
  expect(allocator.use(254, 0)).toBe(false);
  expect(allocator.foreignUsedCount(254)).toBe(3);
  expect({ usable: allocator.usableCount, grantable: allocator.grantableCount }).toEqual(before);
  expect(allocator.usedCount).toBe(0);
  expect(allocator.grant(1000).every(({ disk }) => disk !== 254)).toBe(true);
  expect(allocator.release(254, 1, 7)).toBe(true);
  expect(allocator.takeReleased(1000)).toEqual([]);
  expect(allocator.stillFree([{ disk: 254, cluster: 1 }])).toEqual([]);
  expect(() => allocator.use(254, 40_000)).toThrow(/does not exist/);
  allocator.takeChanges();
  allocator.removeForeign(254);
  const gone = allocator.takeChanges();
  expect(gone.map(({ value }) => value)).toEqual([null, null]);
  expect(() => allocator.use(254, 0)).toThrow(/does not exist/);
});
