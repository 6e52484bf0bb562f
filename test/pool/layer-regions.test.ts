/**
 * Goal: what is remembered of a layer's leaves is what the index has, whatever was asked in which order; and the first answer costs the same
 *   however many leaves there are, so that a pool of any size is opened in the same time.
 * Method: random questions, folds and forgetting against a sorted list; a store that counts the keys it gives.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { leafKey, parseIndexKey } from '../../src/pool/format/index-keys.ts';
import type { IndexRange } from '../../src/pool/index-store.ts';
import { LayerRegions } from '../../src/pool/layer-regions.ts';

/** The leaves of two layers. */
class Leaves {
  readonly #byLayer = new Map<number, number[]>();
  given = 0;

  set(layer: number, leaves: Iterable<number>): void {
    const known = new Set([...(this.#byLayer.get(layer) ?? []), ...leaves]);
    this.#byLayer.set(
      layer,
      [...known].sort((a, b) => a - b),
    );
  }

  next(layer: number, from: number): number {
    const leaves = this.#byLayer.get(layer) ?? [];
    return leaves.find((leaf) => leaf >= from) ?? Number.POSITIVE_INFINITY;
  }

  async keys({ gte, lt, limit }: IndexRange): Promise<Uint8Array[]> {
    const keys = [...this.#byLayer].flatMap(([layer, leaves]) =>
      leaves.filter((leaf) => isWithin(layer, leaf, gte, lt)).map((leaf) => leafKey(layer, leaf)),
    );
    const given = keys.slice(0, limit);
    this.given += given.length;
    return given;
  }
}

function isWithin(layer: number, leaf: number, gte: Uint8Array, lt: Uint8Array): boolean {
  const [low, high] = [parseIndexKey(gte), parseIndexKey(lt)];
  if (low.kind !== 'leaf' || high.kind !== 'leaf') throw new Error('leaves are asked for');
  const isFrom = layer > low.layer || (layer === low.layer && leaf >= low.leaf);
  return isFrom && (layer < high.layer || (layer === high.layer && leaf < high.leaf));
}

const leavesMax = 40_000;
const layer = fc.integer({ min: 1, max: 2 });
const leaf = fc.nat({ max: leavesMax });
/** Sparse, or dense runs. */
const leaves = fc.oneof(
  fc.array(leaf, { maxLength: 20 }),
  fc
    .record({ first: leaf, count: fc.nat({ max: 3000 }) })
    .map(({ first, count }) => Array.from({ length: count }, (_, at) => first + at)),
);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ ask: layer, from: leaf }) },
  { weight: 1, arbitrary: fc.record({ fold: layer, leaves }) },
);

describe('what is stored of layers', () => {
  test('is found from wherever it is asked for', async () => {
    await fc.assert(
      fc.asyncProperty(leaves, leaves, fc.array(step, { maxLength: 60 }), async (a, b, steps) => {
        const store = new Leaves();
        store.set(1, a);
        store.set(2, b);
        let folds = 0;
        const regions = new LayerRegions(store, () => folds);
        for (const each of steps) {
          if ('fold' in each) {
            store.set(each.fold, each.leaves);
            regions.forget([each.fold]);
            folds += 1;
          } else {
            const found = await regions.nextStored(each.ask, each.from);
            expect(found).toBe(store.next(each.ask, each.from));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('is found by many who ask at once', async () => {
    const store = new Leaves();
    store.set(
      1,
      Array.from({ length: 5000 }, (_, at) => 3 * at),
    );
    const regions = new LayerRegions(store, () => 0);
    const asked = Array.from({ length: 100 }, (_, at) => (at * 7919) % 16_000);
    const found = await Promise.all(asked.map((from) => regions.nextStored(1, from)));
    expect(found).toEqual(asked.map((from) => store.next(1, from)));
    const again = await Promise.all(asked.map((from) => regions.nextStored(1, from)));
    expect(again).toEqual(found);
  });

  test.each([1000, 40_000])('costs the first who asks the same among %d leaves', async (count) => {
    const store = new Leaves();
    store.set(
      1,
      Array.from({ length: count }, (_, at) => at),
    );
    const regions = new LayerRegions(store, () => 0);
    expect(await regions.nextStored(1, 0)).toBe(0);
    expect(await regions.nextStored(1, count - 1)).toBe(count - 1);
    expect(store.given).toBeLessThan(400);
  });

  test('is learned once by who goes through all of it', async () => {
    const store = new Leaves();
    store.set(
      1,
      Array.from({ length: leavesMax }, (_, at) => at),
    );
    const regions = new LayerRegions(store, () => 0);
    for (let from = 0; from < leavesMax; from += 64) await regions.nextStored(1, from);
    const { given } = store;
    expect(given).toBeLessThan(1.2 * leavesMax);
    for (let from = 0; from < leavesMax; from += 64) await regions.nextStored(1, from);
    expect(store.given).toBe(given);
  });

  test('is forgotten when a fold has written to the layer while it was read', async () => {
    const store = new Leaves();
    let folds = 0;
    const regions = new LayerRegions(store, () => folds);
    const reading = regions.nextStored(1, 0);
    store.set(1, [5]);
    folds += 1;
    await reading;
    expect(await regions.nextStored(1, 0)).toBe(5);
  });
});
