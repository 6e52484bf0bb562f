/**
 * Reading the journal's tail after a life has ended, and finishing that life's last words.
 *
 * Replicas hold the same records at the same places, but the last one may have reached only some of them, and any may be damaged: what one
 * has counts, and the others get it. Where none has a record although later ones are there, changes are lost, and nothing is replayed.
 * Elsewhere: reading all replicas as one, and why its end can be told from damage (ring-replicas.ts).
 */
import { allEnded } from '../base/all-ended.ts';
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { type DiskSet, explained, type PoolDisk, readerOf } from './disk-set.ts';
import { deltaBytes } from './format/delta.ts';
import {
  encodeDeltasPayload,
  encodeRecord,
  type JournalPlace,
  type JournalRecord,
  recordAlignment,
  recordKind,
  recordPayloadMax,
} from './format/journal-record.ts';
import { readRing, ringSegments } from './format/ring.ts';
import { lenient } from './lenient-read.ts';
import { type MergedEnd, mergedRecords, type RingReplica, recordBehind } from './ring-replicas.ts';

const compareBytes = MiB;

/** The largest payload that a ring takes in one record: a quarter of it, so that full is never deadlock. */
export function recordPayloadLimit(journalBytes: number): number {
  return Math.min(recordPayloadMax, journalBytes / 4 - recordAlignment);
}

/** Hands over the records from `from` on, in order; writes nothing. @returns where they end @throws StorageError disk/io */
export function readTail(
  disks: DiskSet,
  from: JournalPlace,
  apply: (record: JournalRecord) => void,
): Promise<MergedEnd> {
  return read(replicasOf(disks), from, apply);
}

async function read(
  replicas: readonly RingReplica[],
  from: JournalPlace,
  apply: (record: JournalRecord) => void = () => {},
): Promise<MergedEnd> {
  let end: MergedEnd = { ...from, epoch: 0 };
  const records = mergedRecords(replicas, from, (found) => {
    end = found;
  });
  for await (const record of records) apply(record);
  return end;
}

/**
 * The journal truly ends there: what stands behind it would be acknowledged changes that nobody could apply any more.
 *
 * @throws StorageError pool/damaged; disk/io
 */
export async function expectNothingBehind(disks: DiskSet, end: MergedEnd): Promise<void> {
  const behind = await recordBehind(replicasOf(disks), end);
  if (behind === undefined) return;
  const last = behind.sequence - 1;
  const lost = last === end.sequence ? `record ${last}` : `records ${end.sequence} to ${last}`;
  const { poolName } = (disks.journals[0] as PoolDisk).label;
  const uris = disks.all.map(({ location }) => location.uri).join(' ');
  throw new StorageError(
    'pool/damaged',
    `${lost} of the journal of pool ${poolName} can be read from none of its replicas, and later ones are there: it would lack what was changed last`,
    {
      actions: [
        `varve pool salvage ${uris} tells what can be copied out of them`,
        `varve pool check --offline ${uris} lists what is damaged`,
      ],
    },
  );
}

/**
 * Makes every replica hold all records from `from` on, durably.
 *
 * @param end of those that any of them holds: a position in the ring
 * @throws StorageError disk/io
 */
export async function levelReplicas(
  disks: DiskSet,
  from: JournalPlace,
  end: number,
): Promise<void> {
  if (!(await areAlike(disks.journals, from.position, end))) await copyLacking(disks, from);
  // What was read may be in the page cache only, left by a killed process.
  await disks.sync(disks.journals);
}

/** Almost always, and found in a fraction of the time that it takes to read them record by record. */
async function areAlike(
  [first, ...others]: readonly PoolDisk[],
  from: number,
  end: number,
): Promise<boolean> {
  if (first === undefined || others.length === 0) return true;
  for (let at = from; at < end; at += compareBytes) {
    const length = Math.min(compareBytes, end - at);
    const expected = await readLeniently(first, at, length);
    for (const other of others) {
      if (Buffer.compare(await readLeniently(other, at, length), expected) !== 0) return false;
    }
  }
  return true;
}

/** Zeroes stand for what cannot be read: those who look for records find out. */
function readLeniently(disk: PoolDisk, position: number, length: number): Promise<Uint8Array> {
  return readRing(lenient(readerOf(disk)), disk.label, position, length);
}

async function copyLacking(disks: DiskSet, from: JournalPlace): Promise<void> {
  const replicas: { disk: PoolDisk; end: MergedEnd }[] = [];
  for (const disk of disks.journals) {
    replicas.push({ disk, end: await read([replicaOf(disk)], from) });
  }
  for await (const record of mergedRecords(replicasOf(disks), from)) {
    const lacking = replicas.filter(({ end }) => end.sequence <= record.sequence);
    if (lacking.length === 0) continue;
    const bytes = encodeRecord(record, record.payload);
    await allEnded(lacking.map(({ disk }) => writeRing(disk, record.position, bytes)));
  }
}

function replicasOf(disks: DiskSet): RingReplica[] {
  return disks.journals.map(replicaOf);
}

function replicaOf(disk: PoolDisk): RingReplica {
  return { label: disk.label, sizeBytes: disk.plane.sizeBytes, read: readerOf(disk) };
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
