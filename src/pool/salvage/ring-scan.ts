/**
 * Whatever whole records of its pool a ring holds, in the order of their places, wherever the tail is.
 */
import type { CheckedDisk } from '../check/disks.ts';
import { FormatError } from '../format/format-error.ts';
import {
  decodeRecord,
  decodeRecordHeader,
  type JournalRecord,
  paddedRecordBytes,
  type RecordHeader,
  recordAlignment,
  recordHeaderBytes,
} from '../format/journal-record.ts';
import { ringSegments } from '../format/ring.ts';
import { lenient } from './lenient-read.ts';

/** @param wanted looked at before the payload is read */
export async function* ringRecords(
  { label, read, sizeBytes }: CheckedDisk,
  wanted: (header: RecordHeader) => boolean = () => true,
): AsyncGenerator<JournalRecord> {
  const { journalOffset, journalBytes, poolUuid } = label;
  const readRing = async (position: number, length: number): Promise<Uint8Array> => {
    const segments = ringSegments(position, length, journalBytes);
    const parts: Uint8Array[] = [];
    for (const { offset, length } of segments) {
      parts.push(await lenient(read)(journalOffset + offset, length));
    }
    return Buffer.concat(parts);
  };
  const bytesThere = Math.min(journalBytes, sizeBytes - journalOffset);
  for (let place = 0; place < bytesThere; place += recordAlignment) {
    const header = await headerAt(readRing, place);
    if (header === undefined || header.poolUuid !== poolUuid) continue;
    if (header.position % journalBytes !== place || !wanted(header)) continue;
    const bytes = paddedRecordBytes(header.payloadBytes);
    if (bytes > journalBytes) continue;
    const whole = await readRing(place, bytes);
    const record = asRecord(() => decodeRecord(whole, { ...header, epochMin: header.epoch }));
    if (record !== undefined) yield record;
  }
}

async function headerAt(
  readRing: (position: number, length: number) => Promise<Uint8Array>,
  place: number,
): Promise<RecordHeader | undefined> {
  const head = await readRing(place, recordHeaderBytes);
  return asRecord(() => decodeRecordHeader(head));
}

function asRecord<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
