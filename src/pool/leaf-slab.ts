/**
 * Many partly known leaves, packed: 128 words of states and 64 presence bits per leaf.
 *
 * A typed array per leaf would cost several times its content, so leaves share chunks. Leaves are
 * only ever added; the whole slab is dropped at once.
 */
import { slotsPerLeaf } from '../base/units.ts';
import { leafWords } from './format/leaf.ts';

const leavesPerChunk = 256;
const presenceWords = slotsPerLeaf / 32;

export class LeafSlab {
  readonly #states: Uint32Array[] = [];
  readonly #presence: Uint32Array[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds a leaf of which nothing is known. @returns its index */
  add(): number {
    if (this.#count % leavesPerChunk === 0) {
      this.#states.push(new Uint32Array(leavesPerChunk * leafWords));
      this.#presence.push(new Uint32Array(leavesPerChunk * presenceWords));
    }
    return this.#count++;
  }

  set(index: number, slot: number, lo: number, hi: number): void {
    const within = index % leavesPerChunk;
    const states = this.#states[(index - within) / leavesPerChunk] as Uint32Array;
    const presence = this.#presence[(index - within) / leavesPerChunk] as Uint32Array;
    const at = within * leafWords + 2 * slot;
    states[at] = lo;
    states[at + 1] = hi;
    const word = within * presenceWords + (slot >>> 5);
    presence[word] = (presence[word] as number) | (1 << (slot & 31));
  }

  /** Whether every slot of the leaf is known, so that what lies below does not matter. */
  isWhole(index: number): boolean {
    const within = index % leavesPerChunk;
    const presence = this.#presence[(index - within) / leavesPerChunk] as Uint32Array;
    const word = within * presenceWords;
    return presence[word] === 0xffffffff && presence[word + 1] === 0xffffffff;
  }

  /** Lays the known slots over the dense leaf whose first word is `into[to]`. */
  mergeInto(index: number, into: Uint32Array, to: number): void {
    const within = index % leavesPerChunk;
    const states = this.#states[(index - within) / leavesPerChunk] as Uint32Array;
    const presence = this.#presence[(index - within) / leavesPerChunk] as Uint32Array;
    for (let half = 0; half < presenceWords; half++) {
      let bits = presence[within * presenceWords + half] as number;
      while (bits !== 0) {
        const slot = half * 32 + 31 - Math.clz32(bits & -bits);
        const from = within * leafWords + 2 * slot;
        into[to + 2 * slot] = states[from] as number;
        into[to + 2 * slot + 1] = states[from + 1] as number;
        bits &= bits - 1;
      }
    }
  }
}
