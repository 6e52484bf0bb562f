/**
 * Which clusters change hands while somebody reads them for himself: are given up, or given to a slot.
 *
 * The map may name one again afterwards as it did before, and its content is another one: another owner had it in between, or a head that it came to by
 * copy on write, and with whom it froze again. For that a batch has to give it to the slot again; it counts when the batch is appended, so that no batch
 * appended behind the question can be one that is to be applied before it.
 */
import type { ClusterPlace } from './allocator.ts';
import type { BatchOp } from './format/batch.ts';
import { slotCluster, slotDisk, slotHasAddress } from './format/slot.ts';

export interface OwnerWatch {
  /** Since the watch began. */
  changedHands(place: ClusterPlace): boolean;
  end(): void;
}

export class OwnerWatches {
  /** By watch, those of its clusters that did not change hands. */
  readonly #watches = new Set<Set<string>>();

  begin(places: readonly ClusterPlace[]): OwnerWatch {
    const kept = new Set(places.map(keyOf));
    this.#watches.add(kept);
    return {
      changedHands: (place) => !kept.has(keyOf(place)),
      end: () => this.#watches.delete(kept),
    };
  }

  /** A batch is appended to the journal. */
  committing(ops: readonly BatchOp[]): void {
    if (this.#watches.size === 0) return;
    for (const op of ops) {
      if (op.op !== 'patch') continue;
      for (const { hi, lo } of op.entries) {
        if (slotHasAddress(hi, lo)) {
          this.#changed({ disk: slotDisk(hi), cluster: slotCluster(hi, lo) });
        }
      }
    }
  }

  /** A batch, or what a guest wrote, has given it up. */
  released(place: ClusterPlace): void {
    if (this.#watches.size > 0) this.#changed(place);
  }

  #changed(place: ClusterPlace): void {
    const key = keyOf(place);
    for (const kept of this.#watches) kept.delete(key);
  }
}

function keyOf({ disk, cluster }: ClusterPlace): string {
  return `${disk}:${cluster}`;
}
