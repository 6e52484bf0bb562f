/**
 * The disks that are there: which pool, which number each has, and why the others are not.
 *
 * A disk without a readable label is taken for the only one that is missing when its ring holds records of this pool; which one it is
 * cannot be guessed otherwise, and bytes of the wrong disk would be worse than none.
 */
import { StorageError } from '../../base/errors.ts';
import {
  type CheckedDisk,
  checkCopies,
  checkLease,
  type DiskUnderCheck,
  isMember,
  seen,
  truthOf,
} from '../check/disks.ts';
import type { FindingLog } from '../check/findings.ts';
import { FormatError } from '../format/format-error.ts';
import { clustersOn, firstClusterFor, labelAreaBytes, labelBytes } from '../format/geometry.ts';
import { type Label, memberNumbers, newestLabel } from '../format/label.ts';
import { membersOrder, newestBy } from '../label-order.ts';
import { lenient } from '../lenient-read.ts';
import { ringRecords } from '../ring-scan.ts';
import type { LossReason } from './types.ts';

/** Why nothing is read from a disk. */
export interface Absence {
  readonly reason: LossReason;
  readonly detail: string;
}

export interface GatheredPool {
  readonly truth: Label;
  /** By number. */
  readonly disks: ReadonlyMap<number, CheckedDisk>;
  readonly absent: ReadonlyMap<number, Absence>;
}

interface Found {
  readonly labelled: CheckedDisk[];
  readonly unlabelled: DiskUnderCheck[];
}

/**
 * @throws StorageError pool/damaged no label can be read; pool/format one is of a later version; request/invalid the disks are of several
 *   pools; disk/unusable two of them are the same disk
 */
export async function gatherDisks(
  given: readonly DiskUnderCheck[],
  log: FindingLog,
): Promise<GatheredPool> {
  const found = await readLabels(given, log);
  if (found.labelled.length === 0) {
    throw new StorageError('pool/damaged', 'none of these disks has a label that can be read', {
      actions: ['give more disks of the pool: any one with a label tells what the pool is'],
    });
  }
  expectOnePool(found.labelled);
  const named = newestBy(
    membersOrder,
    found.labelled.map(({ label }) => label),
  );
  const members = found.labelled.filter((disk) => isMember(disk, named, log));
  if (members.length === 0) {
    const message = `none of these disks is a member of pool ${named.poolName}, which their labels name`;
    throw new StorageError('pool/damaged', message, {
      actions: ['give more disks of the pool'],
    });
  }
  const truth = truthOf(members);
  checkLease(truth, Date.now(), log);
  const absent = new Map<number, Absence>();
  const disks = new Map<number, CheckedDisk>();
  for (const disk of members) {
    const { diskNumber } = disk.label;
    if (isStale(disk.label, truth)) absent.set(diskNumber, staleness(disk, log));
    else disks.set(diskNumber, seen(disk, truth, log));
  }
  const missing = memberNumbers(truth).filter((n) => !disks.has(n) && !absent.has(n));
  await findMissing({ missing, unlabelled: found.unlabelled, truth, disks, absent, log });
  return { truth, disks, absent };
}

async function readLabels(given: readonly DiskUnderCheck[], log: FindingLog): Promise<Found> {
  const found: Found = { labelled: [], unlabelled: [] };
  for (const disk of given) {
    const { path, read } = disk;
    const head = await lenient(read)(0, 2 * labelBytes);
    const copies = [head.subarray(0, labelBytes), head.subarray(labelBytes)] as const;
    try {
      const label = newestLabel(...copies);
      checkCopies(copies, path, log);
      found.labelled.push({ ...disk, label });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      expectKnown(path, error);
      log.damage('label/none', path, error.message);
      found.unlabelled.push(disk);
    }
  }
  return found;
}

/** What a later version wrote is not read by rules of this one. */
function expectKnown(path: string, error: FormatError): void {
  if (error.code !== 'newer-version' && error.code !== 'refused-feature') return;
  throw new StorageError('pool/format', `${path}: ${error.message}`);
}

function expectOnePool(disks: readonly CheckedDisk[]): void {
  const [first] = disks;
  const numbers = new Map<number, CheckedDisk>();
  for (const disk of disks) {
    const { poolUuid, poolName, diskNumber } = disk.label;
    if (poolUuid !== first?.label.poolUuid) {
      const message = `${disk.path} belongs to pool ${poolName}, ${first?.path} to pool ${first?.label.poolName}`;
      throw new StorageError('request/invalid', message, {
        actions: ['salvage one pool at a time'],
      });
    }
    const twin = numbers.get(diskNumber);
    if (twin !== undefined) {
      const message = `${disk.path} and ${twin.path} are both disk ${diskNumber} of pool ${poolName}: one of them is a copy`;
      throw new StorageError('disk/unusable', message, { actions: ['name one of them'] });
    }
    numbers.set(diskNumber, disk);
  }
}

/** As expectNoneStale (truth.ts): a life of the pool went by without it. */
function isStale(label: Label, truth: Label): boolean {
  return label.epoch < truth.epoch && label.tailSequence < truth.tailSequence;
}

function staleness({ path, label }: CheckedDisk, log: FindingLog): Absence {
  const detail = `${path} is an old copy of disk ${label.diskNumber}, of epoch ${label.epoch}`;
  log.damage('disk/stale', path, detail);
  return { reason: 'disk-stale', detail };
}

async function findMissing(search: {
  readonly missing: readonly number[];
  readonly unlabelled: readonly DiskUnderCheck[];
  readonly truth: Label;
  readonly disks: Map<number, CheckedDisk>;
  readonly absent: Map<number, Absence>;
  readonly log: FindingLog;
}): Promise<void> {
  const { missing, unlabelled, truth, disks, absent, log } = search;
  const [number] = missing;
  const [candidate] = unlabelled;
  if (number !== undefined && missing.length === 1 && candidate && unlabelled.length === 1) {
    const disk = await takenFor(number, candidate, truth);
    if (disk !== undefined) {
      disks.set(number, disk);
      log.warning('label/guessed', disk.path, `is taken for disk ${number}: its ring says so`);
      return;
    }
  }
  for (const other of missing) {
    absent.set(other, absenceOf(other, unlabelled));
    log.damage('disk/missing', `disk ${other}`, absenceOf(other, unlabelled).detail);
  }
}

function absenceOf(number: number, unlabelled: readonly DiskUnderCheck[]): Absence {
  if (unlabelled.length === 0) {
    return { reason: 'disk-missing', detail: `disk ${number} was not given` };
  }
  const paths = unlabelled.map(({ path }) => path).join(', ');
  return {
    reason: 'label-bad',
    detail: `disk ${number} was not given, or has no readable label: ${paths}`,
  };
}

/** The disk as it would be if it carried a replica, when what lies in that ring is of this pool. */
async function takenFor(
  diskNumber: number,
  { path, read, sizeBytes }: DiskUnderCheck,
  truth: Label,
): Promise<CheckedDisk | undefined> {
  const { clusterBytes, journalBytes } = truth;
  const label = {
    ...truth,
    diskNumber,
    diskBytes: sizeBytes,
    journalOffset: labelAreaBytes,
    clusterCount: clustersOn(sizeBytes, clusterBytes),
    firstCluster: firstClusterFor(journalBytes, clusterBytes),
    checkpoint: null,
  };
  const disk = { path, sizeBytes, label, read };
  if (journalBytes === 0 || label.clusterCount <= label.firstCluster) return undefined;
  for await (const _record of ringRecords(disk)) return disk;
  return undefined;
}
