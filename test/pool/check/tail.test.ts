// Goal: checkpoint plus tail is the same pool wherever the checkpoint was taken, and a lost change is noticed.
// Method: a model of one layer lives through random operations; the pool is written as if the checkpoint had been
//   taken after some of them, the rest is the journal's tail. The check must find nothing, and exactly the bit that
//   is then taken out of a bitmap.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkOffline } from '../../../src/pool/check/check-offline.ts';
import { type BatchOp, encodeBatch } from '../../../src/pool/format/batch.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import {
  deltas,
  type PoolSpec,
  slotDelta,
  soundPool,
  soundVolume,
  writePool,
} from './pool-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-tail-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Operation =
  | { readonly kind: 'write'; readonly slot: number; readonly mask: number }
  | { readonly kind: 'move' | 'trim'; readonly slot: number }
  | { readonly kind: 'clear'; readonly leaf: number };

const slot = fc.integer({ min: 0, max: 255 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      slot,
      mask: fc.integer({ min: 0, max: 0xffff }),
    }),
  },
  fc.record({ kind: fc.constantFrom('move' as const, 'trim' as const), slot }),
  fc.record({ kind: fc.constant('clear' as const), leaf: fc.integer({ min: 0, max: 3 }) }),
);

type Place = readonly [disk: number, cluster: number, mask: number];
type Record = PoolSpec['tail'][number];

/** One layer: where each slot is, and the journal record that every change would leave. */
class Model {
  readonly places = new Map<number, Place>();
  #nextCluster = 210;
  #serial = 0;

  perform(op: Operation): Record {
    if (op.kind === 'clear') return this.#clear(op.leaf);
    const old = this.places.get(op.slot);
    if (op.kind === 'write' && old !== undefined)
      return this.#set(op.slot, [old[0], old[1], op.mask]);
    if (op.kind === 'trim') return this.#set(op.slot, undefined, old);
    this.#nextCluster += 1;
    return this.#set(op.slot, [this.#nextCluster % 2, this.#nextCluster, 1], old);
  }

  #set(slot: number, place: Place | undefined, released?: Place): Record {
    if (place === undefined) this.places.delete(slot);
    else this.places.set(slot, place);
    const state = place === undefined ? ([0, 0] as const) : makeSlot(...place);
    const freed =
      released === undefined ? ([0, 0] as const) : makeSlot(released[0], released[1], 0);
    this.#serial += 1;
    return deltas(this.#serial, slotDelta(slot, state, freed));
  }

  #clear(leaf: number): Record {
    const ops: BatchOp[] = [{ op: 'delete-leaves', layer: 1, firstLeaf: leaf, count: 1 }];
    for (const [slot, [disk, cluster]] of [...this.places]) {
      if (Math.floor(slot / 64) !== leaf) continue;
      ops.push({ op: 'release', disk, firstCluster: cluster, count: 1 });
      this.places.delete(slot);
    }
    return { kind: 2, payload: encodeBatch(ops) };
  }
}

function poolOf(before: readonly Operation[], after: readonly Operation[]): PoolSpec {
  const model = new Model();
  for (const op of before) model.perform(op);
  const owned = [...model.places].sort(([a], [b]) => a - b);
  const spec = soundPool();
  spec.slots = owned.map(([slot, [disk, cluster, mask]]) => [1, slot, disk, cluster, mask]);
  spec.used = owned.map(([, [disk, cluster]]) => [disk, cluster]);
  spec.records = {
    'layer/1': { parent: null },
    'space/1': { clusters: owned.length },
    'volume/1': { ...soundVolume, sizeBytes: 256 * 16384 },
  };
  spec.tail = after.map((op) => model.perform(op));
  return spec;
}

// The sample journal takes 64 records of a page each.
const operations = fc.array(operation, { maxLength: 60 });

test('a checkpoint after any operation makes the same, sound pool', async () => {
  await fc.assert(
    fc.asyncProperty(operations, fc.nat(60), async (ops, cut) => {
      const paths = writePool(folder, poolOf(ops.slice(0, cut), ops.slice(cut)));
      const { findings, recordsChecked } = await checkOffline(paths);
      expect(findings).toEqual([]);
      expect(recordsChecked).toBe(Math.max(0, ops.length - cut));
    }),
    { numRuns: 60 },
  );
});

test('an allocation that the checkpoint lost is noticed', async () => {
  await fc.assert(
    fc.asyncProperty(operations, fc.nat(), async (ops, victim) => {
      const spec = poolOf(ops, []);
      fc.pre(spec.used.length > 0);
      spec.used.splice(victim % spec.used.length, 1);
      const { findings } = await checkOffline(writePool(folder, spec));
      expect(findings.map(({ code }) => code)).toEqual(['allocator/free']);
    }),
    { numRuns: 30 },
  );
});
