/**
 * Journal records: what one of them looks like, and which of those in a ring count (docs/format.md section 4).
 *
 *   | header 64 | payload … | zeroes to the next multiple of 4096 |
 *
 * A scan accepts exactly the records that follow the tail without a gap: next position, next sequence, same pool,
 * sound checksum, epoch never lower. Everything else is a leftover of an earlier lap or an earlier life.
 */
import { invariant } from '../../base/errors.ts';
import { MiB } from '../../base/units.ts';
import { readU64, uuidBytes, uuidText, viewOf, writeU64 } from './bytes.ts';
import { expectFormat, FormatError } from './format-error.ts';
import { xxh64WithoutField } from './hash.ts';
import { type ReadDisk, type RingPlace, RingReader } from './ring.ts';

export { ringSegments } from './ring.ts';

export const recordAlignment = 4096;
export const recordHeaderBytes = 64;
export const recordPayloadMax = MiB;
/** Value of `kind`. */
export const recordKind = { deltas: 1, batch: 2 } as const;
export type RecordKind = (typeof recordKind)[keyof typeof recordKind];

const magic = 0x314e524a;
const at = {
  kind: 4,
  reservedA: 6,
  poolUuid: 8,
  epoch: 24,
  sequence: 32,
  position: 40,
  payloadBytes: 48,
  reservedB: 52,
  hash: 56,
} as const;

export interface RecordHeader {
  readonly kind: RecordKind;
  readonly poolUuid: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly position: number;
  readonly payloadBytes: number;
}

export interface JournalRecord extends RecordHeader {
  readonly payload: Uint8Array;
  /** What it takes in the ring; the next record begins at `position + paddedBytes`. */
  readonly paddedBytes: number;
}

export interface RecordExpectation {
  readonly poolUuid: string;
  readonly sequence: number;
  readonly position: number;
  /** The epoch of the record before it. */
  readonly epochMin: number;
}

/** Ring bytes of a record with a payload of that size. */
export function paddedRecordBytes(payloadBytes: number): number {
  return Math.ceil((recordHeaderBytes + payloadBytes) / recordAlignment) * recordAlignment;
}

/** The record with its padding, as the committer of the data plane writes it. */
export function encodeRecord(
  header: Omit<RecordHeader, 'payloadBytes'>,
  payload: Uint8Array,
): Uint8Array {
  invariant(payload.length <= recordPayloadMax, 'a record holds at most 1 MiB');
  const bytes = new Uint8Array(paddedRecordBytes(payload.length));
  const view = viewOf(bytes);
  view.setUint32(0, magic, true);
  view.setUint16(at.kind, header.kind, true);
  bytes.set(uuidBytes(header.poolUuid), at.poolUuid);
  writeU64(view, at.epoch, header.epoch);
  writeU64(view, at.sequence, header.sequence);
  writeU64(view, at.position, header.position);
  view.setUint32(at.payloadBytes, payload.length, true);
  bytes.set(payload, recordHeaderBytes);
  const hash = xxh64WithoutField(bytes.subarray(0, recordHeaderBytes + payload.length), at.hash);
  view.setBigUint64(at.hash, hash, true);
  return bytes;
}

/** Whether a record may begin there. Cheap where none does: a ring has many places and few records. */
export function startsRecord(bytes: Uint8Array, place = 0): boolean {
  return bytes[place] === (magic & 0xff) && viewOf(bytes).getUint32(place, true) === magic;
}

/**
 * The first 64 bytes of a record. They are not proven by themselves: the checksum covers the payload too.
 *
 * @throws FormatError truncated, bad-magic, reserved-not-zero, bad-value
 */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader {
  expectFormat(bytes.length >= recordHeaderBytes, 'truncated', 'record: no whole header');
  expectFormat(startsRecord(bytes), 'bad-magic', 'no journal record');
  const view = viewOf(bytes);
  const kind = view.getUint16(at.kind, true);
  expectFormat(
    kind === recordKind.deltas || kind === recordKind.batch,
    'bad-value',
    `record: unknown kind ${kind}`,
  );
  const payloadBytes = view.getUint32(at.payloadBytes, true);
  expectFormat(payloadBytes <= recordPayloadMax, 'bad-value', `record: ${payloadBytes} bytes`);
  const reserved =
    view.getUint16(at.reservedA, true) === 0 && view.getUint32(at.reservedB, true) === 0;
  expectFormat(reserved, 'reserved-not-zero', 'record: reserved bytes are not zero');
  return {
    kind,
    poolUuid: uuidText(bytes.subarray(at.poolUuid, at.epoch)),
    epoch: readU64(view, at.epoch),
    sequence: readU64(view, at.sequence),
    position: readU64(view, at.position),
    payloadBytes,
  };
}

function expectSuccessor(header: RecordHeader, expected: RecordExpectation): void {
  const { sequence, position, epoch } = header;
  const samePool = header.poolUuid === expected.poolUuid;
  expectFormat(samePool, 'not-expected', `record of another pool, ${header.poolUuid}`);
  expectFormat(
    sequence === expected.sequence && position === expected.position,
    'not-expected',
    `record ${sequence} at ${position} stands where record ${expected.sequence} at ${expected.position} should`,
  );
  expectFormat(
    epoch >= expected.epochMin,
    'not-expected',
    `record ${sequence} of epoch ${epoch} after one of epoch ${expected.epochMin}`,
  );
}

/**
 * A whole record, proven by its checksum and by what is expected at its place.
 *
 * @param bytes from the record's first byte; may reach beyond its end
 * @returns the record; `payload` is a view into `bytes`
 * @throws FormatError as `decodeRecordHeader`, and not-expected, bad-checksum
 */
export function decodeRecord(bytes: Uint8Array, expected: RecordExpectation): JournalRecord {
  const header = decodeRecordHeader(bytes);
  expectSuccessor(header, expected);
  const end = recordHeaderBytes + header.payloadBytes;
  expectFormat(bytes.length >= end, 'truncated', 'record: ends inside its payload');
  const hash = viewOf(bytes).getBigUint64(at.hash, true);
  const sound = hash === xxh64WithoutField(bytes.subarray(0, end), at.hash);
  expectFormat(sound, 'bad-checksum', `record ${header.sequence}: bad checksum`);
  return {
    ...header,
    payload: bytes.subarray(recordHeaderBytes, end),
    paddedBytes: paddedRecordBytes(header.payloadBytes),
  };
}

export interface RecordedDeltas {
  /** Serials count up by one from it. */
  readonly firstSerial: number;
  /** Packed, 32 bytes each (delta.ts). */
  readonly deltas: Uint8Array;
}

/** @throws FormatError truncated */
export function decodeDeltasPayload(payload: Uint8Array): RecordedDeltas {
  expectFormat(
    payload.length >= 8 && payload.length % 32 === 8,
    'truncated',
    'record: ends inside a delta',
  );
  return { firstSerial: readU64(viewOf(payload), 0), deltas: payload.subarray(8) };
}

export function encodeDeltasPayload({ firstSerial, deltas }: RecordedDeltas): Uint8Array {
  const payload = new Uint8Array(8 + deltas.length);
  writeU64(viewOf(payload), 0, firstSerial);
  payload.set(deltas, 8);
  return payload;
}

export interface JournalTail extends RingPlace {
  readonly poolUuid: string;
  readonly tailPosition: number;
  readonly tailSequence: number;
}

/** Of a record. */
export interface JournalPlace {
  readonly position: number;
  readonly sequence: number;
}

/** Where the next record belongs, and why there is none yet. */
export interface JournalEnd extends JournalPlace {
  /** Epoch of the last record; 0 when there is none. */
  readonly epoch: number;
  /** The code of what stands there instead of a record; `lap` when the whole ring is full of records. */
  readonly reason: FormatError['code'] | 'lap';
  readonly message: string;
}

async function readRecord(
  ring: RingReader,
  expected: RecordExpectation,
): Promise<JournalRecord | undefined> {
  const head = await ring.bytesAt(expected.position, recordHeaderBytes);
  if (head === undefined) return undefined;
  const header = decodeRecordHeader(head);
  expectSuccessor(header, expected);
  const whole = await ring.bytesAt(expected.position, paddedRecordBytes(header.payloadBytes));
  return whole === undefined ? undefined : decodeRecord(whole, expected);
}

/**
 * The records from the tail on, in order, up to the first place without a valid successor.
 *
 * Reads at most one lap, in steps of 1 MiB. Payloads stay valid after the next step.
 *
 * @param read of the disk whose replica is read; its errors pass through
 * @param onEnd told once, before the generator ends, where and why
 */
export async function* scanJournal(
  read: ReadDisk,
  tail: JournalTail,
  onEnd: (end: JournalEnd) => void = () => {},
): AsyncGenerator<JournalRecord> {
  const ring = new RingReader(read, tail, tail.tailPosition);
  const next = {
    poolUuid: tail.poolUuid,
    sequence: tail.tailSequence,
    position: tail.tailPosition,
    epochMin: 0,
  };
  const endBecause = (reason: JournalEnd['reason'], message: string) =>
    onEnd({
      position: next.position,
      sequence: next.sequence,
      epoch: next.epochMin,
      reason,
      message,
    });
  for (;;) {
    let record: JournalRecord | undefined;
    try {
      record = await readRecord(ring, next);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return endBecause(error.code, error.message);
    }
    if (record === undefined) return endBecause('lap', 'the ring is full of records');
    yield record;
    next.sequence += 1;
    next.position += record.paddedBytes;
    next.epochMin = record.epoch;
  }
}
