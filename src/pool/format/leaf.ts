/**
 * Leaves: the states of 64 consecutive slots as an index value (docs/format.md section 5).
 *
 *   u8 slot (bit 7: sealed) | u64 state | sealed entries: u64 XXH64
 *
 * Stored, a leaf has nine bytes per entry, a sealed one 17: ascending by slot, entries of one slot ascending by address (the zero entry first),
 * so that equal content has equal bytes. In memory it is part of a `SlotStates`.
 */
import { slotsPerLeaf } from '../../base/units.ts';
import { viewOf } from './bytes.ts';
import { expectFormat } from './format-error.ts';
import { isSealable, type LeafSeal, type Seal } from './seal.ts';
import { slotHasAddress, slotMask } from './slot.ts';
import type { SlotEntry, SlotStates } from './slot-states.ts';

export const entryBytes = 9;
const hashBytes = 8;
/** Set in the slot's byte of an entry whose seal follows. */
const sealedFlag = 0x80;

/** One stored entry. As part of a patch, state 0 says that the slot becomes empty. */
export interface LeafEntry extends SlotEntry {
  /** Within the leaf, 0–63. */
  readonly slot: number;
}

function storedBytes(states: SlotStates, first: number): number {
  let bytes = 0;
  for (let slot = first; slot < first + slotsPerLeaf; slot++) {
    if (states.zero(slot) !== 0) bytes += entryBytes;
    if (states.lo(slot) === 0 && states.hi(slot) === 0) continue;
    bytes += entryBytes * (1 + (states.extras.get(slot)?.length ?? 0));
    bytes += hashBytes * states.seals(slot).length;
  }
  return bytes;
}

/**
 * The stored form of the slots [first, first + 64).
 *
 * @returns null when every slot is empty: such a leaf is not stored
 */
export function encodeLeaf(states: SlotStates, first = 0): Uint8Array | null {
  const bytes = storedBytes(states, first);
  if (bytes === 0) return null;
  const writer = new EntryWriter(bytes);
  for (let slot = 0; slot < slotsPerLeaf; slot++) {
    const zero = states.zero(first + slot);
    if (zero !== 0) writer.put(slot, 0, zero, undefined);
    const [lo, hi] = [states.lo(first + slot), states.hi(first + slot)];
    if (lo === 0 && hi === 0) continue;
    const seals = states.seals(first + slot);
    writer.put(slot, hi, lo, sealOf(seals, hi, lo));
    for (const extra of states.extras.get(first + slot) ?? []) {
      writer.put(slot, extra.hi, extra.lo, sealOf(seals, extra.hi, extra.lo));
    }
  }
  return writer.value;
}

function sealOf(seals: readonly Seal[], hi: number, lo: number): Seal | undefined {
  if (seals.length === 0) return undefined;
  return seals.find((seal) => seal.hi === hi && seal.lo === lo);
}

/** Appends entries to a value of known size. */
class EntryWriter {
  readonly value: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: number) {
    this.value = new Uint8Array(bytes);
    this.#view = viewOf(this.value);
  }

  put(slot: number, hi: number, lo: number, seal: Seal | undefined): void {
    this.value[this.#at] = seal === undefined ? slot : slot | sealedFlag;
    this.#putU64(this.#at + 1, hi, lo);
    this.#at += entryBytes;
    if (seal === undefined) return;
    this.#putU64(this.#at, seal.hashHi, seal.hashLo);
    this.#at += hashBytes;
  }

  #putU64(at: number, hi: number, lo: number): void {
    this.#view.setUint32(at, lo, true);
    this.#view.setUint32(at + 4, hi, true);
  }
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

type VisitEntry = (slot: number, hi: number, lo: number) => void;
type VisitSeal = (slot: number, seal: Seal) => void;

/**
 * Calls `visit` for every entry in order, and `onSeal` behind each that is sealed.
 *
 * @throws FormatError truncated, bad-value when it is not canonical
 */
function forEachEntry(value: Uint8Array, visit: VisitEntry, onSeal?: VisitSeal): void {
  expectFormat(value.length > 0, 'truncated', 'leaf: 0 bytes are no whole entries');
  const view = viewOf(value);
  let previous: LeafEntry = { slot: -1, hi: 0, lo: 0 };
  let masks = 0;
  for (let at = 0; at < value.length; ) {
    const isSealed = ((value[at] as number) & sealedFlag) !== 0;
    const end = at + entryBytes + (isSealed ? hashBytes : 0);
    expectFormat(
      end <= value.length,
      'truncated',
      `leaf: ${value.length} bytes are no whole entries`,
    );
    const slot = view.getUint8(at) & ~sealedFlag;
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
    if (isSealed) {
      expectFormat(isSealable(entry), 'bad-value', `leaf: nothing to seal in slot ${slot}`);
      if (onSeal !== undefined) onSeal(slot, { hi, lo, ...hashAt(view, at + entryBytes) });
    }
    at = end;
  }
}

function hashAt(view: DataView, at: number): Pick<Seal, 'hashHi' | 'hashLo'> {
  return { hashHi: view.getUint32(at + 4, true), hashLo: view.getUint32(at, true) };
}

/** Every entry of a stored leaf in order. @throws FormatError truncated, bad-value when it is not canonical */
export function leafEntries(value: Uint8Array): LeafEntry[] {
  const entries: LeafEntry[] = [];
  forEachEntry(value, (slot, hi, lo) => entries.push({ slot, hi, lo }));
  return entries;
}

/** Every seal in a stored leaf in order. @throws FormatError truncated, bad-value when it is not canonical */
export function leafSeals(value: Uint8Array): LeafSeal[] {
  const seals: LeafSeal[] = [];
  const onSeal = (slot: number, seal: Seal) => seals.push({ slot, ...seal });
  forEachEntry(value, () => {}, onSeal);
  return seals;
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
 * Fills the slots [first, first + 64), which must be empty; with seals where `into` keeps them.
 *
 * @throws FormatError truncated, bad-value when the encoding is not canonical; `into` is then undefined
 */
export function decodeLeaf(value: Uint8Array, into: SlotStates, first = 0): void {
  const visit: VisitEntry = (slot, hi, lo) => {
    const at = first + slot;
    if (!slotHasAddress(hi, lo)) into.zeros[at] = slotMask(lo);
    else if (into.lo(at) === 0 && into.hi(at) === 0) {
      into.words[2 * at] = lo;
      into.words[2 * at + 1] = hi;
    } else into.extras.set(at, [...(into.extras.get(at) ?? []), { hi, lo }]);
  };
  const onSeal: VisitSeal = (slot, seal) => into.seal(first + slot, seal);
  forEachEntry(value, visit, into.keepsSeals ? onSeal : undefined);
}
