/**
 * Which of the labels found is the pool's truth, and which of the disks belong to it.
 *
 * Of labels written in turn some may be newer than others when power is lost. Each field has its own order, within the
 * highest epoch (label-order.ts): members and rings left behind go by their generation, the tail by its sequence. The checkpoint that goes
 * with the tail is found on the disks that carry it. A ring holds every durable record while its disk's label says that it does, and no newer
 * label says that it was left behind.
 */
import { StorageError } from '../base/errors.ts';
import type { PoolDisk } from './disk-set.ts';
import { type Label, memberNumbers } from './format/label.ts';
import { journalOf, lostRings, membersOrder, newestBy, tailOrder } from './label-order.ts';

export interface Truth {
  /** Tail and checkpoint of the pool, and the place of its ring on some disk; the rest is any disk's. */
  readonly label: Label;
  /** The disks found that belong to the pool. */
  readonly members: readonly PoolDisk[];
  /** Those whose removal was cut off behind its last step that counts: nothing of the pool is on them. */
  readonly left: readonly PoolDisk[];
}

/**
 * @throws StorageError pool/disk-missing; disk/unusable disks of different pools, or one disk given twice;
 *   pool/damaged no disk carries a journal
 */
export function chooseTruth(disks: readonly PoolDisk[]): Truth {
  const { membership, missing, ...found } = split(disks);
  expectAllThere(missing, membership);
  return { label: truthOf(found.members, membership), ...found };
}

/**
 * As `chooseTruth`, as far as these disks know; `missing` are the numbers of members that are not among them.
 *
 * @throws StorageError pool/disk-missing only others know what the pool holds
 */
export function partialMembers(
  disks: readonly PoolDisk[],
): Truth & { readonly missing: readonly number[] } {
  const { membership, ...found } = split(disks);
  const labels = labelsOf(found.members);
  const knows = found.members.length > 0 && journalOf(labels, lostRings(labels)) !== undefined;
  if (!knows) expectAllThere(found.missing, membership);
  return { label: truthOf(found.members, membership), ...found };
}

/** @throws StorageError disk/unusable */
function split(disks: readonly PoolDisk[]) {
  expectOnePool(disks);
  expectNoDoubles(disks);
  const membership = newestBy(membersOrder, labelsOf(disks));
  const numbers = memberNumbers(membership);
  const isMember = ({ label }: PoolDisk) => numbers.includes(label.diskNumber);
  const members = disks.filter(isMember);
  const there = new Set(members.map(({ label }) => label.diskNumber));
  const missing = numbers.filter((number) => !there.has(number));
  const left = disks.filter((disk) => !isMember(disk));
  return { membership, members, left, missing };
}

/** As far as these disks know, of one pool, which may have others. @throws StorageError pool/damaged none carries a journal */
export function partialTruth(disks: readonly PoolDisk[]): Label {
  return truthOf(disks, newestBy(membersOrder, labelsOf(disks)));
}

function truthOf(members: readonly PoolDisk[], { diskCount, membership }: Label): Label {
  const labels = labelsOf(members);
  const lost = lostRings(labels);
  const journal = journalOf(labels, lost);
  if (journal === undefined) throw new StorageError('pool/damaged', 'no disk carries a journal');
  const label = newestBy(tailOrder, labels);
  return { ...label, ...journal, diskCount, membership, lostRings: lost };
}

const labelsOf = (disks: readonly PoolDisk[]) => disks.map(({ label }) => label);

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
        `${disk.location.uri} and ${other.location.uri} are both disk ${disk.label.diskNumber} of pool ${disk.label.poolName}: one of them is a copy`,
        { actions: ['name the original only; nobody but you can tell which one that is'] },
      );
    }
    seen.set(disk.label.diskNumber, disk);
  }
}

/**
 * A life of the pool went by without the disk. Crashes leave no such disk: an opening writes the labels that lag behind first
 * (recovery.ts), so that a label of an earlier epoch has the tail of the newest one.
 *
 * @throws StorageError disk/unusable
 */
export function expectNoneStale(disks: readonly PoolDisk[], truth: Label): void {
  const stale = disks.find(
    ({ label }) => label.epoch < truth.epoch && label.tailSequence < truth.tailSequence,
  );
  if (stale === undefined) return;
  throw new StorageError(
    'disk/unusable',
    `disk ${stale.location.uri} is older than the others (epoch ${stale.label.epoch}, theirs ${truth.epoch}): the pool was in use without it, or it is an old copy`,
    { actions: [`name the present disk ${stale.label.diskNumber} of pool ${truth.poolName}`] },
  );
}

function expectAllThere(missing: readonly number[], truth: Label): void {
  if (missing.length === 0) return;
  throw new StorageError(
    'pool/disk-missing',
    `pool ${truth.poolName} has ${truth.diskCount} disks; missing: number ${missing.join(', ')}`,
    { actions: ['name all of its disks'] },
  );
}
