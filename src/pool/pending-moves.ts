/**
 * Clusters on the move: data planes read them at their new place already, the durable map still names the old one.
 *
 * An answer that is resolved meanwhile must not bring the old address back.
 */
import { subBlocksPerCluster } from '../base/units.ts';
import { makeSlot, slotCluster, slotDisk, slotMask } from './format/slot.ts';
import type { Resolved } from './resolve.ts';

/** A cluster by its address: words as in a slot state, mask bits zero. */
export interface ClusterAddress {
  readonly hi: number;
  readonly lo: number;
}

export interface PendingMove {
  /** Of the volumes that show the cluster: it is the same in all. */
  readonly slot: number;
  readonly from: ClusterAddress;
  readonly to: ClusterAddress;
}

const splitWords = 1 + 2 * subBlocksPerCluster;

export class PendingMoves {
  readonly #moves = new Set<PendingMove>();

  /** @returns to be called when the map that names the new places is durable and applied, or the move is given up */
  add(moves: readonly PendingMove[]): () => void {
    for (const move of moves) this.#moves.add(move);
    return () => {
      for (const move of moves) this.#moves.delete(move);
    };
  }

  /** @param firstSlot of the region that was resolved */
  applyTo(firstSlot: number, { below, splits }: Resolved): void {
    if (below === null || this.#moves.size === 0) return;
    const count = below.length / 2;
    for (const { slot, from, to } of this.#moves) {
      const at = slot - firstSlot;
      if (at < 0 || at >= count) continue;
      const lo = below[2 * at] as number;
      const mask = slotMask(lo);
      if (mask !== 0 && below[2 * at + 1] === from.hi && lo - mask === from.lo) {
        below[2 * at] = to.lo + mask;
        below[2 * at + 1] = to.hi;
      }
      if (splits !== null) moveInSplits(splits, at, from, to);
    }
  }
}

function moveInSplits(splits: Uint32Array, slot: number, from: ClusterAddress, to: ClusterAddress) {
  for (let at = 0; at < splits.length; at += splitWords) {
    if (splits[at] !== slot) continue;
    for (let word = at + 1; word < at + splitWords; word += 2) {
      if (splits[word] !== from.lo || splits[word + 1] !== from.hi) continue;
      splits[word] = to.lo;
      splits[word + 1] = to.hi;
    }
  }
}

export function addressOf(disk: number, cluster: number): ClusterAddress {
  const [hi, lo] = makeSlot(disk, cluster, 0);
  return { hi, lo };
}

/** Disk and cluster numbers, as the data plane's verbs take them. */
export function placeOf({ hi, lo }: ClusterAddress): { disk: number; cluster: number } {
  return { disk: slotDisk(hi), cluster: slotCluster(hi, lo) };
}
