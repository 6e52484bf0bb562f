/**
 * The two passes of every load and save, each a call of qemu-img: copied, then read again and compared.
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
  readonly remember: (parameters: Readonly<Record<string, number>>) => void;
}

export interface Transfer {
  /** Of the image, for messages. */
  readonly image: string;
  readonly sizeBytes: number;
  /** Arguments of `convert`. */
  readonly copy: readonly string[];
  /** Makes durable what was copied. */
  readonly settle: () => Promise<void>;
  /** Arguments of `compare`. */
  readonly compare: readonly string[];
  /** What it means that there was no space. */
  readonly full: 'pool/full' | 'image/io';
}

const differs = 1;

/** @throws StorageError image/io, image/tool, what `full` says; why the operation is to end */
export async function copyAndCompare(transfer: Transfer, context: ImageContext): Promise<void> {
  const { image, sizeBytes, copy, settle, compare, full } = transfer;
  const watch = (pass: number): QemuImgWatch => ({
    ...context,
    report: (share) => context.report(Math.round((pass + share) * sizeBytes), 2 * sizeBytes),
  });
  const copied = await qemuImg(['convert', '-p', ...copy], watch(0));
  if (copied.status !== 0) throw copyError(image, copied, full);
  await settle();
  context.setPhase('comparing');
  const compared = await qemuImg(['compare', '-p', ...compare], watch(1));
  if (compared.status === 0) return;
  if (compared.status !== differs) throw copyError(image, compared, full);
  throw new StorageError('image/io', `image ${image}: the copy is not equal to it`);
}

function copyError(image: string, { complaint }: QemuImgEnd, full: Transfer['full']): StorageError {
  const code = complaint.includes('No space left on device') ? full : 'image/io';
  return new StorageError(code, `image ${image}: ${complaint}`);
}
