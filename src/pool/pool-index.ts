/**
 * PoolIndex: the map as a whole, LevelDB below and the overlay above it.
 *
 * A read takes the stored part asynchronously and the overlay at the end, in one synchronous step, so that what it answers is
 * the newest durable state at that moment. A fold that ended meanwhile moved changes from the overlay into LevelDB
 * behind the reader's back: then it reads again.
 */

import { Mutex } from '../base/mutex.ts';
import { leavesPerRegion } from '../base/units.ts';
import { fold } from './fold.ts';
import { leafKey, parseIndexKey } from './format/index-keys.ts';
import { decodeLeaf, leafWords } from './format/leaf.ts';
import type { IndexEntry, IndexSnapshot, IndexStore } from './index-store.ts';
import type { Applied, Frozen, PoolState } from './pool-state.ts';

export interface Region {
  /** Low and high word of each slot's state. */
  readonly states: Uint32Array;
  /** The first leaf behind the region that exists, or Infinity. */
  readonly nextLeaf: number;
  /** Of the newest record that this reflects. */
  readonly sequence: number;
}

export class PoolIndex {
  readonly #folding = new Mutex();
  /** A generation whose fold failed; it is folded again before any other. */
  #unfinished: Frozen | undefined;

  constructor(
    readonly store: IndexStore,
    readonly state: PoolState,
  ) {}

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
  async readRegion(layer: number, region: number): Promise<Region> {
    const first = region * leavesPerRegion;
    const end = first + leavesPerRegion;
    return this.#consistently(
      async () => ({
        entries: await this.store.range({ gte: leafKey(layer, first), lt: leafKey(layer, end) }),
        next: await this.#nextStored(layer, end),
      }),
      ({ entries, next }) => ({
        states: this.#mergeRegion(layer, first, entries),
        nextLeaf: Math.min(next, this.state.overlay.nextLeaf(layer, end)),
        sequence: this.state.applied.sequence,
      }),
    );
  }

  /** The first leaf of the layer at or after `from`, or Infinity. @throws StorageError pool/damaged */
  nextLeaf(layer: number, from: number): Promise<number> {
    return this.#consistently(
      () => this.#nextStored(layer, from),
      (stored) => Math.min(stored, this.state.overlay.nextLeaf(layer, from)),
    );
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
    this.state.overlay.settle();
    this.#unfinished = undefined;
  }

  async #consistently<S, T>(read: () => Promise<S>, merge: (stored: S) => T): Promise<T> {
    for (;;) {
      const { folds } = this.state.overlay;
      const stored = await read();
      if (this.state.overlay.folds === folds) return merge(stored);
    }
  }

  async #nextStored(layer: number, from: number): Promise<number> {
    const range = { gte: leafKey(layer, from), lt: leafKey(layer + 1, 0), limit: 1 };
    const [key] = await this.store.keys(range);
    return key === undefined ? Number.POSITIVE_INFINITY : leafOf(key);
  }

  #mergeRegion(layer: number, first: number, entries: readonly IndexEntry[]): Uint32Array {
    const states = new Uint32Array(leavesPerRegion * leafWords);
    for (const { key, value } of entries) {
      decodeLeaf(value, states, (leafOf(key) - first) * leafWords);
    }
    for (let leaf = 0; leaf < leavesPerRegion; leaf++) {
      this.state.overlay.mergeInto(layer, first + leaf, states, leaf * leafWords);
    }
    return states;
  }
}

function leafOf(key: Uint8Array): number {
  const parsed = parseIndexKey(key);
  return parsed.kind === 'leaf' ? parsed.leaf : Number.POSITIVE_INFINITY;
}
