// Goal: a region of two layers is changed in whole batches; where a live head takes part, under the lock of its slots, which ends in any case.
// Method: the real planners over maps in memory; a data plane and a pool that write down what they were asked for, in order.
import { beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { slotsPerRegion } from '../../src/base/units.ts';
import { DataPlaneError, type VolumePlane } from '../../src/dataplane/data-plane.ts';
import { Damage } from '../../src/pool/damage.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import { SlotStates } from '../../src/pool/format/slot-states.ts';
import type { Pool } from '../../src/pool/pool.ts';
import {
  absorbRegion,
  headPatches,
  mergeRegions,
  pruneRegion,
} from '../../src/snapshot/layer-pair.ts';
import { Cover } from '../../src/snapshot/merge.ts';

const pair = { upper: 2, lower: 1, isBase: true };
const [EBUSY, EIO] = [16, 5];
const all = 0xffff;

/** A cluster with a mask of valid sub-blocks. */
const cluster = (number: number, mask = all) => ({ hi: 0, lo: ((number << 16) | mask) >>> 0 });

let calls: [name: string, ...args: unknown[]][];
let batches: BatchOp[][];
let layers: Map<number, SlotStates>;
/** What fails, and how. */
let broken: Partial<Record<'commit' | 'lock', Error>>;
let plane: VolumePlane;
let pool: Pool;

beforeEach(() => {
  [calls, batches, broken] = [[], [], {}];
  layers = new Map([1, 2].map((layer) => [layer, new SlotStates(slotsPerRegion)]));
  const of = (layer: number) => layers.get(layer) as SlotStates;
  pool = {
    damage: Damage.of([]),
    batchBytesMax: 1024 * 1024,
    index: {
      readRegion: async (layer: number) => ({ states: of(layer) }),
      readChainRegion: async (chain: () => number[]) => ({ stack: chain().map(of) }),
    },
    async commit(ops: BatchOp[]) {
      if (broken.commit) throw broken.commit;
      calls.push(['commit']);
      batches.push(ops);
    },
  } as unknown as Pool;
  plane = {
    async lockSlots(first: number, count: number) {
      if (broken.lock) throw broken.lock;
      calls.push(['lock', first, count]);
      return { words: of(2).words, zeros: of(2).zeros };
    },
    unlockSlots: (range: object, patches?: Uint32Array, options?: object) =>
      calls.push(['unlock', range, patches, options]),
  } as unknown as VolumePlane;
});

const region = 3;
const range = { first: region * slotsPerRegion, count: slotsPerRegion };
const lower = () => layers.get(1) as SlotStates;
const upper = () => layers.get(2) as SlotStates;

describe('a live head', () => {
  const absorb = () => absorbRegion(pool, plane, pair, region);
  const between = new Cover(slotsPerRegion);

  test('takes a cluster: locked, committed, unlocked with what it has now', async () => {
    lower().set(70, [cluster(9)]);
    expect(await absorb()).toBe(true);
    const { lo } = cluster(9);
    expect(calls).toEqual([
      ['lock', range.first, range.count],
      ['commit'],
      ['unlock', range, Uint32Array.of(70, lo, 0, 0), { forgetBelow: true }],
    ]);
    const leaf = region * 64 + 1;
    expect(batches).toEqual([
      [
        { op: 'patch', layer: 2, leaf, entries: [{ slot: 6, hi: 0, lo }] },
        { op: 'count', layer: 2, change: 1 },
        { op: 'delete-leaves', layer: 1, firstLeaf: leaf, count: 1 },
        { op: 'count', layer: 1, change: -1 },
      ],
    ]);
  });

  test('takes a cluster of a leaf that keeps others: that slot alone is emptied', async () => {
    upper().set(0, [cluster(8, 0x00ff)]);
    lower().set(0, [cluster(9, 0xff00)]);
    lower().set(1, [cluster(10)]);
    expect(await absorb()).toBe(false);
    const ofLower = batches.flat().filter((op) => 'layer' in op && op.layer === 1);
    expect(ofLower).toEqual([
      {
        op: 'patch',
        layer: 1,
        leaf: region * 64,
        entries: [
          { slot: 0, ...cluster(9, 0xff00) },
          { slot: 1, hi: 0, lo: 0 },
        ],
      },
      { op: 'count', layer: 1, change: -1 },
    ]);
  });

  test('leaves what it shares a slot with, and says so', async () => {
    upper().set(0, [cluster(8, 0x00ff)]);
    lower().set(0, [cluster(9)]);
    expect(await absorb()).toBe(false);
    expect(batches.flat()).toContainEqual({
      op: 'patch',
      layer: 1,
      leaf: region * 64,
      entries: [{ slot: 0, ...cluster(9, 0xff00) }],
    });
  });

  test('keeps a boundary: what is overridden is released, nothing moves, what lies below stays known', async () => {
    upper().set(0, [cluster(8)]);
    lower().set(0, [cluster(9)]);
    await pruneRegion(pool, pair, region, { head: { plane }, between });
    const ops = batches.flat();
    expect(ops).toContainEqual({ op: 'release', disk: 0, firstCluster: 9, count: 1 });
    expect(ops).toContainEqual({ op: 'count', layer: 1, change: -1 });
    expect(ops).not.toContainEqual(expect.objectContaining({ op: 'count', layer: 2 }));
    expect(calls.at(-1)?.at(-1)).toEqual({ forgetBelow: false });
  });

  test('above others does not forget what lies below them', async () => {
    lower().set(0, [cluster(9)]);
    await absorbRegion(pool, plane, { ...pair, isBase: false }, region);
    expect(calls.at(-1)?.at(-1)).toEqual({ forgetBelow: false });
  });

  test('with writers in the way is left alone, and says that it was', async () => {
    broken.lock = new DataPlaneError(EBUSY, 'writers are in the way');
    expect(await absorb()).toBeUndefined();
    expect(calls).toEqual([]);
  });

  test('is unlocked as it was when the batch fails', async () => {
    lower().set(0, [cluster(9)]);
    broken.commit = new StorageError('pool/failed', 'the pool stopped');
    await expect(absorb()).rejects.toBe(broken.commit);
    expect(calls).toEqual([
      ['lock', range.first, range.count],
      ['unlock', range, undefined, undefined],
    ]);
  });

  test('that cannot be locked for another reason is an error', async () => {
    broken.lock = new DataPlaneError(EIO, 'no more');
    await expect(absorb()).rejects.toBe(broken.lock);
  });

  test('that is closed is changed in the index alone', async () => {
    lower().set(0, [cluster(9)]);
    expect(await absorbRegion(pool, undefined, pair, region)).toBe(true);
    expect(calls).toEqual([['commit']]);
  });
});

/** Whose content the operation sets. */
function leafOf(op: BatchOp): number | undefined {
  if (op.op === 'patch') return op.leaf;
  return op.op === 'delete-leaves' ? op.firstLeaf : undefined;
}

describe('two frozen layers', () => {
  test.each([
    ['child', 2, 1],
    ['parent', 1, 2],
  ] as const)('become one in the %s', async (into, stays, goes) => {
    upper().set(0, [cluster(8, 0x00ff)]);
    lower().set(0, [cluster(9, 0xfff0)]);
    await mergeRegions(pool, pair, [region], into);
    const ops = batches.flat();
    expect(ops).toContainEqual(
      expect.objectContaining({
        op: 'patch',
        layer: stays,
        entries: [
          { slot: 0, ...cluster(8, 0x00ff) },
          { slot: 0, ...cluster(9, 0xff00) },
        ],
      }),
    );
    expect(ops).toContainEqual({
      op: 'delete-leaves',
      layer: goes,
      firstLeaf: region * 64,
      count: 1,
    });
  });

  test('pruned: only the lower one changes', async () => {
    upper().set(0, [cluster(8)]);
    lower().set(0, [cluster(9)]);
    await pruneRegion(pool, pair, region, { head: undefined, between: new Cover(slotsPerRegion) });
    expect(batches.flat().filter((op) => 'layer' in op && op.layer === 2)).toEqual([]);
    expect(batches.flat()).toContainEqual({ op: 'release', disk: 0, firstCluster: 9, count: 1 });
  });

  test('pruned: what the change does not name stays in its leaf', async () => {
    upper().set(0, [cluster(8)]);
    // Space that was promised and is not needed any more, beside data that shows.
    lower().set(0, [cluster(9, 0)]);
    lower().set(1, [cluster(10)]);
    await pruneRegion(pool, pair, region, { head: undefined, between: new Cover(slotsPerRegion) });
    expect(batches.flat().filter((op) => 'layer' in op && op.layer === 1)).toEqual([
      { op: 'patch', layer: 1, leaf: region * 64, entries: [{ slot: 0, hi: 0, lo: 0 }] },
      { op: 'count', layer: 1, change: -1 },
    ]);
  });

  test('that are large are changed in several batches, a leaf never in two', async () => {
    for (let slot = 0; slot < slotsPerRegion; slot++) lower().set(slot, [cluster(slot + 1)]);
    Object.assign(pool, { batchBytesMax: 4000 });
    await mergeRegions(pool, pair, [region], 'child');
    expect(batches.length).toBeGreaterThan(10);
    const homes = new Map<number, Set<number>>();
    for (const [at, ops] of batches.entries()) {
      for (const op of ops) {
        const leaf = leafOf(op);
        if (leaf !== undefined) homes.set(leaf, new Set([...(homes.get(leaf) ?? []), at]));
      }
    }
    expect(homes.size).toBe(64);
    expect([...homes.values()].every(({ size }) => size === 1)).toBe(true);
  });

  test('that are small in many regions are changed in one batch', async () => {
    lower().set(0, [cluster(9)]);
    await mergeRegions(pool, pair, [3, 5, 8], 'child');
    expect(batches).toHaveLength(1);
    const patched = batches
      .flat()
      .flatMap((op) => ('layer' in op && leafOf(op) !== undefined ? [[op.layer, leafOf(op)]] : []));
    const leaves = [3, 5, 8].map((each) => 64 * each);
    expect(patched).toEqual(
      leaves.flatMap((leaf) => [
        [2, leaf],
        [1, leaf],
      ]),
    );
  });

  test('of which nothing is there need no batch', async () => {
    await mergeRegions(pool, pair, [region], 'child');
    expect(batches).toEqual([]);
  });
});

test('four words per slot: slot, low and high half of the cluster, owned zeroes', () => {
  const slots = [
    {
      slot: 5,
      entries: [
        { hi: 0, lo: 0x0f },
        { hi: 3, lo: 0x7_00f0 },
      ],
    },
    { slot: 6, entries: [] },
  ];
  expect([...headPatches({ slots, clusters: 0 })]).toEqual([5, 0x7_00f0, 3, 0x0f, 6, 0, 0, 0]);
});
