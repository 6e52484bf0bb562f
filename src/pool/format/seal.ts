/**
 * Seals: what the content of a frozen layer's cluster hashes to (docs/format.md section 10).
 *
 * A seal is XXH64 (seed 0) of the sub-blocks that the cluster's entry claims, ascending. It belongs to that entry of that slot of that
 * layer, address and mask: whatever changes the entry ends the seal. Losing one is harmless, the cluster is sealed again.
 */
import { slotHasAddress, slotMask } from './slot.ts';
import type { SlotEntry } from './slot-states.ts';

/** The entry as it is sealed, and the hash as two words, so that no bigint is made. */
export interface Seal extends SlotEntry {
  readonly hashHi: number;
  readonly hashLo: number;
}

/** A seal of one slot of a leaf. */
export interface LeafSeal extends Seal {
  /** Within the leaf, 0–63. */
  readonly slot: number;
}

/** Whether the entry has something that can be sealed: neither owned zeroes nor space without content. */
export function isSealable({ hi, lo }: SlotEntry): boolean {
  return slotHasAddress(hi, lo) && slotMask(lo) !== 0;
}

export function isSealOf(seal: SlotEntry, entry: SlotEntry): boolean {
  return isSealable(seal) && seal.hi === entry.hi && seal.lo === entry.lo;
}
