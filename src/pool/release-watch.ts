/**
 * Which clusters are given up while somebody copies them: the map may name one again afterwards, with the content of another owner in between.
 */
import type { ClusterPlace } from './allocator.ts';

export interface ReleaseWatch {
  wasReleased(place: ClusterPlace): boolean;
  end(): void;
}

export class ReleaseWatches {
  /** By watch, those of its clusters that were not released. */
  readonly #watches = new Set<Set<string>>();

  begin(places: readonly ClusterPlace[]): ReleaseWatch {
    const kept = new Set(places.map(keyOf));
    this.#watches.add(kept);
    return {
      wasReleased: (place) => !kept.has(keyOf(place)),
      end: () => this.#watches.delete(kept),
    };
  }

  released(place: ClusterPlace): void {
    if (this.#watches.size === 0) return;
    const key = keyOf(place);
    for (const kept of this.#watches) kept.delete(key);
  }
}

function keyOf({ disk, cluster }: ClusterPlace): string {
  return `${disk}:${cluster}`;
}
