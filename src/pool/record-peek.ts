/**
 * What a pool that is not open has on record, read from its disks without changing anything.
 *
 * As good as the disks are at rest: a pool that somebody serves meanwhile may show some of its past.
 */
import { StorageError } from '../base/errors.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { type DiskLocation, DiskSet, openDisks, type PoolDisk, readerOf } from './disk-set.ts';
import { decodeBatch } from './format/batch.ts';
import { readCheckpoint } from './format/checkpoint-codec.ts';
import { FormatError } from './format/format-error.ts';
import { parseIndexKey } from './format/index-keys.ts';
import { recordKind } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import { expectNothingBehind, readTail } from './journal-replay.ts';
import type { NamedRecords } from './name-clash.ts';
import { parseRecord } from './pool-state.ts';
import type { MergedEnd } from './ring-replicas.ts';
import { chooseTruth, expectNoneStale } from './truth.ts';

type Records = Map<string, unknown>;

/**
 * @param accept told first of the labels; what it throws ends the reading
 * @throws StorageError as opening the pool
 */
export async function peekRecords(
  dataPlane: DataPlane,
  locations: readonly DiskLocation[],
  accept: (disks: readonly PoolDisk[], truth: Label) => void,
): Promise<NamedRecords> {
  const opened = await openDisks(dataPlane, locations);
  try {
    const { label: truth, members } = chooseTruth(opened);
    accept(members, truth);
    expectNoneStale(members, truth);
    const disks = new DiskSet(members);
    const records = await readCheckpointed(disks, truth);
    await expectNothingBehind(disks, await addJournaled(records, disks, truth));
    return { name: truth.poolName, records: [...records] };
  } finally {
    for (const { plane } of opened) await plane.close();
  }
}

/** @throws StorageError pool/damaged, disk/io */
export async function readRecords(disks: DiskSet, truth: Label): Promise<Records> {
  const records = await readCheckpointed(disks, truth);
  await addJournaled(records, disks, truth);
  return records;
}

/** From the first replica of the checkpoint that is sound. @throws StorageError pool/damaged */
async function readCheckpointed(disks: DiskSet, truth: Label): Promise<Records> {
  if (truth.checkpoint === null) return new Map();
  const { sequence } = truth.checkpoint;
  let cause: unknown;
  for (const disk of disks.journals) {
    if (disk.label.checkpoint?.sequence !== sequence) continue;
    try {
      return await readReplica(disk);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      cause = error;
    }
  }
  throw new StorageError(
    'pool/damaged',
    `no replica of the checkpoint of pool ${truth.poolName} can be read`,
    { cause },
  );
}

async function readReplica(disk: PoolDisk): Promise<Records> {
  const records: Records = new Map();
  for await (const { key, value } of readCheckpoint(readerOf(disk), disk.label)) {
    put(records, key, value);
  }
  return records;
}

async function addJournaled(records: Records, disks: DiskSet, truth: Label): Promise<MergedEnd> {
  const from = { position: truth.tailPosition, sequence: truth.tailSequence };
  return readTail(disks, from, ({ kind, payload }) => {
    if (kind !== recordKind.batch) return;
    for (const op of decodeBatch(payload)) {
      if (op.op === 'put') put(records, op.key, op.value);
      if (op.op === 'delete') put(records, op.key, null);
    }
  });
}

function put(records: Records, key: Uint8Array, value: Uint8Array | null): void {
  const parsed = parseIndexKey(key);
  if (parsed.kind !== 'record') return;
  if (value === null) records.delete(parsed.name);
  else records.set(parsed.name, parseRecord(key, value));
}
