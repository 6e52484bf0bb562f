/**
 * Which clusters change hands while somebody reads them for himself: are given up, or given to a slot.
 *
 * The map may name one again afterwards as it did before, and its content is another one: another owner had it in between, or a head that it came to by
 * copy on write, and with whom it froze again.
 */
import type { ClusterPlace } from './allocator.ts';

export interface OwnerWatch {
  /** Since the watch began, as far as batches are applied. */
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

  changed(place: ClusterPlace): void {
    if (this.#watches.size === 0) return;
    const key = keyOf(place);
    for (const kept of this.#watches) kept.delete(key);
  }
}

function keyOf({ disk, cluster }: ClusterPlace): string {
  return `${disk}:${cluster}`;
}
