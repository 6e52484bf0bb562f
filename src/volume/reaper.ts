/**
 * Reaper: gives back what deleted volumes held, in the background and in bounded steps.
 *
 *   state=deleting → (a few leaves deleted, their clusters released: one batch) … → records deleted
 *
 * Every batch is whole by itself, so a crash at any point leaves less to do; the next opening goes on. Nobody reads or
 * writes a volume that is being deleted.
 */

import { StorageError } from '../base/errors.ts';
import { leavesPerRegion, slotsPerLeaf } from '../base/units.ts';
import { coalesce } from '../pool/allocator.ts';
import type { BatchOp, ClusterRun } from '../pool/format/batch.ts';
import { slotCluster, slotDisk, slotHasAddress } from '../pool/format/slot.ts';
import type { Pool } from '../pool/pool.ts';
import { forgetVolumeOps } from './records.ts';
import type { VolumeRecord } from './types.ts';

/** Of the batch: one release per slot at worst, and the deletion of the leaves. */
const bytesPerLeafMax = 64 * 18;
const bytesPerBatchFixed = 64;

export class Reaper {
  readonly #pool: Pool;
  readonly #onError: (volume: VolumeRecord, error: unknown) => void;
  #work: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(pool: Pool, onError: (volume: VolumeRecord, error: unknown) => void) {
    this.#pool = pool;
    this.#onError = onError;
  }

  /** Empties and forgets the volume once those before it are gone. */
  add(volume: VolumeRecord): void {
    this.#work = this.#work.then(() => this.#reap(volume));
  }

  /** Ends after the batch under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#work;
  }

  async #reap(volume: VolumeRecord): Promise<void> {
    try {
      if (await this.#empty(volume.headLayer)) await this.#pool.commit(forgetVolumeOps(volume));
    } catch (error) {
      const stopping = error instanceof StorageError && error.code === 'service/stopping';
      if (!stopping) this.#onError(volume, error);
    }
  }

  /** @returns false when it was stopped before the end */
  async #empty(layer: number): Promise<boolean> {
    const { index } = this.#pool;
    for (let leaf = 0; !this.#stopped; ) {
      leaf = await index.nextLeaf(layer, leaf);
      if (leaf === Number.POSITIVE_INFINITY) return true;
      const region = Math.floor(leaf / leavesPerRegion);
      const { states } = await index.readRegion(layer, region);
      await this.#deleteLeaves(layer, region, states);
      leaf = (region + 1) * leavesPerRegion;
    }
    return false;
  }

  async #deleteLeaves(layer: number, region: number, states: Uint32Array): Promise<void> {
    const room = Math.floor((this.#pool.batchBytesMax - bytesPerBatchFixed) / bytesPerLeafMax);
    const step = Math.min(room, leavesPerRegion);
    for (let at = 0; at < leavesPerRegion; at += step) {
      const count = Math.min(step, leavesPerRegion - at);
      const words = states.subarray(2 * slotsPerLeaf * at, 2 * slotsPerLeaf * (at + count));
      const firstLeaf = region * leavesPerRegion + at;
      await this.#pool.commit([
        { op: 'delete-leaves', layer, firstLeaf, count },
        ...clusterRuns(words).map((run): BatchOp => ({ op: 'release', ...run })),
      ]);
    }
  }
}

/** The clusters that slots own, in ascending runs. */
export function clusterRuns(states: Uint32Array): ClusterRun[] {
  const owned: { disk: number; cluster: number }[] = [];
  for (let at = 0; at < states.length; at += 2) {
    const lo = states[at] as number;
    const hi = states[at + 1] as number;
    if (slotHasAddress(hi, lo)) owned.push({ disk: slotDisk(hi), cluster: slotCluster(hi, lo) });
  }
  return coalesce(owned);
}
