/**
 * Probing: what a backing path is and carries, before anything is decided about it.
 *
 * Read-only, with node:fs alone; network disks are probe-network.ts's. Only regular files and block devices are ever opened: opening a fifo would wait,
 * and opening some character devices acts.
 */
import { type BigIntStats, constants } from 'node:fs';
import { access, type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { StorageError } from '../base/errors.ts';
import { FormatError } from './format/format-error.ts';
import { labelBytes } from './format/geometry.ts';
import { type Label, newestLabel } from './format/label.ts';
import type { ReadDisk } from './format/ring.ts';
import { findSignature, signatureHeadBytes, signatureTailBytes } from './signatures.ts';

export type PathKind = 'file' | 'block' | 'nfs' | 'iscsi' | 'directory' | 'special' | 'missing';

export interface ProbeResult {
  readonly path: string;
  readonly kind: PathKind;
  /** 0 unless a file or a block device. */
  readonly sizeBytes: number;
  /** The same for every path that leads to the same file or device; null when there is none. */
  readonly identity: string | null;
  readonly writable: boolean;
  /** The newer valid copy of a varve label. */
  readonly label: Label | null;
  /** Why there is none although something of a label is there: damaged, or of a later version. */
  readonly labelProblem: FormatError | null;
  /** Foreign content by name, "an XFS filesystem"; never set together with `label`. */
  readonly signature: string | null;
}

function kindOf(stats: BigIntStats): PathKind {
  if (stats.isFile()) return 'file';
  if (stats.isBlockDevice()) return 'block';
  return stats.isDirectory() ? 'directory' : 'special';
}

function identityOf(stats: BigIntStats): string {
  return stats.isBlockDevice() ? `block:${stats.rdev}` : `file:${stats.dev}:${stats.ino}`;
}

function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

async function statOrMissing(path: string): Promise<BigIntStats | null> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw unusable(path, error);
  }
}

function unusable(path: string, cause: unknown): StorageError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StorageError('disk/unusable', `cannot use ${path}: ${reason}`, { cause });
}

/** The kernel's numbering of devices, as makedev(3) packs it. */
function deviceNumber(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

/** Size of an opened file or block device. stat says 0 for devices; sysfs counts in 512 bytes whatever their sectors. */
export async function diskSizeBytes(handle: FileHandle): Promise<number> {
  const stats = await handle.stat({ bigint: true });
  if (!stats.isBlockDevice()) return Number(stats.size);
  const sectors = await readFile(`/sys/dev/block/${deviceNumber(stats.rdev)}/size`, 'latin1');
  return Number(sectors) * 512;
}

/** Reads as many of `length` bytes at `offset` as there are. */
export async function readAt(
  handle: FileHandle,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

function readLabel(head: Uint8Array): Pick<ProbeResult, 'label' | 'labelProblem'> {
  const copyA = head.subarray(0, labelBytes);
  const copyB = head.subarray(labelBytes);
  try {
    return { label: newestLabel(copyA, copyB), labelProblem: null };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const absent = error.code === 'no-label' || error.code === 'truncated';
    return { label: null, labelProblem: absent ? null : error };
  }
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function probeContent(handle: FileHandle, path: string): Promise<ProbeResult> {
  const stats = await handle.stat({ bigint: true });
  const sizeBytes = await diskSizeBytes(handle);
  const content = await readContent(sizeBytes, (offset, length) => readAt(handle, offset, length));
  return {
    path,
    kind: kindOf(stats),
    sizeBytes,
    identity: identityOf(stats),
    writable: await isWritable(path),
    ...content,
  };
}

/** What a disk carries. The edges, where others leave their marks, are read only when it has no label. */
export async function readContent(
  sizeBytes: number,
  read: ReadDisk,
): Promise<Pick<ProbeResult, 'label' | 'labelProblem' | 'signature'>> {
  const label = readLabel(await read(0, Math.min(sizeBytes, 2 * labelBytes)));
  if (label.label !== null) return { ...label, signature: null };
  const head = await read(0, Math.min(sizeBytes, signatureHeadBytes));
  const tailBytes = Math.min(sizeBytes, signatureTailBytes);
  const tail = await read(sizeBytes - tailBytes, tailBytes);
  return { ...label, signature: findSignature({ sizeBytes, head, tail }) };
}

export function withoutContent(path: string, kind: PathKind): ProbeResult {
  return {
    path,
    kind,
    sizeBytes: 0,
    identity: null,
    writable: false,
    label: null,
    labelProblem: null,
    signature: null,
  };
}

/**
 * Opens a file or block device for reading.
 *
 * @throws StorageError disk/unusable it is neither, or cannot be opened
 */
export async function openForReading(path: string): Promise<FileHandle> {
  const stats = await statOrMissing(path);
  const kind = stats === null ? 'missing' : kindOf(stats);
  if (kind !== 'file' && kind !== 'block') {
    throw unusable(path, kind === 'missing' ? 'there is no such file' : 'no file or block device');
  }
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw unusable(path, error);
  }
}

/**
 * Says what a path is and carries; follows symbolic links.
 *
 * @throws StorageError disk/unusable it cannot be opened or read
 */
export async function probeDisk(path: string): Promise<ProbeResult> {
  const stats = await statOrMissing(path);
  const kind = stats === null ? 'missing' : kindOf(stats);
  if (kind !== 'file' && kind !== 'block') return withoutContent(path, kind);
  const handle = await openForReading(path);
  try {
    return await probeContent(handle, path);
  } catch (error) {
    throw unusable(path, error);
  } finally {
    await handle.close();
  }
}
