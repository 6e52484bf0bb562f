/**
 * What an operation gives to the work of sending and receiving.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import type { PaceOptions } from '../pool/pace.ts';
import type { ReportProgress } from '../pool/types.ts';

export interface BackupContext extends PaceOptions {
  readonly signal: AbortSignal;
  readonly report: ReportProgress;
  readonly setPhase: (phase: string) => void;
  /** Adds to what the work is told when it goes on after a restart. */
  readonly remember: (parameters: { readonly finished: true }) => void;
}

/** What a file's own error means. */
export function fileError(file: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause;
  return new StorageError('backup/io', `${file}: ${messageOf(cause)}`, { cause });
}
