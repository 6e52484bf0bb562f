/**
 * The journal as all replicas of its ring together hold it, from a record on; and what its end means.
 *
 * Replicas hold the same records at the same places: where one has none that is whole, another may go on. Each record is synced on every
 * replica before the next one is written, so that behind the end there is at most one torn one. A whole record of the same or a later life
 * further on therefore says that the ones between were there, and are damaged.
 */
import { allEnded } from '../base/all-ended.ts';
import { type JournalPlace, type JournalRecord, scanJournal } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import type { ReadDisk } from './format/ring.ts';
import { ringRecords } from './ring-scan.ts';

/** A disk that carries a ring. */
export interface RingReplica {
  readonly label: Pick<Label, 'poolUuid' | 'journalOffset' | 'journalBytes'>;
  readonly sizeBytes: number;
  readonly read: ReadDisk;
}

/** Where the next record would be, and the epoch of the last one; 0 when there is none. */
export interface MergedEnd extends JournalPlace {
  readonly epoch: number;
}

/** The records from `from` on, in order, each from whichever replica has it. */
export async function* mergedRecords(
  replicas: readonly RingReplica[],
  from: JournalPlace,
  onEnd: (end: MergedEnd) => void = () => {},
): AsyncGenerator<JournalRecord> {
  let end: MergedEnd = { ...from, epoch: 0 };
  // Of how many in a row it is known that they have nothing at this end.
  let ended = 0;
  for (let turn = 0; ended < replicas.length; turn++) {
    const before = end.sequence;
    const replica = replicas[turn % replicas.length] as RingReplica;
    for await (const record of recordsOf(replica, end)) {
      if (record.epoch < end.epoch) break;
      end = {
        position: record.position + record.paddedBytes,
        sequence: record.sequence + 1,
        epoch: record.epoch,
      };
      yield record;
    }
    ended = end.sequence === before ? ended + 1 : 1;
  }
  onEnd(end);
}

function recordsOf(
  { label, read }: RingReplica,
  from: JournalPlace,
): AsyncGenerator<JournalRecord> {
  const { poolUuid, journalOffset, journalBytes } = label;
  const place = { poolUuid, journalOffset, journalBytes };
  return scanJournal(read, { ...place, tailPosition: from.position, tailSequence: from.sequence });
}

/** Where a record lies; of several lives that wrote one of that sequence, the latest's. */
export async function findRecord(
  replicas: readonly RingReplica[],
  sequence: number,
): Promise<JournalPlace | undefined> {
  let found: JournalRecord | undefined;
  await eachRecord(
    replicas,
    (header) => header.sequence === sequence,
    (record) => {
      if (found === undefined || record.epoch > found.epoch) found = record;
    },
  );
  return found;
}

/** The first whole record behind an end that is damage; undefined: the journal truly ends there. */
export async function recordBehind(
  replicas: readonly RingReplica[],
  end: MergedEnd,
): Promise<JournalRecord | undefined> {
  let next: JournalRecord | undefined;
  const isBehind = ({ sequence, position, epoch }: MergedEnd) =>
    sequence > end.sequence && position > end.position && epoch >= end.epoch;
  await eachRecord(replicas, isBehind, (record) => {
    if (next === undefined || record.sequence < next.sequence) next = record;
  });
  return next;
}

/** Reads the rings side by side. */
async function eachRecord(
  replicas: readonly RingReplica[],
  wanted: (header: MergedEnd) => boolean,
  take: (record: JournalRecord) => void,
): Promise<void> {
  const reading = replicas.map(async (replica) => {
    for await (const record of ringRecords(replica, wanted)) take(record);
  });
  await allEnded(reading);
}
