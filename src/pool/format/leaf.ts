/**
 * Leaves: the states of 64 consecutive slots as an index value (docs/format.md section 5).
 *
 * In memory a leaf is dense, 128 words: word 2i the low and word 2i + 1 the high half of slot i. Stored, it has nine
 * bytes per slot that is not empty. A split slot (several clusters with disjoint masks) has several entries; only
 * `leafEntries` reads those.
 */
import { slotsPerLeaf } from '../../base/units.ts';
import { viewOf } from './bytes.ts';
import { expectFormat, FormatError } from './format-error.ts';
import { slotMask } from './slot.ts';

export const leafWords = 2 * slotsPerLeaf;
const entryBytes = 9;

export interface LeafEntry {
  /** Within the leaf, 0–63. */
  readonly slot: number;
  readonly hi: number;
  readonly lo: number;
}

function countEntries(states: Uint32Array, at: number): number {
  let count = 0;
  for (let word = at; word < at + leafWords; word += 2) {
    if (states[word] !== 0 || states[word + 1] !== 0) count += 1;
  }
  return count;
}

/**
 * The stored form of the dense leaf whose first word is `states[at]`.
 *
 * @returns null when every slot is empty: such a leaf is not stored
 */
export function encodeLeaf(states: Uint32Array, at = 0): Uint8Array | null {
  const count = countEntries(states, at);
  if (count === 0) return null;
  const value = new Uint8Array(count * entryBytes);
  const view = viewOf(value);
  let end = 0;
  for (let slot = 0; slot < slotsPerLeaf; slot++) {
    const lo = states[at + 2 * slot] as number;
    const hi = states[at + 2 * slot + 1] as number;
    if (lo === 0 && hi === 0) continue;
    value[end] = slot;
    view.setUint32(end + 1, lo, true);
    view.setUint32(end + 5, hi, true);
    end += entryBytes;
  }
  return value;
}

function expectEntryBytes(value: Uint8Array): void {
  const whole = value.length > 0 && value.length % entryBytes === 0;
  expectFormat(whole, 'truncated', `leaf: ${value.length} bytes are no whole entries`);
}

/** What holds between an entry and the ones before it: ascending slots, and disjoint masks within one slot. */
function expectInOrder(entry: LeafEntry, previousSlot: number, masks: number): void {
  expectFormat(entry.slot < slotsPerLeaf, 'bad-value', `leaf: slot ${entry.slot}`);
  expectFormat(
    entry.hi !== 0 || entry.lo !== 0,
    'bad-value',
    `leaf: empty slot ${entry.slot} stored`,
  );
  expectFormat(entry.slot >= previousSlot, 'bad-value', `leaf: slot ${entry.slot} out of order`);
  if (entry.slot !== previousSlot) return;
  const mask = slotMask(entry.lo);
  const disjoint = mask !== 0 && masks !== 0 && (mask & masks) === 0;
  expectFormat(disjoint, 'bad-value', `leaf: entries of slot ${entry.slot} overlap`);
}

/**
 * Every entry of a stored leaf, split slots included, in order.
 *
 * @throws FormatError truncated, bad-value when the encoding is not canonical
 */
export function* leafEntries(value: Uint8Array): Generator<LeafEntry> {
  expectEntryBytes(value);
  const view = viewOf(value);
  let previousSlot = -1;
  let masks = 0;
  for (let at = 0; at < value.length; at += entryBytes) {
    const entry = {
      slot: view.getUint8(at),
      lo: view.getUint32(at + 1, true),
      hi: view.getUint32(at + 5, true),
    };
    expectInOrder(entry, previousSlot, masks);
    masks = (entry.slot === previousSlot ? masks : 0) | slotMask(entry.lo);
    previousSlot = entry.slot;
    yield entry;
  }
}

/** The stored form of entries in order, split slots included; null when there are none. */
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
 * Fills the dense leaf whose first word is `into[at]`; slots without an entry become 0.
 *
 * @throws FormatError bad-value for a split slot or an encoding that is not canonical, truncated; `into` is then undefined
 */
export function decodeLeaf(value: Uint8Array, into: Uint32Array, at = 0): void {
  expectEntryBytes(value);
  into.fill(0, at, at + leafWords);
  const view = viewOf(value);
  let previousSlot = -1;
  for (let from = 0; from < value.length; from += entryBytes) {
    const slot = view.getUint8(from);
    const lo = view.getUint32(from + 1, true);
    const hi = view.getUint32(from + 5, true);
    const canonical = slot > previousSlot && slot < slotsPerLeaf && (lo !== 0 || hi !== 0);
    if (!canonical) {
      throw new FormatError('bad-value', `leaf: slot ${slot} is split, empty or out of order`);
    }
    into[at + 2 * slot] = lo;
    into[at + 2 * slot + 1] = hi;
    previousSlot = slot;
  }
}
