/**
 * From what the services tell to the documents of schemas.ts. Pure: info in, document out.
 */
import { processOf } from '../export/client-process.ts';
import type { ExportClient, ExportInfo, PassthroughInfo } from '../export/types.ts';
import type { FoundDisk } from '../pool/disk-scan.ts';
import type { CheckReport, DiskFailing, DiskInfo, PoolInfo, PoolWarning } from '../pool/types.ts';
import type { ScheduleInfo, SnapshotInfo } from '../snapshot/types.ts';
import type { VolumeInfo, VolumeMapExtent } from '../volume/types.ts';
import type {
  CheckReportDocument,
  ClientItem,
  DiskItem,
  ExportItem,
  FoundDiskItem,
  PlanDocument,
  PoolItem,
  ResultDocument,
  ScheduleItem,
  SnapshotItem,
  VolumeItem,
  VolumeMapDocument,
} from './schemas.ts';

/** Puts the envelope around one item. */
export function envelope<K extends string, T extends object>(kind: K, item: T) {
  return { api_version: '1' as const, kind, ...item };
}

export function warningItem(warning: PoolWarning) {
  return { ...warning, actions: [...warning.actions] };
}

export function diskItem(disk: DiskInfo): DiskItem {
  return {
    uuid: disk.uuid,
    role: disk.role,
    number: disk.number,
    pool: disk.pool,
    export: null,
    uri: disk.uri,
    path: disk.path,
    type: disk.kind,
    state: disk.state,
    class: disk.class,
    cordoned: disk.cordoned,
    failing: disk.failing && failingItem(disk.failing),
    paths: disk.paths.map((path) => ({ ...path })),
    journal: disk.journal,
    journal_lost: disk.journalLost,
    size_bytes: disk.sizeBytes,
    capacity_bytes: disk.capacityBytes,
    used_bytes: disk.usedBytes,
    free_bytes: disk.freeBytes,
  };
}

function failingItem({ reason, seconds, patienceLeftSeconds, held }: DiskFailing) {
  return {
    reason,
    failing_seconds: seconds,
    patience_left_seconds: patienceLeftSeconds,
    held_requests: held,
  };
}

/** A disk without clusters of a pool: nothing can be taken from it. */
export function foundDiskItem(disk: FoundDisk): FoundDiskItem {
  const { uri, sizeBytes, thin, model, holds, problem } = disk;
  return { uri, size_bytes: sizeBytes, thin, model, holds, problem };
}

export function passthroughItem({
  uuid,
  export: name,
  disk,
  sizeBytes,
  state,
  failing,
  paths,
}: PassthroughInfo): DiskItem {
  return {
    uuid,
    role: 'passthrough',
    number: null,
    pool: null,
    export: name,
    uri: disk.uri,
    path: disk.path,
    type: disk.kind,
    state,
    class: null,
    cordoned: false,
    failing: failing && failingItem(failing),
    paths: paths.map((path) => ({ ...path })),
    journal: false,
    journal_lost: false,
    size_bytes: sizeBytes,
    capacity_bytes: 0,
    used_bytes: 0,
    free_bytes: 0,
  };
}

export function poolItem(pool: PoolInfo): PoolItem {
  return {
    uuid: pool.uuid,
    name: pool.name,
    state: pool.state,
    cluster_size_bytes: pool.clusterBytes,
    capacity_bytes: pool.capacityBytes,
    used_bytes: pool.usedBytes,
    free_bytes: pool.freeBytes,
    promised_bytes: pool.promisedBytes,
    reserve_bytes: pool.reserveBytes,
    journal_bytes: pool.journalBytes,
    journal_used_bytes: pool.journalUsedBytes,
    patience_seconds: pool.patienceSeconds,
    disks: pool.disks.map((disk) => disk.uri),
    warnings: pool.warnings.map(warningItem),
    read_only: pool.readOnly,
    ...(pool.fencedBy === undefined ? {} : { fenced_by: pool.fencedBy }),
    created_at: pool.createdAt,
  };
}

export function volumeItem(volume: VolumeInfo, exportName: string | null): VolumeItem {
  return {
    id: volume.id,
    uuid: volume.uuid,
    name: volume.name,
    pool: volume.pool,
    size_bytes: volume.sizeBytes,
    exclusive_bytes: volume.exclusiveBytes,
    shared_bytes: volume.sharedBytes,
    snapshot_mode: volume.snapshotMode,
    thick: volume.thick,
    class: volume.class,
    origin: volume.origin,
    adopted_from: volume.adoptedFrom,
    export: exportName,
    created_at: volume.createdAt,
  };
}

export function snapshotItem(snapshot: SnapshotInfo): SnapshotItem {
  return {
    id: snapshot.id,
    volume: snapshot.volume,
    name: snapshot.name,
    pool: snapshot.pool,
    type: snapshot.kind,
    size_bytes: snapshot.sizeBytes,
    consistency: snapshot.consistency,
    note: snapshot.note,
    labels: { ...snapshot.labels },
    group: snapshot.group,
    origin: snapshot.origin,
    has_attachment: snapshot.hasAttachment,
    clones: [...snapshot.clones],
    parent: snapshot.parent,
    created_at: snapshot.createdAt,
  };
}

export function scheduleItem(schedule: ScheduleInfo): ScheduleItem {
  const { last, hourly, daily, weekly } = schedule.keep;
  return {
    volume: schedule.volume,
    every_seconds: schedule.everySeconds,
    keep_last: last,
    keep_hourly: hourly,
    keep_daily: daily,
    keep_weekly: weekly,
    last_run_at: schedule.lastRunAt,
    next_run_at: schedule.nextRunAt,
  };
}

export function volumeMapDocument(
  volume: string,
  extents: readonly VolumeMapExtent[],
  nextPageToken: string | undefined,
): VolumeMapDocument {
  const items = extents.map(({ offset, length, hole, zero }) => {
    return { offset_bytes: offset, length_bytes: length, hole, zero };
  });
  const page = nextPageToken === undefined ? {} : { next_page_token: nextPageToken };
  return envelope('VolumeMap', { volume, items, ...page });
}

export function exportItem(info: ExportInfo): ExportItem {
  return {
    name: info.name,
    type: info.kind,
    volume: info.volume,
    snapshot: info.snapshot,
    scratch: info.scratch,
    changed_since: info.changedSince,
    pool: info.pool,
    disk: info.disk,
    state: info.failure === null ? 'online' : 'failed',
    failure: info.failure,
    read_only: info.readOnly,
    listen: [...info.listen],
    uris: [...info.uris],
    clients: info.clients,
    serial: info.serial,
    size_bytes: info.sizeBytes,
    created_at: info.createdAt,
  };
}

const unknownProcess = { pid: null, program: null, guest: null };

export async function clientItem(client: ExportClient): Promise<ClientItem> {
  const { pid, program, guest } = (await processOf(client.address)) ?? unknownProcess;
  return {
    id: client.client,
    export: client.export,
    address: client.address,
    pid,
    program,
    guest,
    connected_at: new Date(client.connectedAtMs).toISOString(),
    reads: client.reads,
    writes: client.writes,
    read_bytes: client.readBytes,
    written_bytes: client.writeBytes,
    in_flight: client.inFlight,
  };
}

export function checkReportDocument(report: CheckReport): CheckReportDocument {
  return envelope('CheckReport', {
    pool: report.pool,
    findings: report.findings.map((finding) => ({ ...finding })),
    clusters_checked: report.clustersChecked,
    leaves_checked: report.leavesChecked,
    records_checked: report.recordsChecked,
  });
}

/** What a changing call does, as Plan and Result tell it. */
export interface Effect {
  readonly action: string;
  readonly target: string;
  readonly changed?: boolean;
  readonly freedBytes?: number;
  readonly copiedBytes?: number;
  /** Where there is to be room for what is copied. */
  readonly roomBytes?: number;
  /** Volumes whose data would be moved. */
  readonly affected?: readonly string[];
  /** What serves them; clients wait for a moment. */
  readonly exports?: readonly { readonly name: string; readonly clients: number }[];
  /** Scheduled snapshots that would not be kept any more. */
  readonly expiring?: readonly string[];
}

/** What a changing call would do. */
export function planDocument(effect: Effect): PlanDocument {
  return envelope('Plan', {
    action: effect.action,
    target: effect.target,
    changed: effect.changed ?? true,
    copied_bytes: effect.copiedBytes ?? 0,
    freed_bytes: effect.freedBytes ?? 0,
    ...(effect.roomBytes === undefined ? {} : { room_bytes: effect.roomBytes }),
    ...(effect.affected === undefined ? {} : { affected: [...effect.affected] }),
    ...(effect.exports === undefined ? {} : { exports: [...effect.exports] }),
    ...(effect.expiring === undefined ? {} : { expiring: [...effect.expiring] }),
  });
}

/** What a changing call did. */
export function resultDocument(effect: Effect): ResultDocument {
  return envelope('Result', {
    action: effect.action,
    target: effect.target,
    changed: effect.changed ?? true,
    freed_bytes: effect.freedBytes ?? 0,
  });
}
