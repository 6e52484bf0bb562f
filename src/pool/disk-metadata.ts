/**
 * Verifies what an open pool keeps on one of its disks beside data: both copies of the label, the ring of the journal, the checkpoint.
 *
 * The pool goes on meanwhile. What was being written, or was replaced while it was read, is read again; what stays wrong is damage at rest.
 * Elsewhere: the same from the disks alone (check/), the map (online-check.ts).
 */
import { setTimeout } from 'node:timers/promises';
import type { FindingLog } from './check/findings.ts';
import { type PoolDisk, readerOf } from './disk-set.ts';
import { readCheckpoint } from './format/checkpoint-codec.ts';
import { FormatError } from './format/format-error.ts';
import { labelBytes } from './format/geometry.ts';
import { type JournalEnd, scanJournal } from './format/journal-record.ts';
import { decodeLabel } from './format/label.ts';
import type { Pool } from './pool.ts';

/** A label is written in far less. */
const readsMax = 5;
const againMs = 100;

/** @throws StorageError disk/io; pool/failed */
export async function checkDiskMetadata(
  pool: Pool,
  disk: PoolDisk,
  log: FindingLog,
): Promise<void> {
  await checkLabels(disk, log);
  if (!pool.diskInfo(disk.label.diskNumber).journal) return;
  await checkRing(pool, disk, log);
  await checkCheckpoint(disk, log);
}

async function checkLabels(disk: PoolDisk, log: FindingLog): Promise<void> {
  for (const copy of [0, 1]) {
    const problem = await lasting(() => labelProblem(disk, copy * labelBytes));
    if (problem === undefined) continue;
    log.damage('label/copy', `${disk.location.uri} copy ${'AB'[copy]}`, problem);
  }
}

async function labelProblem(disk: PoolDisk, offset: number): Promise<string | undefined> {
  return problemOf(async () => {
    decodeLabel(await readerOf(disk)(offset, labelBytes));
  });
}

/** Every record from the tail on up to what is durable can be read. */
async function checkRing(pool: Pool, disk: PoolDisk, log: FindingLog): Promise<void> {
  const problem = await lasting(async () => {
    const { label } = disk;
    const { sequence } = pool.index.state.applied;
    let end: JournalEnd | undefined;
    const scan = scanJournal(readerOf(disk), label, (found) => {
      end = found;
    });
    for await (const _record of scan);
    if (end === undefined || end.sequence > sequence) return undefined;
    return `record ${end.sequence} cannot be read: ${end.message}`;
  });
  if (problem !== undefined) log.damage('journal/damaged', disk.location.uri, problem);
}

async function checkCheckpoint(disk: PoolDisk, log: FindingLog): Promise<void> {
  const problem = await lasting(() =>
    problemOf(async () => {
      for await (const _entry of readCheckpoint(readerOf(disk), disk.label));
    }),
  );
  if (problem !== undefined) log.damage('checkpoint/damaged', disk.location.uri, problem);
}

async function problemOf(read: () => Promise<void>): Promise<string | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return error.message;
  }
}

/** A problem that is still there when it is looked at again and again. */
async function lasting(look: () => Promise<string | undefined>): Promise<string | undefined> {
  for (let reads = 1; ; reads++) {
    const problem = await look();
    if (problem === undefined || reads === readsMax) return problem;
    await setTimeout(againMs);
  }
}
