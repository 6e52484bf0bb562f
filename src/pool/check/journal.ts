/**
 * The journal's replicas under check: they agree as far as they reach, and the longest is the tail that counts.
 */

import { xxh64 } from '../format/hash.ts';
import { type JournalRecord, scanJournal } from '../format/journal-record.ts';
import type { CheckedDisk, CheckedPool } from './disks.ts';
import type { FindingLog } from './findings.ts';

interface Replica {
  readonly disk: CheckedDisk;
  /** One per record, in order. */
  readonly hashes: readonly bigint[];
}

/** The records of one replica from the pool's tail on. */
export function replicaRecords(
  pool: CheckedPool,
  disk: CheckedDisk,
): AsyncGenerator<JournalRecord> {
  const { poolUuid, tailPosition, tailSequence } = pool.truth;
  const { journalOffset, journalBytes } = disk.label;
  const tail = { poolUuid, tailPosition, tailSequence, journalOffset, journalBytes };
  return scanJournal(disk.read, tail);
}

async function scanReplica(pool: CheckedPool, disk: CheckedDisk): Promise<Replica> {
  const hashes: bigint[] = [];
  for await (const { payload } of replicaRecords(pool, disk)) hashes.push(xxh64(payload));
  return { disk, hashes };
}

function compare(replica: Replica, best: Replica, tailSequence: number, log: FindingLog): void {
  const different = replica.hashes.findIndex((hash, index) => hash !== best.hashes[index]);
  if (different >= 0) {
    const message = `record ${tailSequence + different} differs from the one on ${best.disk.path}`;
    log.damage('journal/disagrees', replica.disk.path, message);
    return;
  }
  const missing = best.hashes.length - replica.hashes.length;
  if (missing === 0) return;
  const message = `lacks the last ${missing} of ${best.hashes.length} records; the next opening copies them`;
  log.warning('journal/behind', replica.disk.path, message);
}

/** The checkpoint reflects everything before the tail, or records are lost between them. */
function checkTail({ truth }: CheckedPool, log: FindingLog): void {
  const reflected = truth.checkpoint?.sequence ?? 0;
  if (truth.tailSequence <= reflected + 1) return;
  const message = `begins at record ${truth.tailSequence}, the checkpoint ends at ${reflected}`;
  log.damage('journal/gap', truth.poolName, message);
}

/**
 * Scans and compares every replica.
 *
 * @returns the disk with the longest one; null when no disk carries a journal
 */
export async function checkReplicas(
  pool: CheckedPool,
  log: FindingLog,
): Promise<CheckedDisk | null> {
  checkTail(pool, log);
  const replicas: Replica[] = [];
  for (const disk of pool.disks) {
    if (disk.label.journalBytes > 0) replicas.push(await scanReplica(pool, disk));
  }
  const [first] = replicas;
  if (first === undefined) return null;
  const best = replicas.reduce((a, b) => (b.hashes.length > a.hashes.length ? b : a), first);
  for (const replica of replicas) compare(replica, best, pool.truth.tailSequence, log);
  return best.disk;
}
