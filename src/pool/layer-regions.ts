/**
 * Which leaves of a layer are in LevelDB, remembered by region, so that a deep chain is not asked layer by layer for what most do not have.
 *
 * Learned stretch by stretch, as far as somebody asks, so that the first answer takes the same time at any size of the layer.
 * Only what is stored: the overlay is asked by whoever reads. What a fold wrote is forgotten, so a memory is as good as LevelDB was when it was
 * made: readers that see a fold end while they read start again.
 */
import { leavesPerRegion } from '../base/units.ts';
import { leafKey, parseIndexKey } from './format/index-keys.ts';
import type { IndexStore } from './index-store.ts';

/** About 16 MiB of remembered regions. */
const regionsKeptMax = 2 ** 21;
/** A layer's first stretch is short, each that follows twice as long: few keys for who asks once, few steps for who asks on. */
const keysPerStepMin = 128;
const keysPerStepMax = 4096;

/** All that is stored of a layer's leaves [from, end), which are whole regions. */
interface Stretch {
  readonly from: number;
  readonly end: number;
  /** The first leaf of each region that has any, ascending. */
  readonly firsts: Float64Array;
}

export class LayerRegions {
  readonly #store: Pick<IndexStore, 'keys'>;
  /** By layer, ascending; they do not overlap. */
  readonly #known = new Map<number, Stretch[]>();
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
    for (let at = from; ; ) {
      const stretch = this.#stretchAt(layer, at) ?? (await this.#learn(layer, at));
      const next = await this.#nextIn(stretch, layer, at);
      if (next !== undefined) return next;
      if (stretch.end === Number.POSITIVE_INFINITY) return stretch.end;
      at = stretch.end;
    }
  }

  /** @returns undefined when nothing of the stretch is stored at or after `from`, which is in it */
  async #nextIn({ firsts }: Stretch, layer: number, from: number): Promise<number | undefined> {
    const at = countBelow(firsts, (first) => first < from);
    // The region of `from` may begin before it and reach behind it.
    const before = firsts[at - 1];
    if (before === undefined || regionOf(before) !== regionOf(from)) return firsts[at];
    const range = { gte: leafKey(layer, from), lt: leafKey(layer, endOf(from)), limit: 1 };
    const [key] = await this.#store.keys(range);
    return key === undefined ? firsts[at] : leafOf(key);
  }

  #stretchAt(layer: number, leaf: number): Stretch | undefined {
    const known = this.#known.get(layer) ?? [];
    const stretch = known[countBelow(known, ({ from }) => from <= leaf) - 1];
    return stretch !== undefined && leaf < stretch.end ? stretch : undefined;
  }

  /** One step from the region of `leaf` on, as far as the next stretch that is known. */
  async #learn(layer: number, leaf: number): Promise<Stretch> {
    const folds = this.#folds();
    const known = this.#known.get(layer) ?? [];
    const from = regionOf(leaf) * leavesPerRegion;
    const behind = known[countBelow(known, (stretch) => stretch.from <= from)];
    const limit = Math.min(keysPerStepMin * 2 ** known.length, keysPerStepMax);
    const lt = behind === undefined ? leafKey(layer + 1, 0) : leafKey(layer, behind.from);
    const keys = await this.#store.keys({ gte: leafKey(layer, from), lt, limit });
    const firsts: number[] = [];
    for (const found of keys.map(leafOf)) {
      const last = firsts.at(-1);
      if (last === undefined || regionOf(last) !== regionOf(found)) firsts.push(found);
    }
    const last = keys.at(-1);
    // The rest of the last region is of no interest.
    const end =
      last !== undefined && keys.length === limit
        ? endOf(leafOf(last))
        : (behind?.from ?? Number.POSITIVE_INFINITY);
    const stretch = { from, end, firsts: Float64Array.from(firsts) };
    // What a fold wrote meanwhile may be missing, and nobody would say so later.
    if (this.#folds() === folds) this.#remember(layer, stretch);
    return stretch;
  }

  /** Unless somebody else learned some of it meanwhile. */
  #remember(layer: number, stretch: Stretch): void {
    const cost = costOf(stretch);
    for (const oldest of this.#known.keys()) {
      if (this.#kept + cost <= regionsKeptMax) break;
      this.#drop(oldest);
    }
    const known = this.#known.get(layer) ?? [];
    const at = countBelow(known, ({ from }) => from < stretch.from);
    const isFree =
      (known[at - 1]?.end ?? 0) <= stretch.from &&
      stretch.end <= (known[at]?.from ?? Number.POSITIVE_INFINITY);
    if (!isFree) return;
    known.splice(at, 0, stretch);
    this.#known.set(layer, known);
    this.#kept += cost;
  }

  #drop(layer: number): void {
    for (const stretch of this.#known.get(layer) ?? []) this.#kept -= costOf(stretch);
    this.#known.delete(layer);
  }
}

/** In regions; a stretch costs something, be it empty. */
function costOf({ firsts }: Stretch): number {
  return firsts.length + 8;
}

function regionOf(leaf: number): number {
  return Math.floor(leaf / leavesPerRegion);
}

/** Of the leaf's region. */
function endOf(leaf: number): number {
  return (regionOf(leaf) + 1) * leavesPerRegion;
}

function leafOf(key: Uint8Array): number {
  const parsed = parseIndexKey(key);
  return parsed.kind === 'leaf' ? parsed.leaf : Number.POSITIVE_INFINITY;
}

/** How many elements, which come first, are below what is looked for. */
function countBelow<T>(sorted: ArrayLike<T>, isBelow: (element: T) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBelow(sorted[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}
