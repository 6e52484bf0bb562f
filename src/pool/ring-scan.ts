/**
 * Whatever whole records of its pool a ring holds, in the order of their places, wherever the tail is.
 *
 * The ring is read once, in steps; what cannot be read holds no record.
 */
import { MiB } from '../base/units.ts';
import { concatBytes } from './format/bytes.ts';
import { FormatError } from './format/format-error.ts';
import {
  decodeRecord,
  decodeRecordHeader,
  type JournalRecord,
  paddedRecordBytes,
  type RecordHeader,
  recordAlignment,
  recordHeaderBytes,
  startsRecord,
} from './format/journal-record.ts';
import { type ReadDisk, ringSegments } from './format/ring.ts';
import { lenient } from './lenient-read.ts';
import type { RingReplica } from './ring-replicas.ts';

const stepBytes = MiB;

/** @param wanted looked at before the payload is read */
export async function* ringRecords(
  replica: RingReplica,
  wanted: (header: RecordHeader) => boolean = () => true,
): AsyncGenerator<JournalRecord> {
  const { journalBytes, poolUuid } = replica.label;
  const readRing = ringReader(replica);
  for await (const { place, header } of headers(replica, readRing)) {
    if (header.poolUuid !== poolUuid || header.position % journalBytes !== place) continue;
    const bytes = paddedRecordBytes(header.payloadBytes);
    if (bytes > journalBytes || !wanted(header)) continue;
    const whole = await readRing(place, bytes);
    const record = asRecord(() => decodeRecord(whole, { ...header, epochMin: header.epoch }));
    if (record !== undefined) yield record;
  }
}

function ringReader({ label, read }: RingReplica): ReadDisk {
  const { journalOffset, journalBytes } = label;
  return async (place, length) => {
    const parts: Uint8Array[] = [];
    for (const segment of ringSegments(place, length, journalBytes)) {
      parts.push(await lenient(read)(journalOffset + segment.offset, segment.length));
    }
    return concatBytes(parts);
  };
}

async function* headers(
  { label: { journalOffset, journalBytes }, sizeBytes }: RingReplica,
  readRing: ReadDisk,
): AsyncGenerator<{ readonly place: number; readonly header: RecordHeader }> {
  const bytesThere = Math.min(journalBytes, sizeBytes - journalOffset);
  for (let from = 0; from < bytesThere; from += stepBytes) {
    const step = await readRing(from, Math.min(stepBytes, bytesThere - from));
    for (let at = 0; at + recordHeaderBytes <= step.length; at += recordAlignment) {
      if (!startsRecord(step, at)) continue;
      const head = step.subarray(at, at + recordHeaderBytes);
      const header = asRecord(() => decodeRecordHeader(head));
      if (header !== undefined) yield { place: from + at, header };
    }
  }
}

function asRecord<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
