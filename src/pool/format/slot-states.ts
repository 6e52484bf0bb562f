/**
 * The states of consecutive slots of one layer, dense, so that no object is made per slot.
 *
 *   words    lo, hi of the slot's first cluster (format/slot.ts); both 0 when it has none
 *   zeros    sub-blocks that are owned zeroes, one mask per slot
 *   extras   further clusters of a split slot, ascending by address; most slots have none
 *   seals    what the content of clusters hashes to, where somebody asked for that: seal.ts
 *
 * Invariants: the masks of one slot, the zero mask among them, are disjoint. The entries of a slot come in ascending order of
 * their address, so that equal content has equal bytes: the zero entry (address 0) first. A seal is of an entry that is there, as it is:
 * whatever sets a slot takes its seals away.
 */
import { invariant } from '../../base/errors.ts';
import { isSealOf, type Seal } from './seal.ts';
import { slotHasAddress, slotMask } from './slot.ts';

/** One entry of a slot: a cluster with its mask, or (address 0) the owned zeroes. */
export interface SlotEntry {
  readonly hi: number;
  readonly lo: number;
}

/** Ascending by address, the zero entry first. */
export function compareEntries(a: SlotEntry, b: SlotEntry): number {
  return a.hi - b.hi || a.lo - b.lo;
}

/** Of a slot that is empty. */
export const noEntries: readonly SlotEntry[] = [];
const noSeals: readonly Seal[] = [];

export class SlotStates {
  readonly extras = new Map<number, readonly SlotEntry[]>();
  /** By slot; null: they are not wanted, and not kept. */
  #seals: Map<number, readonly Seal[]> | null = null;

  /** All empty, or with those first clusters and zero masks, which it takes over. */
  constructor(
    readonly count: number,
    readonly words = new Uint32Array(2 * count),
    readonly zeros = new Uint16Array(count),
  ) {}

  static from(words: Uint32Array<ArrayBuffer>, zeros: Uint16Array<ArrayBuffer>): SlotStates {
    return new SlotStates(zeros.length, words, zeros);
  }

  lo(slot: number): number {
    return this.words[2 * slot] as number;
  }

  hi(slot: number): number {
    return this.words[2 * slot + 1] as number;
  }

  zero(slot: number): number {
    return this.zeros[slot] as number;
  }

  isEmpty(slot: number): boolean {
    return this.zero(slot) === 0 && this.lo(slot) === 0 && this.hi(slot) === 0;
  }

  /** The clusters of a slot, in order. */
  clusters(slot: number): readonly SlotEntry[] {
    const lo = this.lo(slot);
    const hi = this.hi(slot);
    if (lo === 0 && hi === 0) return noEntries;
    const extras = this.#extrasOf(slot);
    return extras === noEntries ? [{ hi, lo }] : [{ hi, lo }, ...extras];
  }

  clusterCount(slot: number): number {
    return this.lo(slot) === 0 && this.hi(slot) === 0 ? 0 : 1 + this.#extrasOf(slot).length;
  }

  /** All entries of a slot, in order. */
  entries(slot: number): readonly SlotEntry[] {
    const zero = this.zero(slot);
    const clusters = this.clusters(slot);
    return zero === 0 ? clusters : [{ hi: 0, lo: zero }, ...clusters];
  }

  /** Sub-blocks that the slot decides about: valid in a cluster, or owned zeroes. */
  claimed(slot: number): number {
    let mask = this.zero(slot) | slotMask(this.lo(slot));
    for (const { lo } of this.#extrasOf(slot)) mask |= slotMask(lo);
    return mask;
  }

  /** Asked for every slot of whole disks, of which hardly one has any. */
  #extrasOf(slot: number): readonly SlotEntry[] {
    return this.extras.size === 0 ? noEntries : (this.extras.get(slot) ?? noEntries);
  }

  /** Keeps the seals that are given from now on. */
  keepSeals(): this {
    this.#seals ??= new Map();
    return this;
  }

  get keepsSeals(): boolean {
    return this.#seals !== null;
  }

  /** The seals of a slot's clusters, ascending by address. */
  seals(slot: number): readonly Seal[] {
    return this.#seals?.get(slot) ?? noSeals;
  }

  /** Seals one of the slot's clusters; void when it is not there like that (any more). */
  seal(slot: number, seal: Seal): void {
    if (this.#seals === null) return;
    if (!this.clusters(slot).some((entry) => isSealOf(seal, entry))) return;
    const others = this.seals(slot).filter((known) => compareEntries(known, seal) !== 0);
    this.#seals.set(slot, [...others, seal].sort(compareEntries));
  }

  /** A slot with at most one cluster. */
  setOne(slot: number, lo: number, hi: number, zero: number): void {
    this.words[2 * slot] = lo;
    this.words[2 * slot + 1] = hi;
    this.zeros[slot] = zero;
    if (this.extras.size > 0) this.extras.delete(slot);
    this.#seals?.delete(slot);
  }

  /** Any content; entries in any order. */
  set(slot: number, entries: readonly SlotEntry[]): void {
    const sorted = [...entries].sort(compareEntries);
    const clusters = sorted.filter(({ hi, lo }) => slotHasAddress(hi, lo));
    const zeros = sorted.filter(({ hi, lo }) => !slotHasAddress(hi, lo));
    invariant(zeros.length <= 1, 'a slot has one zero entry at most');
    const [first, ...rest] = clusters;
    this.setOne(slot, first?.lo ?? 0, first?.hi ?? 0, slotMask(zeros[0]?.lo ?? 0));
    if (rest.length > 0)
      this.extras.set(
        slot,
        rest.map(({ hi, lo }) => ({ hi, lo })),
      );
  }

  /** Empties slots [first, first + count). */
  clear(first: number, count: number): void {
    this.words.fill(0, 2 * first, 2 * (first + count));
    this.zeros.fill(0, first, first + count);
    dropSlots(this.extras, first, count);
    if (this.#seals !== null) dropSlots(this.#seals, first, count);
  }

  /** Takes one slot over from other states. */
  copySlot(slot: number, from: SlotStates, fromSlot: number): void {
    this.setOne(slot, from.lo(fromSlot), from.hi(fromSlot), from.zero(fromSlot));
    const extras = from.extras.get(fromSlot);
    if (extras !== undefined) this.extras.set(slot, extras);
  }
}

function dropSlots(map: Map<number, unknown>, first: number, count: number): void {
  if (map.size === 0) return;
  for (let slot = first; slot < first + count; slot++) map.delete(slot);
}
