/**
 * PoolIndex: the map as a whole, LevelDB below and the overlay above it.
 *
 * A read takes the stored part asynchronously and the overlay at the end, in one synchronous step, so that what it answers is
 * the newest durable state at that moment. A fold that ended meanwhile moved changes from the overlay into LevelDB
 * behind the reader's back: then it reads again; so it does when the chain of layers that it reads has changed.
 */

import { Mutex } from '../base/mutex.ts';
import { leavesPerRegion, slotsPerLeaf, slotsPerRegion } from '../base/units.ts';
import { fold } from './fold.ts';
import { leafKey, parseIndexKey } from './format/index-keys.ts';
import { decodeLeaf } from './format/leaf.ts';
import { SlotStates } from './format/slot-states.ts';
import type { IndexEntry, IndexSnapshot, IndexStore } from './index-store.ts';
import { LayerRegions } from './layer-regions.ts';
import type { Applied, Frozen, PoolState } from './pool-state.ts';

export interface Region {
  readonly states: SlotStates;
  /** The first leaf behind the region that exists, or Infinity. */
  readonly nextLeaf: number;
  /** Of the newest record that this reflects. */
  readonly sequence: number;
}

/** One region in every layer of a chain, as of one moment. */
export interface ChainRegion {
  readonly chain: readonly number[];
  /** By layer; those that hold nothing in the region share one. */
  readonly stack: readonly SlotStates[];
  /** The first leaf behind the region that exists in any of them, or Infinity. */
  readonly nextLeaf: number;
  readonly sequence: number;
}

export interface ReadOptions {
  /** Also what clusters hash to. */
  readonly seals?: boolean;
}

/** What layers without anything in a region have there. */
const nothing = new SlotStates(slotsPerRegion);

export class PoolIndex {
  readonly #folding = new Mutex();
  readonly #regions: LayerRegions;
  /** A generation whose fold failed; it is folded again before any other. */
  #unfinished: Frozen | undefined;

  constructor(
    readonly store: IndexStore,
    readonly state: PoolState,
  ) {
    this.#regions = new LayerRegions(store, () => state.overlay.folds);
  }

  /** Everything applied before the call is in LevelDB. @throws StorageError pool/damaged */
  fold(): Promise<void> {
    return this.#folding.run(async () => {
      await this.#foldAll();
    });
  }

  /** The index as of the call, with the position it reflects. Close the snapshot. @throws StorageError pool/damaged */
  foldedSnapshot(): Promise<{ snapshot: IndexSnapshot; applied: Applied }> {
    return this.#folding.run(async () => {
      const applied = await this.#foldAll();
      return { snapshot: this.store.snapshot(), applied };
    });
  }

  /** @throws StorageError pool/damaged */
  async readRegion(layer: number, region: number, options: ReadOptions = {}): Promise<Region> {
    const { stack, nextLeaf, sequence } = await this.readChainRegion(
      () => [layer],
      region,
      options,
    );
    return { states: stack[0] as SlotStates, nextLeaf, sequence };
  }

  /**
   * Every layer of a chain in one region, all as of the same moment.
   *
   * @param chain asked again when everything was read: an answer never mixes two chains
   * @throws StorageError pool/damaged
   */
  async readChainRegion(
    chain: () => readonly number[],
    region: number,
    { seals = false }: ReadOptions = {},
  ): Promise<ChainRegion> {
    const { overlay } = this.state;
    const end = (region + 1) * leavesPerRegion;
    for (;;) {
      const layers = chain();
      const { folds } = overlay;
      const stored = await this.#readStored(layers, region);
      const isSame = overlay.folds === folds && sameLayers(layers, chain());
      if (!isSame) continue;
      const next = layers.map((layer) => overlay.nextLeaf(layer, end));
      return {
        chain: layers,
        stack: layers.map((layer, at) =>
          this.#mergeRegion({ layer, region, seals }, stored.entries[at]),
        ),
        nextLeaf: least([stored.next, ...next]),
        sequence: this.state.applied.sequence,
      };
    }
  }

  /** The first leaf of any of those layers at or after `from`, or Infinity. @throws StorageError pool/damaged */
  async nextLeaf(layers: number | readonly number[], from: number): Promise<number> {
    const { overlay } = this.state;
    const all = typeof layers === 'number' ? [layers] : layers;
    for (;;) {
      const { folds } = overlay;
      const stored: number[] = [];
      for (const layer of all) stored.push(await this.#regions.nextStored(layer, from));
      if (overlay.folds !== folds) continue;
      return least([...stored, ...all.map((layer) => overlay.nextLeaf(layer, from))]);
    }
  }

  async close(): Promise<void> {
    await this.#folding.run(() => this.store.close());
  }

  async #foldAll(): Promise<Applied> {
    if (this.#unfinished !== undefined) await this.#foldOne(this.#unfinished);
    const { state } = this;
    if (state.overlay.current.isEmpty && state.unfoldedBytes === 0) return state.applied;
    const frozen = state.freeze();
    await this.#foldOne(frozen);
    return frozen.applied;
  }

  async #foldOne(frozen: Frozen): Promise<void> {
    this.#unfinished = frozen;
    await fold(this.store, frozen);
    this.#regions.forget(frozen.generation.layers());
    this.state.overlay.settle();
    this.#unfinished = undefined;
  }

  async #readStored(layers: readonly number[], region: number) {
    const first = region * leavesPerRegion;
    const end = first + leavesPerRegion;
    const entries: IndexEntry[][] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const layer of layers) {
      const here = await this.#regions.nextStored(layer, first);
      const range = { gte: leafKey(layer, first), lt: leafKey(layer, end) };
      entries.push(here < end ? await this.store.range(range) : []);
      if (here >= end) next = Math.min(next, here);
      else next = Math.min(next, await this.#regions.nextStored(layer, end));
    }
    return { entries, next };
  }

  #mergeRegion(
    { layer, region, seals }: { layer: number; region: number; seals: boolean },
    entries: readonly IndexEntry[] = [],
  ): SlotStates {
    const { overlay } = this.state;
    const first = region * leavesPerRegion;
    if (entries.length === 0 && !overlay.touches(layer, first, first + leavesPerRegion)) {
      return nothing;
    }
    const states = new SlotStates(slotsPerRegion);
    if (seals) states.keepSeals();
    for (const { key, value } of entries) {
      decodeLeaf(value, states, (leafOf(key) - first) * slotsPerLeaf);
    }
    for (let leaf = 0; leaf < leavesPerRegion; leaf++) {
      overlay.mergeInto(layer, first + leaf, states, leaf * slotsPerLeaf);
    }
    return states;
  }
}

function leafOf(key: Uint8Array): number {
  const parsed = parseIndexKey(key);
  return parsed.kind === 'leaf' ? parsed.leaf : Number.POSITIVE_INFINITY;
}

function sameLayers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((layer, at) => layer === b[at]);
}

function least(leaves: readonly number[]): number {
  return leaves.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}
