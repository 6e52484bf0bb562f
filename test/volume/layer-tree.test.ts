// Goal: a tree says what its records say: who reads through whom, who is named, who is alive, how it may shrink; a pool's tree is never a stale one.
// Method: arbitrary forests against answers found by brute force; one pool whose records change in each way.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import type { Pool } from '../../src/pool/pool.ts';
import {
  bookmarkOp,
  deleteSnapshotOp,
  snapshotOp,
  snapshotRecords,
} from '../../src/snapshot/records.ts';
import type { SnapshotRecord } from '../../src/snapshot/types.ts';
import { LayerTree, type TreeRecords } from '../../src/volume/layer-tree.ts';
import {
  deleteBookmarkOp,
  deleteLayerOp,
  deleteVolumeOp,
  layerOp,
  volumeOp,
  volumeRecords,
} from '../../src/volume/records.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';
import { Fixture } from '../pool/fixture.ts';

/** Layers 1 to n, each with an older one as parent or none; names on some. */
const forest = fc
  .array(
    fc.record({
      parent: fc.option(fc.nat()),
      name: fc.constantFrom('none', 'none', 'head', 'snapshot', 'bookmark'),
    }),
    { maxLength: 14 },
  )
  .map((specs): TreeRecords => {
    const of = (name: string) =>
      specs.flatMap((spec, at) => (spec.name === name ? [{ id: 100 + at, layer: at + 1 }] : []));
    return {
      layers: specs.map(({ parent }, at) => ({
        id: at + 1,
        parent: parent === null || at === 0 ? null : (parent % at) + 1,
      })),
      volumes: of('head').map(({ id, layer }) => ({ id, headLayer: layer }) as VolumeRecord),
      snapshots: of('snapshot'),
      bookmarks: of('bookmark'),
    };
  });

describe('for any forest', () => {
  test('reading through, children, names and life are as the records have them', () => {
    fc.assert(
      fc.property(forest, (records) => {
        const tree = new LayerTree(records);
        const named = new Set([
          ...records.volumes.map(({ headLayer }) => headLayer),
          ...records.snapshots.map(({ layer }) => layer),
        ]);
        for (const { id, parent } of records.layers) {
          expect(tree.parent(id)).toBe(parent);
          expect(tree.isNamed(id)).toBe(named.has(id));
          const readers = records.layers.filter((other) => tree.chain(other.id).includes(id));
          expect(tree.isAlive(id)).toBe(readers.some((reader) => named.has(reader.id)));
          for (const other of records.layers) {
            expect(tree.readsThrough(other.id, id)).toBe(readers.includes(other));
          }
          const children = records.layers.filter((other) => other.parent === id);
          expect(tree.children(id)).toEqual(children.map((child) => child.id));
        }
      }),
    );
  });

  test('a layer shrinks only where nobody names it and at most one living layer reads through it', () => {
    fc.assert(
      fc.property(forest, (records) => {
        const tree = new LayerTree(records);
        const kinds = new Map(tree.reductions().map((each) => [each.layer, each.kind]));
        for (const { id } of records.layers) {
          const [child, ...others] = tree.children(id);
          const isStaying =
            tree.isNamed(id) || others.length > 0 || (child !== undefined && !tree.isAlive(child));
          const single = () => {
            if (child === undefined) return 'reap';
            if (tree.bookmarksOn(id).length > 0) return 'prune';
            return tree.headOf(child) === undefined ? 'merge' : 'absorb';
          };
          expect(kinds.get(id)).toBe(isStaying ? undefined : single());
        }
      }),
    );
  });
});

describe('the tree of a pool', () => {
  const [base, head] = [1, 2];
  let fixture: Fixture;
  let pool: Pool;

  beforeAll(async () => {
    fixture = await Fixture.open();
    await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`], {});
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
    await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
    pool = fixture.pools.get('p');
  });
  afterAll(async () => {
    await fixture.close();
  });

  /** Nothing else happens meanwhile. */
  function changed(ops: readonly BatchOp[], look: (tree: LayerTree) => unknown): Promise<unknown> {
    return fixture.volumes.exclusively(pool, async () => {
      const before = LayerTree.of(pool);
      await pool.commit(ops);
      expect(LayerTree.of(pool)).not.toBe(before);
      return look(LayerTree.of(pool));
    });
  }

  test('is the same one when data is written', async () => {
    const { plane, close } = await fixture.volumes.open('v');
    const before = LayerTree.of(pool);
    await plane.write(0, new Uint8Array(4096));
    await plane.flush();
    await close();
    expect(LayerTree.of(pool)).toBe(before);
  });

  test('is another one when any of its records comes, changes or goes', async () => {
    const [volume] = volumeRecords(pool) as [VolumeRecord];
    const [snapshot] = snapshotRecords(pool) as [SnapshotRecord];
    const snapshotsOnBase = (tree: LayerTree) => tree.snapshotsOn(base);
    expect(await changed([deleteSnapshotOp(snapshot.id)], snapshotsOnBase)).toEqual([]);
    expect(await changed([snapshotOp(snapshot)], snapshotsOnBase)).toEqual([snapshot.id]);
    const bookmarksOnBase = (tree: LayerTree) => tree.bookmarksOn(base);
    expect(await changed([bookmarkOp({ ...snapshot, id: 7 })], bookmarksOnBase)).toEqual([7]);
    expect(await changed([deleteBookmarkOp(7)], bookmarksOnBase)).toEqual([]);
    const children = (tree: LayerTree) => tree.children(base);
    const third = { id: 3, parent: base };
    expect(await changed([layerOp(third)], children)).toEqual([head, 3]);
    const headOfThird = (tree: LayerTree) => tree.headOf(3)?.id;
    const other = { ...volume, id: 9, name: 'w', headLayer: 3 };
    expect(await changed([volumeOp(other)], headOfThird)).toBe(9);
    expect(await changed([deleteVolumeOp(9)], headOfThird)).toBeUndefined();
    expect(await changed([deleteLayerOp(3)], children)).toEqual([head]);
  });
});

describe('a layer of an adopted disk', () => {
  const head = { id: 9, headLayer: 2 } as VolumeRecord;
  const none = { snapshots: [], bookmarks: [] };
  const base = { id: 1, parent: null, foreign: 254 };

  test('becomes one with nobody: a head would overwrite what it takes over', () => {
    const layers = [base, { id: 2, parent: 1 }];
    expect(new LayerTree({ layers, volumes: [head], ...none }).reductionOf(1)).toBeUndefined();
    const own = [
      { id: 1, parent: null },
      { id: 2, parent: 1 },
    ];
    const tree = new LayerTree({ layers: own, volumes: [head], ...none });
    expect(tree.reductionOf(1)?.kind).toBe('absorb');
  });

  test('is kept while it is being made, and goes when it is not and nobody reads it', () => {
    const made = new LayerTree({ layers: [{ ...base, adopting: true }], volumes: [], ...none });
    expect([made.reductionOf(1), made.isAlive(1)]).toEqual([undefined, true]);
    const left = new LayerTree({ layers: [base], volumes: [], ...none });
    expect(left.reductionOf(1)).toEqual({ kind: 'reap', layer: 1 });
  });
});
