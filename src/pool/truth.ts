/**
 * Which of the labels found is the pool's truth, and which of the disks belong to it.
 *
 * Of labels written in turn some may be newer than others when power is lost. Each field has its own order, within the
 * highest epoch: members go by their generation, the tail by its sequence. The checkpoint that goes with the tail is found
 * on the disks that carry it. A replica needs no such order: a disk says so only while its ring holds every durable record.
 */
import { StorageError } from '../base/errors.ts';
import type { PoolDisk } from './disk-set.ts';
import { type Label, memberNumbers } from './format/label.ts';

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
  const knows = found.members.some(({ label }) => label.journalBytes > 0);
  if (!knows) expectAllThere(found.missing, membership);
  return { label: truthOf(found.members, membership), ...found };
}

/** @throws StorageError disk/unusable */
function split(disks: readonly PoolDisk[]) {
  expectOnePool(disks);
  expectNoDoubles(disks);
  const membership = newest(disks, membersOrder);
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
  return truthOf(disks, newest(disks, membersOrder));
}

function truthOf(members: readonly PoolDisk[], { diskCount, membership }: Label): Label {
  const label = newest(members, tailOrder);
  // Only a journal disk knows the ring's size; its other fields are the pool's.
  const journal = members.find((disk) => disk.label.journalBytes > 0)?.label;
  if (journal === undefined) throw new StorageError('pool/damaged', 'no disk carries a journal');
  const { journalOffset, journalBytes } = journal;
  const checkpoint = checkpointAt(members, label.tailSequence);
  return { ...label, diskCount, membership, journalOffset, journalBytes, checkpoint };
}

/** The newest label may be of a disk that carries none, or has fallen behind with it. */
function checkpointAt(members: readonly PoolDisk[], tailSequence: number): Label['checkpoint'] {
  const checkpoints = members.map(({ label }) => label.checkpoint);
  return checkpoints.find((found) => found?.sequence === tailSequence - 1) ?? null;
}

/** Of two labels the one with the larger numbers, compared in order, is the newer. */
export type LabelOrder = (label: Label) => readonly number[];

/** Which label knows the members. */
export const membersOrder: LabelOrder = ({ epoch, membership, diskCount }) => [
  epoch,
  membership?.generation ?? 0,
  diskCount,
];
/** Which label knows where the journal begins. */
export const tailOrder: LabelOrder = ({ epoch, tailSequence }) => [epoch, tailSequence];

function newest(disks: readonly PoolDisk[], order: LabelOrder): Label {
  return disks.map(({ label }) => label).reduce((a, b) => (isHigher(order(b), order(a)) ? b : a));
}

function isHigher(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, place) => value !== b[place]);
  return at >= 0 && (a[at] as number) > (b[at] as number);
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
