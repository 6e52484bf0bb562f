/**
 * What the migration layer takes and tells.
 */
import type { ReportProgress } from '../pool/types.ts';

/** How a movement is to go about it. */
export interface MovementContext {
  readonly report: ReportProgress;
  /** Resolves when the work is not paused. @throws why it is to end */
  readonly whileRunning: () => Promise<void>;
  /** Bytes per second at most. */
  readonly rateBytes?: number | undefined;
}
