/**
 * What the migration layer takes and tells.
 */
import type { PaceOptions } from '../pool/pace.ts';
import type { ReportProgress } from '../pool/types.ts';

/** What a movement would do. */
export interface MovePlan {
  readonly copiedBytes: number;
  /** What new data can take where it is to go. */
  readonly roomBytes: number;
  /** Volumes that read what is moved. */
  readonly volumes: readonly string[];
}

export interface MovementWatch {
  /** Resolves when so many bytes may be moved. @throws the reason to stop */
  readonly before: (bytes: number) => Promise<void>;
  readonly report: ReportProgress;
}

/** How a movement is to go about it. */
export interface MovementContext extends PaceOptions {
  readonly report: ReportProgress;
}
