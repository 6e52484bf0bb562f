/**
 * The disks of a pool under check: both label copies, geometry against the real size, agreement with each other.
 */
import type { FileHandle } from 'node:fs/promises';
import { FormatError } from '../format/format-error.ts';
import { firstClusterFor, labelBytes } from '../format/geometry.ts';
import { decodeLabel, type Label, newestLabel } from '../format/label.ts';
import type { ReadDisk } from '../format/ring.ts';
import { diskSizeBytes, openForReading, readAt } from '../probe.ts';
import type { FindingLog } from './findings.ts';

export interface CheckedDisk {
  readonly path: string;
  readonly label: Label;
  readonly read: ReadDisk;
}

export interface CheckedPool {
  /** In the order of their numbers. */
  readonly disks: readonly CheckedDisk[];
  /** The label that tells the truth about the pool: highest epoch, then newest checkpoint. */
  readonly truth: Label;
}

/** After this long without a heartbeat a lease counts as given up. */
const leaseMs = 30_000;

function checkCopies(copies: readonly Uint8Array[], path: string, log: FindingLog): void {
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
  if (firstCluster !== firstClusterFor(journalBytes, clusterBytes)) {
    log.damage('label/geometry', path, `first cluster ${firstCluster} is not where it belongs`);
  }
  if (clusterCount !== Math.floor(diskBytes / clusterBytes)) {
    log.damage('label/geometry', path, `${clusterCount} clusters do not fit ${diskBytes} bytes`);
  }
}

async function checkDisk(
  handle: FileHandle,
  path: string,
  log: FindingLog,
): Promise<CheckedDisk | null> {
  const head = await readAt(handle, 0, 2 * labelBytes);
  const copies = [head.subarray(0, labelBytes), head.subarray(labelBytes)] as const;
  try {
    const label = newestLabel(...copies);
    checkCopies(copies, path, log);
    checkGeometry(path, label, await diskSizeBytes(handle), log);
    return { path, label, read: (offset, length) => readAt(handle, offset, length) };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    log.damage('label/none', path, error.message);
    return null;
  }
}

function isNewer(a: Label, b: Label): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  return (a.checkpoint?.sequence ?? 0) > (b.checkpoint?.sequence ?? 0);
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
  if (numbers.size < truth.diskCount) {
    const message = `${numbers.size} of ${truth.diskCount} disks were given`;
    log.damage('pool/disk-missing', truth.poolName, message);
  }
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

function checkLease(truth: Label, nowMs: number, log: FindingLog): void {
  const age = nowMs - truth.heartbeatMs;
  if (truth.owner === null || age > leaseMs) return;
  const seconds = Math.max(0, Math.round(age / 1000));
  const message = `host ${truth.owner} gave a sign of life ${seconds} s ago: what changes under a check looks like damage`;
  log.warning('pool/lease-alive', truth.poolName, message);
}

/**
 * Reads and compares the labels on opened disks.
 *
 * @returns null when no disk carries a readable label
 */
export async function checkDisks(
  handles: readonly (readonly [path: string, handle: FileHandle])[],
  nowMs: number,
  log: FindingLog,
): Promise<CheckedPool | null> {
  const found: CheckedDisk[] = [];
  for (const [path, handle] of handles) {
    const disk = await checkDisk(handle, path, log);
    if (disk !== null) found.push(disk);
  }
  const [first] = found;
  if (first === undefined) return null;
  const truth = found.reduce(
    (best, { label }) => (isNewer(label, best) ? label : best),
    first.label,
  );
  checkAgreement(found, truth, log);
  checkJournals(found, log);
  checkLease(truth, nowMs, log);
  const disks = found
    .filter(({ label }) => label.poolUuid === truth.poolUuid)
    .sort((a, b) => a.label.diskNumber - b.label.diskNumber);
  return { disks, truth };
}

/** Opens every path for reading; what cannot be opened is a finding. The caller closes. */
export async function openDisks(
  paths: readonly string[],
  log: FindingLog,
): Promise<(readonly [path: string, handle: FileHandle])[]> {
  const handles: (readonly [string, FileHandle])[] = [];
  for (const path of paths) {
    try {
      handles.push([path, await openForReading(path)]);
    } catch (error) {
      log.damage('disk/unreadable', path, (error as Error).message);
    }
  }
  return handles;
}
