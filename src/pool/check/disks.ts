/**
 * The disks of a pool under check: both label copies, geometry against the real size, agreement with each other.
 */

import type { FileHandle } from 'node:fs/promises';
import { StorageError } from '../../base/errors.ts';
import { FormatError } from '../format/format-error.ts';
import { firstClusterFor, labelBytes } from '../format/geometry.ts';
import { decodeLabel, type Label, memberNumbers, newestLabel } from '../format/label.ts';
import type { ReadDisk } from '../format/ring.ts';
import {
  believed,
  journalOf,
  lostRings,
  membersOrder,
  newestBy,
  tailOrder,
} from '../label-order.ts';
import { diskSizeBytes, openForReading, readAt } from '../probe.ts';
import type { FindingLog } from './findings.ts';

export interface CheckedDisk {
  readonly path: string;
  /** As it is, whatever its label says. */
  readonly sizeBytes: number;
  readonly label: Label;
  readonly read: ReadDisk;
}

/** A disk as the check needs it, wherever its bytes are. */
export interface DiskUnderCheck {
  /** What findings call it. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly read: ReadDisk;
}

export interface OpenedDisk extends DiskUnderCheck {
  close(): Promise<void>;
}

export interface CheckedPool {
  /** In the order of their numbers. */
  readonly disks: readonly CheckedDisk[];
  /** What the newest labels say of the pool: the members by their generation, the tail by its sequence, both within the highest epoch. */
  readonly truth: Label;
}

/** After this long without a heartbeat a lease counts as given up. */
const leaseMs = 30_000;

/** A copy that is damaged while the other is not. */
export function checkCopies(copies: readonly Uint8Array[], path: string, log: FindingLog): void {
  copies.forEach((copy, index) => {
    try {
      decodeLabel(copy);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      // A pool's first label has only one copy; a cut during a label's write leaves one copy torn.
      if (error.code === 'no-label') return;
      log.warning('label/copy', `${path} copy ${'AB'[index]}`, error.message);
    }
  });
}

function checkGeometry(path: string, label: Label, sizeBytes: number, log: FindingLog): void {
  const { firstCluster, clusterCount, clusterBytes, journalBytes, diskBytes } = label;
  if (sizeBytes < diskBytes) {
    log.damage('disk/shrunk', path, `has ${sizeBytes} bytes, its label says ${diskBytes}`);
  }
  const first = firstClusterFor(journalBytes, clusterBytes);
  // A disk without a ring may keep room for one.
  if (journalBytes === 0 ? firstCluster < first : firstCluster !== first) {
    log.damage('label/geometry', path, `first cluster ${firstCluster} is not where it belongs`);
  }
  if (clusterCount !== Math.floor(diskBytes / clusterBytes)) {
    log.damage('label/geometry', path, `${clusterCount} clusters do not fit ${diskBytes} bytes`);
  }
}

function readerOf(handle: FileHandle, path: string): ReadDisk {
  return async (offset, length) => {
    try {
      return await readAt(handle, offset, length);
    } catch (cause) {
      const reason = (cause as Error).message;
      throw new StorageError('disk/io', `cannot read ${path} at byte ${offset}: ${reason}`, {
        cause,
      });
    }
  };
}

async function checkDisk(
  { path, sizeBytes, read }: DiskUnderCheck,
  log: FindingLog,
): Promise<CheckedDisk | null> {
  const head = await read(0, 2 * labelBytes);
  const copies = [head.subarray(0, labelBytes), head.subarray(labelBytes)] as const;
  try {
    const label = newestLabel(...copies);
    checkCopies(copies, path, log);
    checkGeometry(path, label, sizeBytes, log);
    return { path, sizeBytes, label, read };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    log.damage('label/none', path, error.message);
    return null;
  }
}

const labelsOf = (disks: readonly CheckedDisk[]) => disks.map(({ label }) => label);

/** Members, tail and rings left behind each have the newest label of their own. */
export function truthOf(disks: readonly CheckedDisk[]): Label {
  const labels = labelsOf(disks);
  const { diskCount, membership } = newestBy(membersOrder, labels);
  const lost = lostRings(labels);
  const tail = newestBy(tailOrder, labels);
  return { ...tail, ...journalOf(labels, lost), diskCount, membership, lostRings: lost };
}

/** A ring that was left behind is not looked at: it lacks records, and the next opening begins it anew. */
export function seen(disk: CheckedDisk, { lostRings: lost }: Label, log: FindingLog): CheckedDisk {
  const label = believed(disk.label, lost);
  if (label.journalBytes !== disk.label.journalBytes) {
    log.warning('journal/left-behind', disk.path, 'its ring lacks records and is not believed');
  }
  return { ...disk, label };
}

/** A disk that was removed and kept its label: whatever it says, it is none of the pool's. */
export function isMember({ path, label }: CheckedDisk, truth: Label, log: FindingLog): boolean {
  if (memberNumbers(truth).includes(label.diskNumber)) return true;
  const message = `was disk ${label.diskNumber} of pool ${truth.poolName}, which was removed; the next opening takes its label`;
  log.warning('disk/left', path, message);
  return false;
}

function checkAgreement(disks: readonly CheckedDisk[], truth: Label, log: FindingLog): void {
  const numbers = new Set<number>();
  for (const { path, label } of disks) {
    for (const field of ['poolUuid', 'poolName', 'clusterBytes'] as const) {
      if (label[field] === truth[field]) continue;
      log.damage('label/disagrees', path, `${field} is ${label[field]}, elsewhere ${truth[field]}`);
    }
    if (numbers.has(label.diskNumber)) {
      log.damage('label/disagrees', path, `disk number ${label.diskNumber} is there twice`);
    }
    numbers.add(label.diskNumber);
  }
}

/** With disks left out everything that points to them would look damaged. A disk whose label is gone is not left out. */
function expectAllGiven(givenCount: number, disks: readonly CheckedDisk[], truth: Label): void {
  const there = new Set(disks.map(({ label }) => label.diskNumber));
  const missing = memberNumbers(truth).filter((number) => !there.has(number));
  if (missing.length === 0 || givenCount >= truth.diskCount) return;
  throw new StorageError(
    'pool/disk-missing',
    `pool ${truth.poolName} has ${truth.diskCount} disks, number ${missing.join(', ')} was not given`,
  );
}

function checkJournals(disks: readonly CheckedDisk[], log: FindingLog): void {
  const journals = disks.filter(({ label }) => label.journalBytes > 0);
  const [first] = journals;
  if (first === undefined) log.damage('journal/none', 'pool', 'no disk carries a journal');
  for (const { path, label } of journals) {
    if (label.journalBytes === first?.label.journalBytes) continue;
    log.damage('label/disagrees', path, `a journal of ${label.journalBytes} bytes`);
  }
}

/** A live owner changes what is being read. */
export function checkLease(truth: Label, nowMs: number, log: FindingLog): void {
  const age = nowMs - truth.heartbeatMs;
  if (truth.owner === null || age > leaseMs) return;
  const seconds = Math.max(0, Math.round(age / 1000));
  const message = `host ${truth.owner} gave a sign of life ${seconds} s ago: what changes under a check looks like damage`;
  log.warning('pool/lease-alive', truth.poolName, message);
}

/**
 * Reads and compares the labels on disks.
 *
 * @returns null when no disk carries a readable label, or none is a member of the pool that they name
 * @throws StorageError pool/disk-missing, disk/io
 */
export async function checkDisks(
  given: readonly DiskUnderCheck[],
  nowMs: number,
  log: FindingLog,
): Promise<CheckedPool | null> {
  const found: CheckedDisk[] = [];
  for (const each of given) {
    const disk = await checkDisk(each, log);
    if (disk !== null) found.push(disk);
  }
  if (found.length === 0) return null;
  const named = newestBy(membersOrder, labelsOf(found));
  const theirs = found.filter((disk) => isMember(disk, named, log));
  if (theirs.length === 0) {
    log.damage('label/none', 'pool', `none of the disks is a member of pool ${named.poolName}`);
    return null;
  }
  const truth = truthOf(theirs);
  const members = theirs.map((disk) => seen(disk, truth, log));
  expectAllGiven(given.length - (found.length - members.length), members, truth);
  checkAgreement(members, truth, log);
  checkJournals(members, log);
  checkLease(truth, nowMs, log);
  const disks = members
    .filter(({ label }) => label.poolUuid === truth.poolUuid)
    .sort((a, b) => a.label.diskNumber - b.label.diskNumber);
  return { disks, truth };
}

/** Opens every path for reading; the caller closes. @throws StorageError disk/unusable; then nothing stays open */
export async function openDisks(paths: readonly string[]): Promise<OpenedDisk[]> {
  const opened: OpenedDisk[] = [];
  try {
    for (const path of paths) opened.push(await openDisk(path));
    return opened;
  } catch (error) {
    await closeDisks(opened);
    throw error;
  }
}

export async function closeDisks(disks: readonly OpenedDisk[]): Promise<void> {
  await Promise.all(disks.map((disk) => disk.close()));
}

/** Opens a file or block device for reading; the caller closes. @throws StorageError disk/unusable */
export async function openDisk(path: string): Promise<OpenedDisk> {
  const handle = await openForReading(path);
  const close = () => handle.close();
  try {
    const sizeBytes = await diskSizeBytes(handle);
    return { path, sizeBytes, read: readerOf(handle, path), close };
  } catch (error) {
    await close();
    throw error;
  }
}
