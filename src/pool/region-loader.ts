/**
 * Loads one open volume's map into the data plane, region by region.
 *
 * Asked for a region it answers with the newest durable state; in the background it goes ahead of the guest, so that hits
 * need no JavaScript. It goes ahead only where the data plane was told nothing yet: whatever it knows
 * or once knew, it may have changed since.
 */

import { yieldToOthers } from '../base/clock.ts';
import { leavesPerRegion } from '../base/units.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { PoolIndex } from './pool-index.ts';

/** 256 GiB of a volume at the default cluster size; about 32 MiB of page table. */
const regionsAhead = 1024;

export interface RegionLoaderParts {
  readonly index: PoolIndex;
  readonly plane: VolumePlane;
  readonly layer: number;
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

  /** The data plane has let go of the volume: nothing is said to it any more. */
  close(): void {
    this.#closed = true;
  }

  async #loadAhead(): Promise<void> {
    const { index, layer, onDamage } = this.#parts;
    let region = 0;
    try {
      for (let loaded = 0; loaded < regionsAhead && !this.#stopped; loaded++) {
        const leaf = await index.nextLeaf(layer, region * leavesPerRegion);
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
    const { index, plane, layer, onDamage } = this.#parts;
    try {
      const { states, nextLeaf, sequence } = await index.readRegion(layer, region);
      if (this.#closed) return;
      const emptyThrough = this.#emptyThrough(region, nextLeaf);
      plane.installRegion(region, { states, emptyThrough, sequence });
      this.#told.add(region);
      if (emptyThrough > region) this.#toldEmpty.push({ from: region + 1, through: emptyThrough });
    } catch (error) {
      if (!this.#closed) plane.regionFailed(region);
      onDamage(error);
    }
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
