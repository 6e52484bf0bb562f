/**
 * What every verb of the snapshot layer works with; snapshot-service.ts has it made.
 */
import type { Clock } from '../base/clock.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import type { SnapshotCatalog } from './catalog.ts';

export interface SnapshotContext {
  readonly clock: Clock;
  readonly volumes: VolumeService;
  readonly catalog: SnapshotCatalog;
  /** Says what was done, as an event of level `info`. */
  readonly tell: (kind: string, subject: string, message: string) => void;
}
