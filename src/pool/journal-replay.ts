/**
 * Reading the journal's tail after a life has ended, and finishing that life's last words.
 *
 * Replicas hold the same records at the same places, but the last one may have reached only some of them: the
 * longest counts, the others are brought up to it. The committer syncs each record before it writes the next, so
 * behind the end there is at most one torn record, exactly where the next one goes.
 */
import { allEnded } from '../base/all-ended.ts';
import { MiB } from '../base/units.ts';
import { type DiskSet, explained, type PoolDisk, readerOf } from './disk-set.ts';
import { deltaBytes } from './format/delta.ts';
import {
  encodeDeltasPayload,
  encodeRecord,
  type JournalEnd,
  type JournalRecord,
  recordAlignment,
  recordKind,
  recordPayloadMax,
  scanJournal,
} from './format/journal-record.ts';
import { ringSegments } from './format/ring.ts';

export interface JournalPlace {
  readonly position: number;
  readonly sequence: number;
}

/** The largest payload that a ring takes in one record: a quarter of it, so that full is never deadlock. */
export function recordPayloadLimit(journalBytes: number): number {
  return Math.min(recordPayloadMax, journalBytes / 4 - recordAlignment);
}

/** Hands over the records from `from` on, in order; writes nothing. @throws StorageError disk/io */
export async function readTail(
  disks: DiskSet,
  from: JournalPlace,
  apply: (record: JournalRecord) => void,
): Promise<void> {
  const { disk } = await longestReplica(disks, from);
  await scanReplica(disk, from, apply);
}

/** Makes every replica hold all records from `from` on, durably. @throws StorageError disk/io */
export async function levelReplicas(disks: DiskSet, from: JournalPlace): Promise<void> {
  const ends = await scanReplicas(disks, from);
  const best = longest(ends);
  for (const { disk, end } of ends) {
    await copyRing(best.disk, disk, end.position, best.end.position);
  }
  // What was read may be in the page cache only, left by a killed process.
  await disks.sync(disks.journals);
}

interface ReplicaEnd {
  readonly disk: PoolDisk;
  readonly end: JournalEnd;
}

/** The replica that holds the most records from `from` on. @throws StorageError disk/io */
export async function longestReplica(disks: DiskSet, from: JournalPlace): Promise<ReplicaEnd> {
  return longest(await scanReplicas(disks, from));
}

function longest(ends: readonly ReplicaEnd[]): ReplicaEnd {
  return ends.reduce((a, b) => (b.end.sequence > a.end.sequence ? b : a));
}

async function scanReplicas(disks: DiskSet, from: JournalPlace): Promise<ReplicaEnd[]> {
  const ends: ReplicaEnd[] = [];
  for (const disk of disks.journals) ends.push({ disk, end: await scanReplica(disk, from) });
  return ends;
}

/** Hands over the records that one replica holds from `from` on. @throws StorageError disk/io */
export async function scanReplica(
  disk: PoolDisk,
  from: JournalPlace,
  apply: (record: JournalRecord) => void = () => {},
): Promise<JournalEnd> {
  let end: JournalEnd | undefined;
  const tail = { ...disk.label, tailPosition: from.position, tailSequence: from.sequence };
  for await (const record of scanJournal(readerOf(disk), tail, (found) => {
    end = found;
  })) {
    apply(record);
  }
  return end as JournalEnd;
}

async function copyRing(
  source: PoolDisk,
  target: PoolDisk,
  fromPosition: number,
  toPosition: number,
): Promise<void> {
  const { journalOffset, journalBytes } = source.label;
  for (let at = fromPosition; at < toPosition; at += MiB) {
    const length = Math.min(MiB, toPosition - at);
    for (const segment of ringSegments(at, length, journalBytes)) {
      const offset = journalOffset + segment.offset;
      const bytes = await explained(source, () => source.plane.read(offset, segment.length));
      await explained(target, () => target.plane.write(offset, bytes));
    }
  }
}

export interface LastWords {
  readonly poolUuid: string;
  /** Of the life that made the deltas. */
  readonly epoch: number;
  readonly lastSerial: number;
  /** Packed, in the order of their serials. */
  readonly deltas: Uint8Array;
}

/** The records that the ended life would have written next, as the ring takes them. */
export function lastRecords(words: LastWords, journalBytes: number): Uint8Array[] {
  const step = Math.floor((recordPayloadLimit(journalBytes) - 8) / deltaBytes) * deltaBytes;
  const firstSerial = words.lastSerial - words.deltas.length / deltaBytes + 1;
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < words.deltas.length; at += step) {
    const deltas = words.deltas.subarray(at, at + step);
    payloads.push(encodeDeltasPayload({ firstSerial: firstSerial + at / deltaBytes, deltas }));
  }
  return payloads;
}

/** Writes one record of deltas to every replica, durably. @returns the record's place in the ring */
export async function writeRecord(
  disks: DiskSet,
  at: JournalPlace & { readonly poolUuid: string; readonly epoch: number },
  payload: Uint8Array,
): Promise<JournalRecord> {
  const header = { kind: recordKind.deltas, ...at };
  const bytes = encodeRecord(header, payload);
  await allEnded(disks.journals.map((disk) => writeRing(disk, at.position, bytes)));
  await disks.sync(disks.journals);
  return { ...header, payloadBytes: payload.length, payload, paddedBytes: bytes.length };
}

/** Writes bytes at a ring position of one replica. */
export async function writeRing(
  disk: PoolDisk,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  const { journalOffset, journalBytes } = disk.label;
  let from = 0;
  for (const segment of ringSegments(position, bytes.length, journalBytes)) {
    const piece = bytes.subarray(from, from + segment.length);
    await explained(disk, () => disk.plane.write(journalOffset + segment.offset, piece));
    from += segment.length;
  }
}
