/**
 * The states of consecutive slots of one layer, dense, so that no object is made per slot.
 *
 *   words    lo, hi of the slot's first cluster (format/slot.ts); both 0 when it has none
 *   zeros    sub-blocks that are owned zeroes, one mask per slot
 *   extras   further clusters of a split slot, ascending by address; most slots have none
 *
 * Invariant: the masks of one slot, the zero mask among them, are disjoint. The entries of a slot come in ascending order of
 * their address, so that equal content has equal bytes: the zero entry (address 0) first.
 */
import { invariant } from '../../base/errors.ts';
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

export class SlotStates {
  readonly extras = new Map<number, readonly SlotEntry[]>();

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
  clusters(slot: number): SlotEntry[] {
    const [lo, hi] = [this.lo(slot), this.hi(slot)];
    if (lo === 0 && hi === 0) return [];
    return [{ hi, lo }, ...(this.extras.get(slot) ?? [])];
  }

  /** All entries of a slot, in order. */
  entries(slot: number): SlotEntry[] {
    const zero = this.zero(slot);
    const clusters = this.clusters(slot);
    return zero === 0 ? clusters : [{ hi: 0, lo: zero }, ...clusters];
  }

  /** Sub-blocks that the slot decides about: valid in a cluster, or owned zeroes. */
  claimed(slot: number): number {
    let mask = this.zero(slot) | slotMask(this.lo(slot));
    for (const { lo } of this.extras.get(slot) ?? []) mask |= slotMask(lo);
    return mask;
  }

  /** A slot with at most one cluster. */
  setOne(slot: number, lo: number, hi: number, zero: number): void {
    this.words[2 * slot] = lo;
    this.words[2 * slot + 1] = hi;
    this.zeros[slot] = zero;
    if (this.extras.size > 0) this.extras.delete(slot);
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
    if (this.extras.size === 0) return;
    for (let slot = first; slot < first + count; slot++) this.extras.delete(slot);
  }

  /** Takes one slot over from other states. */
  copySlot(slot: number, from: SlotStates, fromSlot: number): void {
    this.setOne(slot, from.lo(fromSlot), from.hi(fromSlot), from.zero(fromSlot));
    const extras = from.extras.get(fromSlot);
    if (extras !== undefined) this.extras.set(slot, extras);
  }
}
