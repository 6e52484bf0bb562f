/**
 * How many clusters a disk has at least that is not there: as many as the pool's maps need it to have.
 */

import { decodeBatch } from './format/batch.ts';
import { forEachDelta } from './format/delta.ts';
import { allocatorKey, clustersPerChunk, parseIndexKey } from './format/index-keys.ts';
import { decodeDeltasPayload, type JournalRecord, recordKind } from './format/journal-record.ts';
import { slotCluster, slotDisk } from './format/slot.ts';
import type { IndexStore } from './index-store.ts';

export class MissingSpace {
  readonly #counts = new Map<number, number>();

  /** Whole chunks of a bitmap, of the disk of that number. */
  clusterCount(disk: number): number {
    const chunks = Math.ceil((this.#counts.get(disk) ?? 1) / clustersPerChunk);
    return chunks * clustersPerChunk;
  }

  /** What the index has on record. */
  async addIndex(store: IndexStore): Promise<void> {
    const range = { gte: allocatorKey(0, 0), lt: allocatorKey(255, 0) };
    for await (const { key } of store.entries(range)) {
      const parsed = parseIndexKey(key);
      if (parsed.kind === 'allocator') {
        this.#needs(parsed.disk, (parsed.chunk + 1) * clustersPerChunk);
      }
    }
  }

  /** What a record of the journal changes. */
  addRecord({ kind, payload }: JournalRecord): void {
    if (kind === recordKind.batch) {
      for (const op of decodeBatch(payload)) {
        if (op.op === 'acquire' || op.op === 'release') {
          this.#needs(op.disk, op.firstCluster + op.count);
        }
      }
      return;
    }
    forEachDelta(decodeDeltasPayload(payload).deltas, (delta) => {
      const { stateHi, stateLo, releasedHi, releasedLo } = delta;
      this.#needs(slotDisk(stateHi), slotCluster(stateHi, stateLo) + 1);
      this.#needs(slotDisk(releasedHi), slotCluster(releasedHi, releasedLo) + 1);
    });
  }

  #needs(disk: number, clusterCount: number): void {
    this.#counts.set(disk, Math.max(this.#counts.get(disk) ?? 0, clusterCount));
  }
}
