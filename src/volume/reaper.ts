/**
 * Reaper: gives back what layers hold that nobody names and nobody reads through, in the background and in bounded steps.
 *
 *   named by nobody → (a few leaves deleted, their clusters released: one batch) … → its record deleted, its parent looked at
 *
 * An adopted disk that none of the layers left points to is let go. Every batch is whole by itself, so a crash at any point leaves less to do; the next opening goes on.
 */
import { Chore } from '../base/chore.ts';
import { StorageError } from '../base/errors.ts';
import { leavesPerRegion, slotsPerLeaf } from '../base/units.ts';
import { coalesce } from '../pool/allocator.ts';
import type { BatchOp, ClusterRun } from '../pool/format/batch.ts';
import { slotCluster, slotDisk } from '../pool/format/slot.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import { LayerTree } from './layer-tree.ts';
import { deleteBookmarkOp, deleteLayerOp, unreadForeignDisks } from './records.ts';

/** Of the batch: one release per slot and sub-block at worst, but batches that large are cut in two. */
const bytesPerLeafMax = 64 * 18;
const bytesPerBatchFixed = 96;

export class Reaper {
  readonly #pool: Pool;
  readonly #onError: (error: unknown) => void;
  readonly #chore = new Chore(() => this.#reapAll());

  constructor(pool: Pool, onError: (error: unknown) => void) {
    this.#pool = pool;
    this.#onError = onError;
  }

  /** Looks for layers to reap; resolves when there are none left. */
  wake(): Promise<void> {
    return this.#chore.wake();
  }

  /** Ends after the batch under way. */
  stop(): Promise<void> {
    return this.#chore.stop();
  }

  async #reapAll(): Promise<void> {
    try {
      const tree = LayerTree.of(this.#pool);
      for (const { kind, layer } of tree.reductions()) {
        if (kind === 'reap') await this.#reapUp(tree, layer);
      }
      if (this.#chore.isStopped) return;
      for (const disk of unreadForeignDisks(this.#pool)) await this.#pool.dropForeignDisk(disk);
    } catch (error) {
      const stopping = error instanceof StorageError && error.code === 'service/stopping';
      if (!stopping) this.#onError(error);
    }
  }

  /** The layer, and then each parent that only it was read through. */
  async #reapUp(tree: LayerTree, layer: number): Promise<void> {
    for (let at: number | null = layer; at !== null && !this.#chore.isStopped; ) {
      await this.#forgetBookmarks(at);
      if (!(await this.#empty(at))) return;
      await this.#pool.commit([deleteLayerOp(at)]);
      const parent = tree.parent(at);
      const isLast = parent !== null && tree.children(parent).length === 1;
      at = isLast && LayerTree.of(this.#pool).reductionOf(parent)?.kind === 'reap' ? parent : null;
    }
  }

  /** Before the first leaf goes: what changed since such a boundary cannot be told without the layer. */
  async #forgetBookmarks(layer: number): Promise<void> {
    const bookmarks = LayerTree.of(this.#pool).bookmarksOn(layer);
    if (bookmarks.length > 0) await this.#pool.commit(bookmarks.map(deleteBookmarkOp));
  }

  /** @returns false when it was stopped before the end */
  async #empty(layer: number): Promise<boolean> {
    const { index } = this.#pool;
    for (let leaf = 0; !this.#chore.isStopped; ) {
      leaf = await index.nextLeaf(layer, leaf);
      if (leaf === Number.POSITIVE_INFINITY) return true;
      const region = Math.floor(leaf / leavesPerRegion);
      await this.#pool.journalRoom(this.#chore.stopping);
      const { states } = await index.readRegion(layer, region);
      await this.#deleteLeaves(layer, region, states);
      leaf = (region + 1) * leavesPerRegion;
    }
    return false;
  }

  async #deleteLeaves(layer: number, region: number, states: SlotStates): Promise<void> {
    const room = Math.floor((this.#pool.batchBytesMax - bytesPerBatchFixed) / bytesPerLeafMax);
    const step = Math.min(room, leavesPerRegion);
    for (let at = 0; at < leavesPerRegion; at += step) {
      const count = Math.min(step, leavesPerRegion - at);
      const runs = clusterRuns(states, at * slotsPerLeaf, count * slotsPerLeaf);
      const owned = runs.reduce((sum, run) => sum + run.count, 0);
      const firstLeaf = region * leavesPerRegion + at;
      await this.#pool.commit([
        { op: 'delete-leaves', layer, firstLeaf, count },
        { op: 'count', layer, change: -owned },
        ...runs.map((run): BatchOp => ({ op: 'release', ...run })),
      ]);
    }
  }
}

/** The clusters that slots [first, first + count) own, in ascending runs. */
export function clusterRuns(states: SlotStates, first: number, count: number): ClusterRun[] {
  const owned: { disk: number; cluster: number }[] = [];
  for (let slot = first; slot < first + count; slot++) {
    for (const { hi, lo } of states.clusters(slot)) {
      owned.push({ disk: slotDisk(hi), cluster: slotCluster(hi, lo) });
    }
  }
  return coalesce(owned);
}
