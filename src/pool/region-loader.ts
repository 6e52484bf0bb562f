/**
 * Loads one open volume's map into the data plane, region by region.
 *
 * Asked for a region it answers with the newest durable state; in the background it goes ahead of the guest, so that hits
 * need no JavaScript. It goes ahead only where the data plane was told nothing yet: whatever it knows
 * or once knew, it may have changed since. What an answer says of the chain, and of clusters on the move, is what holds at the moment in which it is
 * installed: resolving and installing are one synchronous step.
 */

import { yieldToOthers } from '../base/clock.ts';
import { leavesPerRegion, slotsPerRegion } from '../base/units.ts';
import type { RegionAnswer } from '../dataplane/binding.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { Damage } from './damage.ts';
import type { PendingMoves } from './pending-moves.ts';
import type { ChainRegion, PoolIndex } from './pool-index.ts';
import { resolve, resolveUnder } from './resolve.ts';

/** 256 GiB of a volume at the default cluster size; about 32 MiB of page table. */
const regionsAhead = 1024;

const nothingOwned = new Uint32Array(2 * slotsPerRegion);

export interface RegionLoaderParts {
  readonly index: PoolIndex;
  readonly plane: VolumePlane;
  /** The layers that it shows, the uppermost first, now. */
  readonly chain: () => readonly number[];
  /** The first of them is the volume's own; otherwise all is inherited. */
  readonly ownsHead: boolean;
  readonly moves: PendingMoves;
  /** Of the pool, now. */
  readonly damage: () => Damage;
  /** Regions of the volume at its present size. */
  readonly regionCount: () => number;
  /** The index could not be read. */
  readonly onDamage: (error: unknown) => void;
}

export class RegionLoader {
  readonly #parts: RegionLoaderParts;
  readonly #loading = new Map<number, Promise<void>>();
  readonly #told = new Set<number>();
  readonly #toldEmpty: { readonly from: number; readonly through: number }[] = [];
  #ahead: Promise<void> = Promise.resolve();
  #stopped = false;
  #closed = false;

  constructor(parts: RegionLoaderParts) {
    this.#parts = parts;
  }

  /** Answers the data plane; never rejects. Asked twice at once, it reads once. */
  load(region: number): Promise<void> {
    const loading = this.#loading.get(region);
    if (loading !== undefined) return loading;
    const work = this.#install(region).finally(() => this.#loading.delete(region));
    this.#loading.set(region, work);
    return work;
  }

  /** Begins to install regions that hold something, in order, until enough or all are known. */
  startAhead(): void {
    this.#ahead = this.#loadAhead();
  }

  /** Goes no further ahead; what the data plane asks for is still answered. */
  async stopAhead(): Promise<void> {
    this.#stopped = true;
    await this.#ahead;
  }

  /** The data plane has let go of the volume: nothing is said to it any more, and in the end nothing is read for it any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#loading.values());
  }

  async #loadAhead(): Promise<void> {
    const { index, chain, onDamage } = this.#parts;
    let region = 0;
    try {
      for (let loaded = 0; loaded < regionsAhead && !this.#stopped; loaded++) {
        const leaf = await index.nextLeaf(chain(), region * leavesPerRegion);
        if (leaf === Number.POSITIVE_INFINITY) return;
        region = Math.floor(leaf / leavesPerRegion);
        if (!this.#wasTold(region)) await this.load(region);
        await yieldToOthers();
        region += 1;
      }
    } catch (error) {
      onDamage(error);
    }
  }

  async #install(region: number): Promise<void> {
    const { index, plane, chain, onDamage } = this.#parts;
    try {
      const found = await index.readChainRegion(chain, region);
      if (this.#closed) return;
      const emptyThrough = this.#emptyThrough(region, found.nextLeaf);
      plane.installRegion(region, this.#answer(region, found, emptyThrough));
      this.#told.add(region);
      if (emptyThrough > region) this.#toldEmpty.push({ from: region + 1, through: emptyThrough });
    } catch (error) {
      if (!this.#closed) plane.regionFailed(region);
      onDamage(error);
    }
  }

  #answer(region: number, found: ChainRegion, emptyThrough: number): RegionAnswer {
    const { ownsHead, moves } = this.#parts;
    const damage = this.#parts.damage();
    // Nothing that a head owns is damaged.
    const own = ownsHead ? found.stack[0] : undefined;
    const layers = ownsHead ? found.stack.slice(1) : found.stack;
    const shown = layers.map((states) => damage.shown(states));
    const below = own === undefined ? resolve(shown) : resolveUnder(own, shown);
    moves.applyTo(region * slotsPerRegion, below);
    return {
      own: own?.words ?? nothingOwned,
      zeros: own?.zeros ?? null,
      ...below,
      emptyThrough,
      sequence: found.sequence,
    };
  }

  #emptyThrough(region: number, nextLeaf: number): number {
    const last = this.#parts.regionCount() - 1;
    const next = Math.floor(nextLeaf / leavesPerRegion);
    return Math.max(region, Math.min(last, next - 1));
  }

  #wasTold(region: number): boolean {
    if (this.#told.has(region)) return true;
    return this.#toldEmpty.some(({ from, through }) => region >= from && region <= through);
  }
}
