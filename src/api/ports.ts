/**
 * What the API needs of the layers below, and nothing more.
 *
 * service.ts passes the real services; tests of routes pass small ones of their own.
 */

import type { BackupReceive } from '../backup/backup-receive.ts';
import type { BackupSend } from '../backup/backup-send.ts';
import type { DomainDisks } from '../export/domain-disks.ts';
import type { ExportService } from '../export/export-service.ts';
import type { RecordPool } from '../export/export-store.ts';
import type { GuestDisks } from '../export/guest-disks.ts';
import type { ImageLoad } from '../image/image-load.ts';
import type { ImageSave } from '../image/image-save.ts';
import type { Leave } from '../migration/leave.ts';
import type { MigrationService } from '../migration/migration-service.ts';
import type { PoolMoves } from '../migration/pool-move/pool-moves.ts';
import type { FoundDisk } from '../pool/disk-scan.ts';
import type {
  CheckReport,
  CreatePoolOptions,
  DiskInfo,
  ImportPoolOptions,
  PoolActivity,
  PoolInfo,
  PoolSettings,
  ReportProgress,
} from '../pool/types.ts';
import type { ScrubService } from '../scrub/scrub-service.ts';
import type { Snapshots } from '../snapshot/types.ts';
import type { Adoption } from '../volume/adoption.ts';
import type {
  CreateVolumeOptions,
  DeleteVolumeOptions,
  VolumeInfo,
  VolumeMapExtent,
} from '../volume/types.ts';
import type { Arrivals } from './arrival.ts';
import type { EventLog } from './event-log.ts';
import type { Operations } from './operations.ts';

export interface PoolsPort {
  list(): PoolInfo[];
  get(name: string): RecordPool;
  /** The open ones. */
  all(): readonly RecordPool[];
  activity(): readonly PoolActivity[];
  create(
    name: string,
    uris: string[],
    options: CreatePoolOptions,
  ): Promise<{ pool: PoolInfo; changed: boolean }>;
  set(
    name: string,
    settings: PoolSettings,
    options: { dryRun?: boolean },
  ): Promise<{ pool: PoolInfo; changed: boolean }>;
  delete(name: string, options: { dryRun?: boolean }): Promise<void>;
  export(name: string, options: { dryRun?: boolean }): Promise<void>;
  import(uris: string[], options: ImportPoolOptions): Promise<PoolInfo>;
  addDisk(
    pool: string,
    uri: string,
    options: { force?: boolean; dryRun?: boolean },
  ): Promise<DiskInfo>;
  removeDisk(pool: string, number: number, options: { dryRun?: boolean }): Promise<DiskInfo>;
  /** Whether the disk is there, carries no label and is used for nothing here. */
  isNobodys(uri: string): Promise<boolean>;
  check(name: string): Promise<CheckReport>;
}

export interface VolumesPort {
  list(): VolumeInfo[];
  get(name: string): VolumeInfo;
  create(
    options: CreateVolumeOptions,
    report?: ReportProgress,
    signal?: AbortSignal,
  ): Promise<{ volume: VolumeInfo; changed: boolean }>;
  rename(name: string, to: string, options: { dryRun?: boolean }): Promise<VolumeInfo>;
  resize(name: string, sizeBytes: number, options: { dryRun?: boolean }): Promise<VolumeInfo>;
  delete(name: string, options: DeleteVolumeOptions): Promise<{ freedBytes: number }>;
  map(name: string, offset: number, length: number): Promise<VolumeMapExtent[]>;
}

/** What the process knows of itself. */
export interface ServiceInfo {
  readonly stateDir: string;
  readonly backend: string;
  readonly startedAt: Date;
  /** Changing calls are refused from now on. */
  readonly stopping: boolean;
  /** Named conditions; the service is ready when all hold. */
  readiness(): readonly { readonly name: string; readonly ok: boolean }[];
}

export type MigrationPort = Pick<
  MigrationService,
  | 'setCordoned'
  | 'setClass'
  | 'planDrain'
  | 'beginReplace'
  | 'planRebalance'
  | 'placementFor'
  | 'findPlacement'
  | 'planPlacement'
  | 'planAbsorb'
  | 'expectNotMoving'
>;

export type PoolMovesPort = Pick<
  PoolMoves,
  'plan' | 'planUndo' | 'finish' | 'settle' | 'dropAbandoned' | 'expectNotMoving'
>;

export interface ApiServices {
  /** What a server offers as disks. */
  readonly scanDisks: (address: string) => Promise<FoundDisk[]>;
  readonly pools: PoolsPort;
  readonly volumes: VolumesPort;
  readonly adoption: Pick<Adoption, 'plan' | 'adopt'>;
  readonly leave: Pick<Leave, 'plan'>;
  readonly images: {
    readonly load: Pick<ImageLoad, 'plan'>;
    readonly save: Pick<ImageSave, 'plan'>;
  };
  readonly backups: {
    readonly send: Pick<BackupSend, 'plan' | 'expectTarget' | 'stream'>;
    readonly receive: Pick<BackupReceive, 'plan' | 'receive'>;
  };
  readonly snapshots: Snapshots;
  readonly exports: ExportService;
  readonly guestDisks: Pick<GuestDisks, 'attach' | 'detach' | 'announceSize'>;
  readonly domainDisks: Pick<DomainDisks, 'attach' | 'detach'>;
  readonly migration: MigrationPort;
  readonly poolMoves: PoolMovesPort;
  readonly arrivals: Pick<Arrivals, 'arrived'>;
  readonly scrubs: Pick<ScrubService, 'expectScrubbable'>;
  readonly operations: Operations;
  readonly events: EventLog;
  readonly service: ServiceInfo;
}
