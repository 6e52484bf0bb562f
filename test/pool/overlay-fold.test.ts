/**
 * Goal: index below, frozen and current generation above always read as one map, whatever was folded when, and a fold
 *   that ends anywhere can be done again.
 * Method: random deltas, deletions and folds against a plain Map; the store fails at every write in turn.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FoldTarget, fold } from '../../src/pool/fold.ts';
import { leafKey, parseIndexKey } from '../../src/pool/format/index-keys.ts';
import { decodeLeaf, type LeafEntry } from '../../src/pool/format/leaf.ts';
import { isSealable, type LeafSeal, type Seal } from '../../src/pool/format/seal.ts';
import { slotHasAddress } from '../../src/pool/format/slot.ts';
import { type SlotEntry, SlotStates } from '../../src/pool/format/slot-states.ts';
import type { IndexChange, IndexRange } from '../../src/pool/index-store.ts';
import { bySlot, Overlay } from '../../src/pool/overlay.ts';
import type { Frozen } from '../../src/pool/pool-state.ts';
import { hashWords, leafContent, slotContent, statesOf } from './format/slot-samples.ts';

class PowerCut extends Error {}

/** A sorted map of keys that fails at a chosen write. */
class MemoryStore implements FoldTarget {
  readonly #values = new Map<string, Uint8Array>();
  writesLeft = Number.POSITIVE_INFINITY;

  async getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.#values.get(hex(key)));
  }

  async keys({ gte, lt, limit }: IndexRange): Promise<Uint8Array[]> {
    const from = hex(gte);
    const to = hex(lt);
    const keys = [...this.#values.keys()].filter((key) => key >= from && key < to).sort();
    return keys.slice(0, limit).map((key) => Uint8Array.from(Buffer.from(key, 'hex')));
  }

  async write(changes: readonly IndexChange[]): Promise<void> {
    if (this.writesLeft-- <= 0) throw new PowerCut();
    for (const { key, value } of changes) {
      if (value === null) this.#values.delete(hex(key));
      else this.#values.set(hex(key), value);
    }
  }

  readLeaf(layer: number, leaf: number, into: SlotStates): void {
    const value = this.#values.get(hex(leafKey(layer, leaf)));
    if (value !== undefined) decodeLeaf(value, into);
  }

  get leafCount(): number {
    return [...this.#values.keys()].filter(
      (key) => parseIndexKey(Buffer.from(key, 'hex')).kind === 'leaf',
    ).length;
  }
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}

const layers = 2;
const leaves = 6;

/** At most one cluster: what a delta can say. */
function isHeads(content: readonly SlotEntry[]): boolean {
  return content.filter(({ hi, lo }) => slotHasAddress(hi, lo)).length <= 1;
}

/** As a patch has them: canonical, and a slot that becomes empty once. */
function patchOf(
  contents: readonly { slot: number; content: readonly SlotEntry[] }[],
): LeafEntry[] {
  const states = statesOf(64, contents);
  return [...contents]
    .sort((a, b) => a.slot - b.slot)
    .flatMap(({ slot }) => {
      const entries = states.entries(slot);
      return (entries.length === 0 ? [{ hi: 0, lo: 0 }] : entries).map((entry) => ({
        slot,
        ...entry,
      }));
    });
}

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      layer: fc.integer({ min: 1, max: layers }),
      slot: fc.integer({ min: 0, max: leaves * 64 - 1 }),
      content: slotContent.filter((content) => content.length <= 2 && isHeads(content)),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('patch' as const),
      layer: fc.integer({ min: 1, max: layers }),
      leaf: fc.integer({ min: 0, max: leaves - 1 }),
      contents: leafContent,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('seal' as const),
      layer: fc.integer({ min: 1, max: layers }),
      leaf: fc.integer({ min: 0, max: leaves - 1 }),
      hash: hashWords,
      /** Of another content than the slot has: void. */
      isStale: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('clear' as const),
      layer: fc.integer({ min: 1, max: layers }),
      firstLeaf: fc.integer({ min: 0, max: leaves - 1 }),
      count: fc.integer({ min: 1, max: leaves }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('fold' as const), failAt: fc.nat({ max: 6 }) }),
  },
);

/** The subject and its model, moved together. */
class Run {
  readonly overlay = new Overlay();
  readonly store = new MemoryStore();
  readonly model = new Map<string, readonly SlotEntry[]>();
  readonly #sealed = new Map<string, Seal[]>();
  #frozen: Frozen | undefined;

  set(layer: number, slot: number, content: readonly SlotEntry[]): void {
    const states = statesOf(1, [{ slot: 0, content }]);
    const [lo, hi] = [states.lo(0), states.hi(0)];
    this.overlay.current.setSlot(layer, slot, lo, hi, states.zero(0));
    this.#model(layer, slot, states.entries(0));
  }

  patch(layer: number, leaf: number, entries: readonly LeafEntry[]): void {
    this.overlay.current.patch(layer, leaf, entries);
    for (const [slot, content] of bySlot(entries)) this.#model(layer, 64 * leaf + slot, content);
  }

  #model(layer: number, slot: number, content: readonly SlotEntry[]): void {
    this.#sealed.delete(`${layer}/${slot}`);
    if (content.length === 0) this.model.delete(`${layer}/${slot}`);
    else this.model.set(`${layer}/${slot}`, content);
  }

  clear(layer: number, firstLeaf: number, count: number): void {
    this.overlay.current.clearLeaves(layer, { firstLeaf, count });
    for (let slot = firstLeaf * 64; slot < (firstLeaf + count) * 64; slot++) {
      this.model.delete(`${layer}/${slot}`);
      this.#sealed.delete(`${layer}/${slot}`);
    }
  }

  /** The first cluster of every slot of a leaf; stale: with another mask. */
  seal(layer: number, leaf: number, hash: Pick<Seal, 'hashHi' | 'hashLo'>, isStale: boolean): void {
    const seals: LeafSeal[] = [];
    for (let slot = 0; slot < 64; slot++) {
      const name = `${layer}/${64 * leaf + slot}`;
      const entry = this.model.get(name)?.find(isSealable);
      if (entry === undefined) continue;
      const lo = isStale ? (entry.lo ^ 1) >>> 0 : entry.lo;
      if (!isSealable({ hi: entry.hi, lo })) continue;
      seals.push({ slot, hi: entry.hi, lo, ...hash });
      if (isStale) continue;
      const others = this.#sealed
        .get(name)
        ?.filter((known) => known.lo !== lo || known.hi !== entry.hi);
      this.#sealed.set(name, [...(others ?? []), { hi: entry.hi, lo, ...hash }]);
    }
    this.overlay.current.seal(layer, leaf, seals);
  }

  freeze(): void {
    if (this.#frozen !== undefined) return;
    const applied = { poolUuid: '', epoch: 0, serial: 0, sequence: 0, position: 0 };
    this.#frozen = { generation: this.overlay.freeze(), trailer: [], applied };
  }

  /** Folds what is frozen; cut off after `failAt` writes it stays frozen. */
  async fold(failAt: number): Promise<void> {
    if (this.#frozen === undefined) return;
    this.store.writesLeft = failAt;
    try {
      await fold(this.store, this.#frozen);
      this.overlay.settle();
      this.#frozen = undefined;
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
    } finally {
      this.store.writesLeft = Number.POSITIVE_INFINITY;
    }
  }

  expectEqual(): void {
    for (let layer = 1; layer <= layers; layer++) {
      for (let leaf = 0; leaf < leaves; leaf++) this.#expectLeaf(layer, leaf);
    }
  }

  #expectLeaf(layer: number, leaf: number): void {
    const states = new SlotStates(64).keepSeals();
    this.store.readLeaf(layer, leaf, states);
    this.overlay.mergeInto(layer, leaf, states, 0);
    for (let slot = 0; slot < 64; slot++) {
      const expected = this.model.get(`${layer}/${leaf * 64 + slot}`) ?? [];
      const where = `layer ${layer} leaf ${leaf} slot ${slot}`;
      expect(states.entries(slot), where).toEqual(expected);
      const seals = this.#sealed.get(`${layer}/${leaf * 64 + slot}`) ?? [];
      if (seals.length + states.seals(slot).length > 0) {
        expect(states.seals(slot), where).toEqual(seals);
      }
    }
  }
}

describe('overlay and fold', () => {
  test('read as one map at every moment', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const run = new Run();
        for (const next of steps) {
          if (next.kind === 'set') run.set(next.layer, next.slot, next.content);
          if (next.kind === 'patch') run.patch(next.layer, next.leaf, patchOf(next.contents));
          if (next.kind === 'seal') run.seal(next.layer, next.leaf, next.hash, next.isStale);
          if (next.kind === 'clear') run.clear(next.layer, next.firstLeaf, next.count);
          if (next.kind === 'freeze') run.freeze();
          if (next.kind === 'fold') await run.fold(next.failAt);
          if (next.kind !== 'set' && next.kind !== 'seal') run.expectEqual();
        }
        run.expectEqual();
        await run.fold(Number.POSITIVE_INFINITY);
        run.freeze();
        await run.fold(Number.POSITIVE_INFINITY);
        run.expectEqual();
        const stored = new Set([...run.model.keys()].map(leafOfSlot));
        expect(run.store.leafCount).toBe(stored.size);
      }),
      { numRuns: 200 },
    );
  });

  test('the next changed leaf is found in both generations', () => {
    const overlay = new Overlay();
    overlay.current.setSlot(1, 64 * 9, 1, 1, 0);
    overlay.freeze();
    overlay.current.setSlot(1, 64 * 4, 1, 1, 0);
    expect(overlay.nextLeaf(1, 0)).toBe(4);
    expect(overlay.nextLeaf(1, 5)).toBe(9);
    expect(overlay.nextLeaf(1, 10)).toBe(Number.POSITIVE_INFINITY);
    expect(overlay.nextLeaf(2, 0)).toBe(Number.POSITIVE_INFINITY);
  });

  test('slots beyond 32 bits keep their place', () => {
    const overlay = new Overlay();
    const slot = 2 ** 35 + 5;
    overlay.current.setSlot(1, slot, 1, 2, 0);
    const states = new SlotStates(64);
    overlay.mergeInto(1, Math.floor(slot / 64), states, 0);
    expect([states.lo(5), states.hi(5)]).toEqual([1, 2]);
  });
});

function leafOfSlot(name: string): string {
  const [layer, slot] = name.split('/').map(Number);
  return `${layer}/${Math.floor((slot as number) / 64)}`;
}
