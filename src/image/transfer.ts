/**
 * The two passes of every load and save: copied, then read again and compared. Each is a call of qemu-img, but for the copying of what is
 * served meanwhile (served-load.ts).
 */
import { StorageError } from '../base/errors.ts';
import type { ReportProgress } from '../pool/types.ts';
import { type QemuImgEnd, type QemuImgWatch, qemuImg } from './qemu-img.ts';

/** What an operation gives to its work. */
export interface ImageContext {
  readonly signal: AbortSignal;
  readonly report: ReportProgress;
  readonly setPhase: (phase: string) => void;
  readonly whileRunning: () => Promise<void>;
  /** Adds to what the work is told when it goes on after a restart. */
  readonly remember: (parameters: Readonly<Record<string, number | boolean>>) => void;
}

export interface Comparison {
  /** Of the image, for messages. */
  readonly image: string;
  readonly sizeBytes: number;
  /** Arguments of `compare`. */
  readonly compare: readonly string[];
  /** What it means that there was no space. */
  readonly full: 'pool/full' | 'image/io';
}

export interface Transfer extends Comparison {
  /** Arguments of `convert`. */
  readonly copy: readonly string[];
  /** Makes durable what was copied. */
  readonly settle: () => Promise<void>;
}

const differs = 1;

/** @throws StorageError image/io, image/tool, what `full` says; why the operation is to end */
export async function copyAndCompare(transfer: Transfer, context: ImageContext): Promise<void> {
  const { image, copy, settle, full } = transfer;
  const copied = await qemuImg(['convert', '-p', ...copy], watchOf(0, transfer, context));
  if (copied.status !== 0) throw copyError(image, copied, full);
  await settle();
  await compareAll(transfer, context);
}

/** The second pass. @throws as `copyAndCompare` */
export async function compareAll(comparison: Comparison, context: ImageContext): Promise<void> {
  const { image, compare, full } = comparison;
  context.setPhase('comparing');
  const watch = watchOf(1, comparison, context);
  const compared = await qemuImg(['compare', '-p', ...compare], watch);
  if (compared.status === 0) return;
  if (compared.status !== differs) throw copyError(image, compared, full);
  throw new StorageError('image/io', `image ${image}: the copy is not equal to it`);
}

/** Of a pass, the first or the second half of the work. */
function watchOf(
  pass: 0 | 1,
  { sizeBytes }: Comparison,
  { signal, whileRunning, report }: ImageContext,
): QemuImgWatch {
  const half = (share: number) => report(Math.round((pass + share) * sizeBytes), 2 * sizeBytes);
  return { signal, whileRunning, report: half };
}

function copyError(
  image: string,
  { complaint }: QemuImgEnd,
  full: Comparison['full'],
): StorageError {
  const code = complaint.includes('No space left on device') ? full : 'image/io';
  return new StorageError(code, `image ${image}: ${complaint}`);
}
