/**
 * Whatever whole records of its pool a ring holds, in the order of their places, wherever the tail is.
 *
 * The ring is read once, in steps; what cannot be read holds no record.
 */
import { MiB } from '../base/units.ts';
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
import { type ReadDisk, readRing } from './format/ring.ts';
import { lenient } from './lenient-read.ts';
import type { RingReplica } from './ring-replicas.ts';

const stepBytes = MiB;

/** @param wanted looked at before the payload is read */
export async function* ringRecords(
  replica: RingReplica,
  wanted: (header: RecordHeader) => boolean = () => true,
): AsyncGenerator<JournalRecord> {
  const { journalBytes, poolUuid } = replica.label;
  const readHere: ReadDisk = (place, length) =>
    readRing(lenient(replica.read), replica.label, place, length);
  for await (const { place, header } of headers(replica, readHere)) {
    if (header.poolUuid !== poolUuid || header.position % journalBytes !== place) continue;
    const bytes = paddedRecordBytes(header.payloadBytes);
    if (bytes > journalBytes || !wanted(header)) continue;
    const whole = await readHere(place, bytes);
    const record = asRecord(() => decodeRecord(whole, { ...header, epochMin: header.epoch }));
    if (record !== undefined) yield record;
  }
}

async function* headers(
  { label: { journalOffset, journalBytes }, sizeBytes }: RingReplica,
  read: ReadDisk,
): AsyncGenerator<{ readonly place: number; readonly header: RecordHeader }> {
  const bytesThere = Math.min(journalBytes, sizeBytes - journalOffset);
  for (let from = 0; from < bytesThere; from += stepBytes) {
    const step = await read(from, Math.min(stepBytes, bytesThere - from));
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
