// Goal: plans become operations that say exactly what they planned; batches hold whole leaves, in order, and are as few as fit.
// Method: examples of changes and releases; arbitrary groups packed, against what went in and the limit.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BatchOp, batchBytes, packed } from '../../src/pool/format/batch.ts';
import { changeOps, releaseOps } from '../../src/snapshot/plan-ops.ts';

describe('a change of one leaf', () => {
  const change = {
    slots: [
      {
        slot: 1,
        entries: [
          { hi: 0, lo: 0x20001 },
          { hi: 0, lo: 0x2 },
          { hi: 1, lo: 0x4 },
        ],
      },
      { slot: 3, entries: [] },
    ],
    clusters: -2,
  };

  test('patches it by slots of the leaf, in the order of addresses; an emptied slot is one of nothing', () => {
    expect(changeOps({ layer: 7, firstSlot: 128 }, change)).toEqual([
      {
        op: 'patch',
        layer: 7,
        leaf: 2,
        entries: [
          { slot: 1, hi: 0, lo: 0x2 },
          { slot: 1, hi: 0, lo: 0x20001 },
          { slot: 1, hi: 1, lo: 0x4 },
          { slot: 3, hi: 0, lo: 0 },
        ],
      },
      { op: 'count', layer: 7, change: -2 },
    ]);
  });

  test('counts only what changes', () => {
    const ops = changeOps({ layer: 7, firstSlot: 0 }, { ...change, clusters: 0 });
    expect(ops.map(({ op }) => op)).toEqual(['patch']);
  });

  test('of nothing is nothing', () => {
    expect(changeOps({ layer: 7, firstSlot: 0 }, { slots: [], clusters: 0 })).toEqual([]);
  });

  test('behind the first leaf of its states is in a later one', () => {
    const slots = [{ slot: 64 + 5, entries: [{ hi: 0, lo: 1 }] }];
    expect(changeOps({ layer: 1, firstSlot: 4096 }, { slots, clusters: 0 })).toMatchObject([
      { leaf: 65, entries: [{ slot: 5 }] },
    ]);
  });
});

test('what is released comes in runs, by disk', () => {
  const released = [
    { disk: 1, cluster: 5 },
    { disk: 0, cluster: 9 },
    { disk: 1, cluster: 4 },
    { disk: 0, cluster: 7 },
  ];
  expect(releaseOps({ released })).toEqual([
    { op: 'release', disk: 0, firstCluster: 7, count: 1 },
    { op: 'release', disk: 0, firstCluster: 9, count: 1 },
    { op: 'release', disk: 1, firstCluster: 4, count: 2 },
  ]);
});

const group = fc.array(
  fc
    .record({ layer: fc.nat(), change: fc.integer() })
    .map((count): BatchOp => ({ op: 'count', ...count })),
  { maxLength: 6 },
);

test('packing keeps order and groups, fills each batch, and passes the limit for a single group only', () => {
  fc.assert(
    fc.property(
      fc.array(group, { maxLength: 30 }),
      fc.integer({ min: 1, max: 300 }),
      (groups, bytesMax) => {
        const batches = packed(groups, bytesMax);
        expect(batches.flat()).toEqual(groups.flat());
        const starts = new Set(groups.map(([first]) => first));
        for (const [at, batch] of batches.entries()) {
          expect(starts.has(batch[0])).toBe(true);
          const groupsIn = groups.filter(([first]) => first !== undefined && batch.includes(first));
          if (groupsIn.length > 1) expect(batchBytes(batch)).toBeLessThanOrEqual(bytesMax);
          const next = groups.find(
            ([first]) => first !== undefined && first === batches[at + 1]?.[0],
          );
          if (next !== undefined) expect(batchBytes([...batch, ...next])).toBeGreaterThan(bytesMax);
        }
      },
    ),
  );
});
