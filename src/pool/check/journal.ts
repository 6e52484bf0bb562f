/**
 * The journal's replicas under check: they agree as far as they reach, what one has the others need not have, and nothing is missing before
 * the end.
 */

import { xxh64 } from '../format/hash.ts';
import type { JournalPlace, JournalRecord } from '../format/journal-record.ts';
import { type MergedEnd, mergedRecords, recordBehind } from '../ring-replicas.ts';
import type { CheckedDisk, CheckedPool } from './disks.ts';
import type { FindingLog } from './findings.ts';

/** Of the payloads, one per record, in order. */
type Hashes = readonly bigint[];

/** The records from the pool's tail on, each from whichever replica has it. */
export function journalRecords(pool: CheckedPool): AsyncGenerator<JournalRecord> {
  return mergedRecords(replicasOf(pool), tailOf(pool));
}

function replicasOf({ disks }: CheckedPool): CheckedDisk[] {
  return disks.filter(({ label }) => label.journalBytes > 0);
}

function tailOf({ truth }: CheckedPool): JournalPlace {
  return { position: truth.tailPosition, sequence: truth.tailSequence };
}

async function scan(
  replicas: readonly CheckedDisk[],
  tail: JournalPlace,
): Promise<{ readonly hashes: Hashes; readonly end: MergedEnd }> {
  const hashes: bigint[] = [];
  let end: MergedEnd = { ...tail, epoch: 0 };
  const records = mergedRecords(replicas, tail, (found) => {
    end = found;
  });
  for await (const { payload } of records) hashes.push(xxh64(payload));
  return { hashes, end };
}

function compare(
  replica: { readonly path: string; readonly hashes: Hashes },
  all: Hashes,
  tailSequence: number,
  log: FindingLog,
): void {
  const { path, hashes } = replica;
  const different = hashes.findIndex((hash, index) => hash !== all[index]);
  if (different >= 0) {
    const message = `record ${tailSequence + different} differs from that of another replica`;
    log.damage('journal/disagrees', path, message);
    return;
  }
  const missing = all.length - hashes.length;
  if (missing === 0) return;
  const message = `lacks the last ${missing} of ${all.length} records; the next opening copies them`;
  log.warning('journal/behind', path, message);
}

/** The checkpoint reflects everything before the tail, or records are lost between them. */
function checkTail({ truth }: CheckedPool, log: FindingLog): void {
  const reflected = truth.checkpoint?.sequence ?? 0;
  if (truth.tailSequence <= reflected + 1) return;
  const message = `begins at record ${truth.tailSequence}, the checkpoint ends at ${reflected}`;
  log.damage('journal/gap', truth.poolName, message);
}

/** A whole record behind the end says that the ones between were there. */
async function checkEnd(
  replicas: readonly CheckedDisk[],
  end: MergedEnd,
  log: FindingLog,
): Promise<void> {
  const behind = await recordBehind(replicas, end);
  if (behind === undefined) return;
  const message = `records ${end.sequence} to ${behind.sequence - 1} can be read from no replica, and later ones are there`;
  log.damage('journal/damaged', 'pool', message);
}

/** Scans every replica, and compares it with what all of them have together. */
export async function checkReplicas(pool: CheckedPool, log: FindingLog): Promise<void> {
  checkTail(pool, log);
  const replicas = replicasOf(pool);
  const all = await scan(replicas, tailOf(pool));
  for (const replica of replicas) {
    const { hashes } = await scan([replica], tailOf(pool));
    compare({ path: replica.path, hashes }, all.hashes, pool.truth.tailSequence, log);
  }
  await checkEnd(replicas, all.end, log);
}
