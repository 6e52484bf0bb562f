/**
 * A set of leaves as ranges: ascending, apart from each other, so that few remain of leaves that come one behind the other.
 */

export interface LeafRange {
  readonly firstLeaf: number;
  readonly count: number;
}

interface Range {
  readonly first: number;
  readonly end: number;
}

export class LeafRanges {
  readonly #ranges: Range[] = [];

  add({ firstLeaf, count }: LeafRange): void {
    let [first, end] = [firstLeaf, firstLeaf + count];
    const from = this.#countEndingBefore(first);
    let to = from;
    for (let next = this.#ranges[to]; next !== undefined && next.first <= end; ) {
      first = Math.min(first, next.first);
      end = Math.max(end, next.end);
      to += 1;
      next = this.#ranges[to];
    }
    this.#ranges.splice(from, to - from, { first, end });
  }

  has(leaf: number): boolean {
    return this.meets(leaf, leaf + 1);
  }

  /** Whether it has any of the leaves [from, end). */
  meets(from: number, end: number): boolean {
    const next = this.#ranges[this.#countEndingBefore(from + 1)];
    return next !== undefined && next.first < end;
  }

  list(): LeafRange[] {
    return this.#ranges.map(({ first, end }) => ({ firstLeaf: first, count: end - first }));
  }

  /** Those come first. */
  #countEndingBefore(leaf: number): number {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle] as Range).end < leaf) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Deletes the keys in a range, by whichever is fewer. */
export function deleteIn(
  map: Map<number, unknown> | undefined,
  { firstLeaf, count }: LeafRange,
): void {
  if (map === undefined) return;
  const end = firstLeaf + count;
  if (count < map.size) for (let leaf = firstLeaf; leaf < end; leaf++) map.delete(leaf);
  else for (const leaf of map.keys()) if (leaf >= firstLeaf && leaf < end) map.delete(leaf);
}
