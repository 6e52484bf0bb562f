/**
 * Which of the labels found is the pool's truth, and whether all disks are there.
 */
import { StorageError } from '../base/errors.ts';
import type { PoolDisk } from './disk-set.ts';
import type { Label } from './format/label.ts';

/**
 * The label with the highest epoch, and among those the newest checkpoint.
 *
 * @throws StorageError pool/disk-missing; disk/unusable disks of different pools, or one disk given twice
 */
export function chooseTruth(disks: readonly PoolDisk[]): Label {
  expectOnePool(disks);
  expectNoDoubles(disks);
  const truth = disks.map((disk) => disk.label).reduce((a, b) => (isNewer(b, a) ? b : a));
  expectAllThere(disks, truth);
  // Only a journal disk knows the ring's size; its other fields are the pool's.
  const journal = disks.find(({ label }) => label.journalBytes > 0)?.label;
  if (journal === undefined) throw new StorageError('pool/damaged', 'no disk carries a journal');
  const { journalOffset, journalBytes } = journal;
  return { ...truth, journalOffset, journalBytes };
}

function isNewer(a: Label, b: Label): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  const sequence = (label: Label) => label.checkpoint?.sequence ?? 0;
  return sequence(a) > sequence(b);
}

function expectOnePool(disks: readonly PoolDisk[]): void {
  const [first] = disks;
  if (first === undefined) throw new StorageError('request/invalid', 'no disk was named');
  const other = disks.find(({ label }) => label.poolUuid !== first.label.poolUuid);
  if (other === undefined) return;
  throw new StorageError(
    'disk/unusable',
    `disk ${other.location.uri} belongs to pool ${other.label.poolName}, ${first.location.uri} to pool ${first.label.poolName}`,
  );
}

function expectNoDoubles(disks: readonly PoolDisk[]): void {
  const seen = new Map<number, PoolDisk>();
  for (const disk of disks) {
    const other = seen.get(disk.label.diskNumber);
    if (other !== undefined) {
      throw new StorageError(
        'disk/unusable',
        `${disk.location.uri} and ${other.location.uri} are both disk ${disk.label.diskNumber} of pool ${disk.label.poolName}: copies of one disk, or one disk named twice`,
      );
    }
    seen.set(disk.label.diskNumber, disk);
  }
}

function expectAllThere(disks: readonly PoolDisk[], truth: Label): void {
  const there = new Set(disks.map(({ label }) => label.diskNumber));
  const missing: number[] = [];
  for (let number = 0; number < truth.diskCount; number++) {
    if (!there.has(number)) missing.push(number);
  }
  if (missing.length === 0) return;
  throw new StorageError(
    'pool/disk-missing',
    `pool ${truth.poolName} has ${truth.diskCount} disks; missing: number ${missing.join(', ')}`,
    { actions: ['name all of its disks'] },
  );
}
