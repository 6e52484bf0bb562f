/**
 * Many partly known leaves, packed: 128 words of states and 64 presence bits per leaf; zero masks and further clusters where there are any.
 *
 * A typed array per leaf would cost several times its content, so leaves share chunks. Leaves are
 * only ever added; the whole slab is dropped at once.
 */
import { slotsPerLeaf } from '../base/units.ts';
import type { SlotEntry, SlotStates } from './format/slot-states.ts';

const leavesPerChunk = 256;
const leafWords = 2 * slotsPerLeaf;
const presenceWords = slotsPerLeaf / 32;

interface Chunk {
  readonly states: Uint32Array;
  readonly presence: Uint32Array;
  /** Made when the first zero mask comes: most layers have none. */
  zeros: Uint16Array | null;
}

export class LeafSlab {
  readonly #chunks: Chunk[] = [];
  /** Further clusters of split slots, by the slot's number in the slab. */
  readonly #extras = new Map<number, readonly SlotEntry[]>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds a leaf of which nothing is known. @returns its index */
  add(): number {
    if (this.#count % leavesPerChunk === 0) {
      this.#chunks.push({
        states: new Uint32Array(leavesPerChunk * leafWords),
        presence: new Uint32Array(leavesPerChunk * presenceWords),
        zeros: null,
      });
    }
    return this.#count++;
  }

  /** A slot with at most one cluster. */
  set(index: number, slot: number, lo: number, hi: number, zero: number): void {
    const within = index % leavesPerChunk;
    const chunk = this.#chunks[(index - within) / leavesPerChunk] as Chunk;
    const at = within * leafWords + 2 * slot;
    chunk.states[at] = lo;
    chunk.states[at + 1] = hi;
    const word = within * presenceWords + (slot >>> 5);
    chunk.presence[word] = (chunk.presence[word] as number) | (1 << (slot & 31));
    if (zero !== 0) chunk.zeros ??= new Uint16Array(leavesPerChunk * slotsPerLeaf);
    if (chunk.zeros !== null) chunk.zeros[within * slotsPerLeaf + slot] = zero;
    if (this.#extras.size > 0) this.#extras.delete(index * slotsPerLeaf + slot);
  }

  /** Any content, as slot `from` of `states` has it. */
  copySlot(index: number, slot: number, states: SlotStates, from: number): void {
    this.set(index, slot, states.lo(from), states.hi(from), states.zero(from));
    const extras = states.extras.get(from);
    if (extras !== undefined) this.#extras.set(index * slotsPerLeaf + slot, extras);
  }

  /** Whether every slot of the leaf is known, so that what lies below does not matter. */
  isWhole(index: number): boolean {
    const within = index % leavesPerChunk;
    const { presence } = this.#chunks[(index - within) / leavesPerChunk] as Chunk;
    const word = within * presenceWords;
    return presence[word] === 0xffffffff && presence[word + 1] === 0xffffffff;
  }

  /** Lays the known slots over the slots [first, first + 64) of `into`. */
  mergeInto(index: number, into: SlotStates, first: number): void {
    const within = index % leavesPerChunk;
    const { states, presence, zeros } = this.#chunks[(index - within) / leavesPerChunk] as Chunk;
    for (let half = 0; half < presenceWords; half++) {
      let bits = presence[within * presenceWords + half] as number;
      while (bits !== 0) {
        const slot = half * 32 + 31 - Math.clz32(bits & -bits);
        const from = within * leafWords + 2 * slot;
        const zero = zeros === null ? 0 : (zeros[within * slotsPerLeaf + slot] as number);
        into.setOne(first + slot, states[from] as number, states[from + 1] as number, zero);
        const extras = this.#extras.get(index * slotsPerLeaf + slot);
        if (extras !== undefined) into.extras.set(first + slot, extras);
        bits &= bits - 1;
      }
    }
  }
}
