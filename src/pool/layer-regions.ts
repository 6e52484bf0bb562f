/**
 * Which leaves of a layer are in LevelDB, remembered by region, so that a deep chain is not asked layer by layer for what most do not have.
 *
 * Only what is stored: the overlay is asked by whoever reads. What a fold wrote is forgotten, so a memory is as good as LevelDB was when it was
 * made: readers that see a fold end while they read start again.
 */
import { leavesPerRegion } from '../base/units.ts';
import { leafKey, parseIndexKey } from './format/index-keys.ts';
import type { IndexStore } from './index-store.ts';

/** About 16 MiB of remembered regions. */
const regionsKeptMax = 2 ** 21;
const keysPerStep = 4096;

export class LayerRegions {
  readonly #store: Pick<IndexStore, 'keys'>;
  /** The first leaf of each region that has any, ascending. */
  readonly #known = new Map<number, Float64Array>();
  readonly #folds: () => number;
  #kept = 0;

  /** @param folds how many have ended */
  constructor(store: Pick<IndexStore, 'keys'>, folds: () => number) {
    this.#store = store;
    this.#folds = folds;
  }

  /** A fold has written to those layers, and is about to be counted. */
  forget(layers: Iterable<number>): void {
    for (const layer of layers) this.#drop(layer);
  }

  /** The first stored leaf at or after `from`, or Infinity; not to be believed when a fold has ended meanwhile. */
  async nextStored(layer: number, from: number): Promise<number> {
    const firsts = this.#known.get(layer) ?? (await this.#learn(layer));
    const at = firstAtOrAfter(firsts, from);
    const next = firsts[at] ?? Number.POSITIVE_INFINITY;
    // The region of `from` may begin before it and reach behind it.
    const before = firsts[at - 1];
    const isSameRegion = before !== undefined && regionOf(before) === regionOf(from);
    if (!isSameRegion) return next;
    const end = (regionOf(from) + 1) * leavesPerRegion;
    const range = { gte: leafKey(layer, from), lt: leafKey(layer, end), limit: 1 };
    const [key] = await this.#store.keys(range);
    return key === undefined ? next : leafOf(key);
  }

  async #learn(layer: number): Promise<Float64Array> {
    const folds = this.#folds();
    const firsts: number[] = [];
    let from = 0;
    for (;;) {
      const range = { gte: leafKey(layer, from), lt: leafKey(layer + 1, 0), limit: keysPerStep };
      const keys = await this.#store.keys(range);
      for (const key of keys) {
        const leaf = leafOf(key);
        const last = firsts.at(-1);
        if (last === undefined || regionOf(last) !== regionOf(leaf)) firsts.push(leaf);
        from = leaf + 1;
      }
      if (keys.length < keysPerStep) break;
      // The rest of the region is of no interest.
      from = (regionOf(from - 1) + 1) * leavesPerRegion;
    }
    const known = Float64Array.from(firsts);
    // What a fold wrote meanwhile may be missing, and nobody would say so later.
    if (this.#folds() === folds) this.#remember(layer, known);
    return known;
  }

  #remember(layer: number, known: Float64Array): void {
    this.#drop(layer);
    for (const oldest of this.#known.keys()) {
      if (this.#kept + known.length <= regionsKeptMax) break;
      this.#drop(oldest);
    }
    this.#known.set(layer, known);
    this.#kept += known.length + 1;
  }

  #drop(layer: number): void {
    const known = this.#known.get(layer);
    if (known === undefined) return;
    this.#known.delete(layer);
    this.#kept -= known.length + 1;
  }
}

function regionOf(leaf: number): number {
  return Math.floor(leaf / leavesPerRegion);
}

function leafOf(key: Uint8Array): number {
  const parsed = parseIndexKey(key);
  return parsed.kind === 'leaf' ? parsed.leaf : Number.POSITIVE_INFINITY;
}

/** Index of the first element not below `value`. */
function firstAtOrAfter(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
