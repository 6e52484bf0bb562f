/**
 * The journal behind a checkpoint, record by record from whichever replica has it; and what its end means.
 *
 * Each record is synced before the next one is written, so that behind the end there is at most one torn one. A whole record of the same or a
 * later life further on therefore says that the ones between were there and are damaged.
 */
import type { CheckedDisk } from '../check/disks.ts';
import { type JournalRecord, scanJournal } from '../format/journal-record.ts';
import type { JournalPlace } from '../journal-replay.ts';
import { lenient } from './lenient-read.ts';
import { ringRecords } from './ring-scan.ts';

/** Where the next record would be, and the epoch of the last one. */
export interface MergedEnd extends JournalPlace {
  readonly epoch: number;
}

/** Disks that carry a ring. */
export type Replicas = readonly CheckedDisk[];

/** The records from `from` on, in order. */
export async function* mergedRecords(
  replicas: Replicas,
  from: JournalPlace,
  onEnd: (end: MergedEnd) => void = () => {},
): AsyncGenerator<JournalRecord> {
  let end: MergedEnd = { ...from, epoch: 0 };
  for (let hasMore = true; hasMore; ) {
    hasMore = false;
    for (const replica of replicas) {
      for await (const record of recordsOf(replica, end)) {
        if (record.epoch < end.epoch) break;
        hasMore = true;
        end = {
          position: record.position + record.paddedBytes,
          sequence: record.sequence + 1,
          epoch: record.epoch,
        };
        yield record;
      }
    }
  }
  onEnd(end);
}

function recordsOf(
  { label, read }: CheckedDisk,
  from: JournalPlace,
): AsyncGenerator<JournalRecord> {
  const { poolUuid, journalOffset, journalBytes } = label;
  const place = { poolUuid, journalOffset, journalBytes };
  return scanJournal(lenient(read), {
    ...place,
    tailPosition: from.position,
    tailSequence: from.sequence,
  });
}

/** Where a record lies; of several lives that wrote one of that sequence, the latest's. */
export async function findRecord(
  replicas: Replicas,
  sequence: number,
): Promise<JournalPlace | undefined> {
  let found: JournalRecord | undefined;
  for (const replica of replicas) {
    for await (const record of ringRecords(replica, (header) => header.sequence === sequence)) {
      if (found === undefined || record.epoch > found.epoch) found = record;
    }
  }
  return found;
}

/** The first whole record behind an end that is damage; undefined: the journal truly ends there. */
export async function recordBehind(
  replicas: Replicas,
  end: MergedEnd,
): Promise<JournalPlace | undefined> {
  let next: JournalRecord | undefined;
  for (const replica of replicas) {
    const isBehind = ({ sequence, position, epoch }: MergedEnd) =>
      sequence > end.sequence && position > end.position && epoch >= end.epoch;
    for await (const record of ringRecords(replica, isBehind)) {
      if (next === undefined || record.sequence < next.sequence) next = record;
    }
  }
  return next;
}
