/**
 * Leaves: the states of 64 consecutive slots as an index value (docs/format.md section 5).
 *
 * Stored, a leaf has nine bytes per entry: ascending by slot, entries of one slot ascending by address (the zero entry first), so that
 * equal content has equal bytes. In memory it is part of a `SlotStates`.
 */
import { slotsPerLeaf } from '../../base/units.ts';
import { viewOf } from './bytes.ts';
import { expectFormat } from './format-error.ts';
import { slotHasAddress, slotMask } from './slot.ts';
import type { SlotEntry, SlotStates } from './slot-states.ts';

export const entryBytes = 9;

/** One stored entry. As part of a patch, state 0 says that the slot becomes empty. */
export interface LeafEntry extends SlotEntry {
  /** Within the leaf, 0–63. */
  readonly slot: number;
}

function countEntries(states: SlotStates, first: number): number {
  let count = 0;
  for (let slot = first; slot < first + slotsPerLeaf; slot++) {
    if (states.zero(slot) !== 0) count += 1;
    if (states.lo(slot) === 0 && states.hi(slot) === 0) continue;
    count += 1 + (states.extras.get(slot)?.length ?? 0);
  }
  return count;
}

/**
 * The stored form of the slots [first, first + 64).
 *
 * @returns null when every slot is empty: such a leaf is not stored
 */
export function encodeLeaf(states: SlotStates, first = 0): Uint8Array | null {
  const count = countEntries(states, first);
  if (count === 0) return null;
  const value = new Uint8Array(count * entryBytes);
  const view = viewOf(value);
  let at = 0;
  const put = (slot: number, hi: number, lo: number) => {
    value[at] = slot;
    view.setUint32(at + 1, lo, true);
    view.setUint32(at + 5, hi, true);
    at += entryBytes;
  };
  for (let slot = 0; slot < slotsPerLeaf; slot++) {
    const zero = states.zero(first + slot);
    if (zero !== 0) put(slot, 0, zero);
    const [lo, hi] = [states.lo(first + slot), states.hi(first + slot)];
    if (lo === 0 && hi === 0) continue;
    put(slot, hi, lo);
    for (const extra of states.extras.get(first + slot) ?? []) put(slot, extra.hi, extra.lo);
  }
  return value;
}

/** What holds between an entry and the one before it in the same slot, `masks` being the bits taken so far. */
function expectBehind(entry: LeafEntry, previous: LeafEntry, masks: number): void {
  const ascending = entry.hi > previous.hi || (entry.hi === previous.hi && entry.lo > previous.lo);
  const where = `leaf: entries of slot ${entry.slot}`;
  expectFormat(ascending && slotHasAddress(entry.hi, entry.lo), 'bad-value', `${where}: order`);
  expectFormat((slotMask(entry.lo) & masks) === 0, 'bad-value', `${where} overlap`);
  // A cluster without valid sub-blocks stands alone, or beside owned zeroes.
  const behindZeroes = !slotHasAddress(previous.hi, previous.lo);
  const filled = slotMask(entry.lo) !== 0 && slotMask(previous.lo) !== 0;
  expectFormat(filled || behindZeroes, 'bad-value', `${where}: one of several is empty`);
}

/** Calls `visit` for every entry in order. @throws FormatError truncated, bad-value when it is not canonical */
function forEachEntry(value: Uint8Array, visit: (slot: number, hi: number, lo: number) => void) {
  const whole = value.length > 0 && value.length % entryBytes === 0;
  expectFormat(whole, 'truncated', `leaf: ${value.length} bytes are no whole entries`);
  const view = viewOf(value);
  let previous: LeafEntry = { slot: -1, hi: 0, lo: 0 };
  let masks = 0;
  for (let at = 0; at < value.length; at += entryBytes) {
    const slot = view.getUint8(at);
    const lo = view.getUint32(at + 1, true);
    const hi = view.getUint32(at + 5, true);
    expectFormat(slot < slotsPerLeaf && slot >= previous.slot, 'bad-value', `leaf: slot ${slot}`);
    expectFormat(hi !== 0 || lo !== 0, 'bad-value', `leaf: empty slot ${slot} stored`);
    const entry = { slot, hi, lo };
    if (slot === previous.slot) expectBehind(entry, previous, masks);
    else masks = 0;
    masks |= slotMask(lo);
    previous = entry;
    visit(slot, hi, lo);
  }
}

/** Every entry of a stored leaf in order. @throws FormatError truncated, bad-value when it is not canonical */
export function leafEntries(value: Uint8Array): LeafEntry[] {
  const entries: LeafEntry[] = [];
  forEachEntry(value, (slot, hi, lo) => entries.push({ slot, hi, lo }));
  return entries;
}

/** The stored form of entries in canonical order; null when there are none. */
export function encodeLeafEntries(entries: readonly LeafEntry[]): Uint8Array | null {
  if (entries.length === 0) return null;
  const value = new Uint8Array(entries.length * entryBytes);
  const view = viewOf(value);
  entries.forEach(({ slot, hi, lo }, index) => {
    value[index * entryBytes] = slot;
    view.setUint32(index * entryBytes + 1, lo, true);
    view.setUint32(index * entryBytes + 5, hi, true);
  });
  return value;
}

/**
 * Fills the slots [first, first + 64), which must be empty.
 *
 * @throws FormatError truncated, bad-value when the encoding is not canonical; `into` is then undefined
 */
export function decodeLeaf(value: Uint8Array, into: SlotStates, first = 0): void {
  forEachEntry(value, (slot, hi, lo) => {
    const at = first + slot;
    if (!slotHasAddress(hi, lo)) into.zeros[at] = slotMask(lo);
    else if (into.lo(at) === 0 && into.hi(at) === 0) {
      into.words[2 * at] = lo;
      into.words[2 * at + 1] = hi;
    } else into.extras.set(at, [...(into.extras.get(at) ?? []), { hi, lo }]);
  });
}
