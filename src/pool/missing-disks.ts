/**
 * Which disks of a pool were not named, in words that help to find them.
 *
 * Where each disk was when it was added is on record in the pool; that record can be read when one of the disks named has a whole
 * checkpoint and journal.
 */
import { StorageError } from '../base/errors.ts';
import { DiskSet, type PoolDisk } from './disk-set.ts';
import { isForeign } from './foreign-disk.ts';
import type { DiskRecord } from './pool-records.ts';
import { readRecords } from './record-peek.ts';
import { partialTruth } from './truth.ts';

/** The error itself, or for `pool/disk-missing` one that says where the disks were last. Never throws. */
export async function explainMissing(
  error: unknown,
  opened: readonly PoolDisk[],
): Promise<unknown> {
  if (!(error instanceof StorageError && error.code === 'pool/disk-missing')) return error;
  const missing = await missingDisks(opened);
  if (missing.length === 0) return error;
  const list = missing.map(({ number, uuid, uri }) => `number ${number} (${uuid}, last at ${uri})`);
  const poolName = opened[0]?.label.poolName;
  const there = opened.map(({ location }) => location.uri);
  return new StorageError(
    'pool/disk-missing',
    `pool ${poolName} lacks ${missing.length === 1 ? 'a disk' : `${missing.length} disks`}: ${list.join(', ')}`,
    {
      cause: error,
      actions: [
        `varve pool import ${[...there, ...missing.map(({ uri }) => uri)].join(' ')}`,
        `to read what these disks have, without changing them: varve pool import --read-only ${there.join(' ')}`,
        'or, where they are now: varve disk scan, then name them there',
      ],
    },
  );
}

async function missingDisks(opened: readonly PoolDisk[]): Promise<DiskRecord[]> {
  const there = new Set(opened.map(({ label }) => label.diskNumber));
  return (await recordedDisks(opened)).filter(({ number }) => !there.has(number));
}

/** None when nothing can be read of the records: the error as it is says what it can. */
async function recordedDisks(opened: readonly PoolDisk[]): Promise<DiskRecord[]> {
  try {
    const records = [...(await readRecords(new DiskSet(opened), partialTruth(opened)))];
    return records
      .filter(([name, value]) => name.startsWith('disk/') && !isForeign(value))
      .map(([, value]) => value as DiskRecord)
      .sort((a, b) => a.number - b.number);
  } catch {
    return [];
  }
}
