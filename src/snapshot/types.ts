/**
 * What the snapshot layer stores, tells and takes.
 */
import type { ReportProgress } from '../pool/types.ts';

export type Consistency = 'crash' | 'quiesced';

export type SnapshotOrigin = 'revert' | 'schedule' | 'operation';

/** As stored under `R snapshot/<id>`: a name on a frozen layer. Ids are never reused. */
export interface SnapshotRecord {
  readonly id: number;
  /** The same wherever its content is, see passport.ts; absent: an earlier version took it. */
  readonly uuid?: string;
  /** The id of the volume it belongs to. */
  readonly volume: number;
  readonly name: string;
  readonly layer: number;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly consistency: Consistency;
  readonly note?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Opaque: a virtual machine's definition, say. */
  readonly attachment?: string;
  /** The same for all snapshots taken together at one point in time. */
  readonly group?: string;
  /** What made it, when that was not a person: kept by a revert, taken by the schedule, or for an operation, with which it goes. */
  readonly origin?: SnapshotOrigin;
}

/** As stored under `R bookmark/<id>`: where a deleted snapshot was, so that changes since can still be told. */
export type BookmarkRecord = Pick<
  SnapshotRecord,
  'id' | 'uuid' | 'volume' | 'name' | 'layer' | 'sizeBytes' | 'createdAt'
>;

export interface SnapshotInfo {
  readonly id: number;
  readonly volume: string;
  readonly name: string;
  readonly pool: string;
  /** `bookmark`: its data is gone, changes since it can still be told. */
  readonly kind: 'snapshot' | 'bookmark';
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly consistency: Consistency;
  readonly note: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly group: string | null;
  readonly origin: SnapshotOrigin | null;
  readonly hasAttachment: boolean;
  /** Names of the volumes cloned from it. */
  readonly clones: readonly string[];
  /** The snapshot of the same volume that it goes back to, or null; for drawing the tree. */
  readonly parent: string | null;
}

export interface SnapshotSpace {
  /** Freed if it alone were deleted. */
  readonly exclusiveBytes: number;
  /** Held together with others. */
  readonly sharedBytes: number;
}

export interface SnapshotName {
  readonly volume: string;
  readonly snapshot: string;
}

export interface CreateSnapshotOptions {
  /** All at one point in time; all are made or none. */
  readonly names: readonly SnapshotName[];
  readonly note?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly attachment?: string;
  /** The QEMU guest agent's socket. */
  readonly quiesceSocket?: string;
  /** The guest is thawed after this, whatever happens. */
  readonly quiesceTimeoutSeconds?: number;
  /** The scheduler's own. */
  readonly origin?: 'schedule' | 'operation';
  readonly dryRun?: boolean;
}

export interface CreatedSnapshots {
  readonly snapshots: readonly SnapshotInfo[];
  readonly changed: boolean;
  /** How long writes of the volumes were held. */
  readonly pauseSeconds: number;
}

export interface DeleteSnapshotOptions {
  /** Keeps what is needed to tell changes since. */
  readonly bookmark?: boolean;
  /** Clones keep its data until the last of them is gone. */
  readonly keepClones?: boolean;
  readonly dryRun?: boolean;
}

export interface RevertOptions {
  /** Although clients are connected: their connections are closed first. */
  readonly force?: boolean;
  /** Today's state is deleted instead of kept as a safety snapshot. */
  readonly discard?: boolean;
  readonly dryRun?: boolean;
}

export interface RevertResult {
  readonly volume: string;
  /** Name of the snapshot that keeps what the volume was; null when it was discarded. */
  readonly safety: string | null;
  readonly pauseSeconds: number;
  /** Not when nothing has been written since the snapshot: then it is kept as it is, and nothing else. */
  readonly changed: boolean;
}

/** Byte ranges that differ, ascending, not touching each other. */
export interface ChangedExtent {
  readonly offset: number;
  readonly length: number;
}

export interface SnapshotDiff {
  readonly extents: readonly ChangedExtent[];
  readonly changedBytes: number;
}

/** As stored under `R schedule/<volume id>`. */
export interface ScheduleRecord {
  readonly volume: number;
  readonly everyMs: number;
  readonly keep: Retention;
  /** When the latest run was due. */
  readonly lastRunAt: string | null;
  readonly createdAt: string;
}

/** How many of each kind stay; a snapshot stays when one of them wants it. */
export interface Retention {
  readonly last: number;
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
}

export interface ScheduleInfo {
  readonly volume: string;
  readonly everySeconds: number;
  readonly keep: Retention;
  readonly lastRunAt: string | null;
  readonly nextRunAt: string;
}

export interface ScheduleOptions {
  readonly volume: string;
  /** Derived from the finest kind kept, when it is left out. */
  readonly everySeconds?: number;
  readonly keep: Partial<Retention>;
  readonly dryRun?: boolean;
}

export interface SchedulePlan {
  readonly schedule: ScheduleInfo;
  readonly changed: boolean;
  /** Scheduled snapshots that would go at once, or have gone. */
  readonly expiring: readonly string[];
}

/** What is above the snapshot layer sees of it. */
export interface Snapshots {
  /** By volume, then by age; of one volume when it is named. Bookmarks too. @throws StorageError volume/not-found */
  list(volume?: string): SnapshotInfo[];
  /** @throws StorageError volume/not-found, snapshot/not-found */
  get(volume: string, name: string): SnapshotInfo;
  /** @throws StorageError snapshot/not-found it has none */
  attachment(volume: string, name: string): string;
  /** Exact; reads maps, so not for long lists. */
  space(volume: string, name: string): Promise<SnapshotSpace>;
  create(options: CreateSnapshotOptions): Promise<CreatedSnapshots>;
  rename(
    volume: string,
    name: string,
    to: string,
    options?: { dryRun?: boolean },
  ): Promise<SnapshotInfo>;
  /** @returns bytes that come back in the background */
  delete(
    names: readonly SnapshotName[],
    options?: DeleteSnapshotOptions,
  ): Promise<{ freedBytes: number }>;
  diff(volume: string, from: string, to?: string): Promise<SnapshotDiff>;
  revert(volume: string, name: string, options?: RevertOptions): Promise<RevertResult>;
  /** @returns false when the clone was there already */
  clone(
    source: SnapshotName,
    name: string,
    options?: { dryRun?: boolean },
  ): Promise<{ changed: boolean }>;
  /** Copies what is inherited; afterwards the volume needs no parent. @throws StorageError pool/full, op/state cancelled */
  flatten(
    volume: string,
    report: ReportProgress,
    signal: AbortSignal,
  ): Promise<{ changed: boolean }>;
  /** Bytes that `flatten` would copy. */
  inheritedBytes(volume: string): Promise<number>;
  setMode(
    volume: string,
    mode: 'row' | 'cow',
    options?: { dryRun?: boolean },
  ): Promise<{ changed: boolean }>;
  schedule(options: ScheduleOptions): Promise<SchedulePlan>;
  schedules(): ScheduleInfo[];
  removeSchedule(volume: string, options?: { dryRun?: boolean }): Promise<void>;
}
