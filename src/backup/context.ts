/**
 * What an operation gives to the work of sending and receiving.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import type { ReportProgress } from '../pool/types.ts';

export interface BackupContext {
  readonly signal: AbortSignal;
  readonly report: ReportProgress;
  readonly setPhase: (phase: string) => void;
  /** Resolves when it may go on. @throws StorageError why it is to end */
  readonly whileRunning: () => Promise<void>;
}

/** What a file's own error means. */
export function fileError(file: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause;
  return new StorageError('backup/io', `${file}: ${messageOf(cause)}`, { cause });
}
