/**
 * Columns of each kind of document.
 */
import type {
  ClientItem,
  DiskItem,
  EventItem,
  ExportItem,
  FoundDiskItem,
  OperationItem,
  PoolItem,
  ScheduleItem,
  SnapshotItem,
  VolumeItem,
} from '../api/schemas.ts';
import type { Context } from './context.ts';
import { formatDuration } from './duration.ts';
import type { View } from './output.ts';
import type { TreeRow } from './tree.ts';

export const poolView: View<PoolItem> = {
  name: (pool) => pool.name,
  columns: (context) => [
    { title: 'NAME', value: (pool) => pool.name },
    { title: 'STATE', value: poolState },
    { title: 'CAPACITY', right: true, value: (pool) => context.size(pool.capacity_bytes) },
    { title: 'USED', right: true, value: (pool) => context.size(pool.used_bytes) },
    { title: 'FREE', right: true, value: (pool) => context.size(pool.free_bytes) },
    { title: 'PROMISED', right: true, value: (pool) => context.size(pool.promised_bytes) },
    {
      title: 'RESERVE',
      right: true,
      wide: true,
      value: (pool) => context.size(pool.reserve_bytes),
    },
    {
      title: 'CLUSTER',
      right: true,
      wide: true,
      value: (pool) => context.size(pool.cluster_size_bytes),
    },
    { title: 'JOURNAL', right: true, wide: true, value: (pool) => journalUse(context, pool) },
    {
      title: 'PATIENCE',
      right: true,
      wide: true,
      value: (pool) => formatDuration(1000 * pool.patience_seconds),
    },
    { title: 'DISKS', wide: true, value: (pool) => pool.disks.join(' ') },
    { title: 'UUID', wide: true, value: (pool) => pool.uuid },
    { title: 'CREATED', wide: true, value: (pool) => pool.created_at },
  ],
};

export const diskView: View<DiskItem> = {
  name: (disk) => disk.uuid,
  columns: (context) => [
    { title: 'DISK', value: (disk) => disk.uuid.slice(0, 8) },
    { title: 'POOL', value: diskHome },
    { title: 'STATE', value: diskState },
    { title: 'CLASS', value: (disk) => disk.class ?? '-' },
    { title: 'CAPACITY', right: true, value: (disk) => context.size(disk.capacity_bytes) },
    { title: 'USED', right: true, value: (disk) => context.size(disk.used_bytes) },
    { title: 'FREE', right: true, value: (disk) => context.size(disk.free_bytes) },
    { title: 'PATH', value: (disk) => disk.path },
    { title: 'TYPE', wide: true, value: (disk) => disk.type },
    { title: 'REASON', wide: true, value: (disk) => disk.failing?.reason ?? '-' },
    { title: 'PORTALS', wide: true, value: diskPaths },
    {
      title: 'JOURNAL',
      wide: true,
      value: (disk) => (disk.journal_lost ? 'lost' : yesNo(disk.journal)),
    },
    { title: 'SIZE', right: true, wide: true, value: (disk) => context.size(disk.size_bytes) },
    { title: 'NUMBER', right: true, wide: true, value: (disk) => String(disk.number ?? '-') },
    { title: 'UUID', wide: true, value: (disk) => disk.uuid },
    { title: 'URI', wide: true, value: (disk) => disk.uri },
  ],
};

export const foundDiskView: View<FoundDiskItem> = {
  name: (disk) => disk.uri,
  columns: (context) => [
    { title: 'URI', value: (disk) => disk.uri },
    { title: 'SIZE', right: true, value: (disk) => context.size(disk.size_bytes) },
    { title: 'THIN', value: (disk) => yesNo(disk.thin) },
    { title: 'HOLDS', value: (disk) => disk.problem ?? disk.holds ?? '-' },
    { title: 'MODEL', wide: true, value: (disk) => disk.model },
  ],
};

export const volumeView: View<VolumeItem> = {
  name: (volume) => volume.name,
  columns: (context) => [
    { title: 'NAME', value: (volume) => volume.name },
    { title: 'POOL', value: (volume) => volume.pool },
    { title: 'SIZE', right: true, value: (volume) => context.size(volume.size_bytes) },
    { title: 'EXCLUSIVE', right: true, value: (volume) => context.size(volume.exclusive_bytes) },
    { title: 'SHARED', right: true, value: (volume) => context.size(volume.shared_bytes) },
    { title: 'EXPORT', value: (volume) => volume.export ?? '-' },
    { title: 'ORIGIN', wide: true, value: (volume) => volume.origin ?? '-' },
    { title: 'ADOPTED', wide: true, value: (volume) => volume.adopted_from ?? '-' },
    { title: 'MODE', wide: true, value: (volume) => volume.snapshot_mode },
    { title: 'THICK', wide: true, value: (volume) => yesNo(volume.thick) },
    { title: 'CLASS', wide: true, value: (volume) => volume.class ?? '-' },
    { title: 'ID', right: true, wide: true, value: (volume) => String(volume.id) },
    { title: 'UUID', wide: true, value: (volume) => volume.uuid },
    { title: 'CREATED', wide: true, value: (volume) => volume.created_at },
  ],
};

export const snapshotView: View<SnapshotItem> = {
  name: (snapshot) => `${snapshot.volume}@${snapshot.name}`,
  columns: (context) => [
    { title: 'SNAPSHOT', value: (snapshot) => `${snapshot.volume}@${snapshot.name}` },
    { title: 'TYPE', value: snapshotType },
    { title: 'SIZE', right: true, value: (snapshot) => context.size(snapshot.size_bytes) },
    { title: 'CLONES', value: (snapshot) => snapshot.clones.join(' ') || '-' },
    { title: 'CREATED', value: (snapshot) => snapshot.created_at },
    { title: 'PARENT', wide: true, value: (snapshot) => snapshot.parent ?? '-' },
    { title: 'ORIGIN', wide: true, value: (snapshot) => snapshot.origin ?? '-' },
    { title: 'LABELS', wide: true, value: labelText },
    { title: 'NOTE', wide: true, value: (snapshot) => snapshot.note ?? '-' },
    { title: 'POOL', wide: true, value: (snapshot) => snapshot.pool },
    { title: 'ID', right: true, wide: true, value: (snapshot) => String(snapshot.id) },
  ],
};

export const treeView: View<TreeRow> = {
  name: ({ of }) => ('volume' in of ? snapshotView.name(of) : of.name),
  columns: (context) => [
    { title: 'NAME', value: ({ drawn }) => drawn },
    { title: 'TYPE', value: treeType },
    { title: 'SIZE', right: true, value: ({ of }) => context.size(of.size_bytes) },
    { title: 'CREATED', value: ({ of }) => of.created_at },
    { title: 'NOTE', wide: true, value: ({ of }) => ('volume' in of && of.note) || '-' },
  ],
};

export const scheduleView: View<ScheduleItem> = {
  name: (schedule) => schedule.volume,
  columns: () => [
    { title: 'VOLUME', value: (schedule) => schedule.volume },
    { title: 'EVERY', value: (schedule) => formatDuration(1000 * schedule.every_seconds) },
    { title: 'LAST', right: true, value: (schedule) => String(schedule.keep_last) },
    { title: 'HOURLY', right: true, value: (schedule) => String(schedule.keep_hourly) },
    { title: 'DAILY', right: true, value: (schedule) => String(schedule.keep_daily) },
    { title: 'WEEKLY', right: true, value: (schedule) => String(schedule.keep_weekly) },
    { title: 'NEXT', value: (schedule) => schedule.next_run_at },
    { title: 'LAST-RUN', wide: true, value: (schedule) => schedule.last_run_at ?? '-' },
  ],
};

export const exportView: View<ExportItem> = {
  name: (item) => item.name,
  columns: (context) => [
    { title: 'NAME', value: (item) => item.name },
    { title: 'VOLUME', value: exportSource },
    { title: 'STATE', value: (item) => item.failure ?? item.state },
    { title: 'ACCESS', value: (item) => (item.read_only ? 'read-only' : 'read-write') },
    { title: 'CLIENTS', right: true, value: (item) => String(item.clients) },
    { title: 'URI', value: (item) => item.uris[0] ?? '-' },
    { title: 'SIZE', right: true, wide: true, value: (item) => context.size(item.size_bytes) },
    { title: 'SERIAL', wide: true, value: (item) => item.serial },
    { title: 'LISTEN', wide: true, value: (item) => item.listen.join(' ') },
    { title: 'POOL', wide: true, value: (item) => item.pool ?? '-' },
    { title: 'CREATED', wide: true, value: (item) => item.created_at },
  ],
};

export const clientView: View<ClientItem> = {
  name: (client) => String(client.id),
  columns: (context) => [
    { title: 'ID', right: true, value: (client) => String(client.id) },
    { title: 'EXPORT', value: (client) => client.export },
    { title: 'GUEST', value: (client) => client.guest ?? '-' },
    { title: 'PROGRAM', value: (client) => client.program ?? '-' },
    { title: 'ADDRESS', value: (client) => client.address },
    { title: 'READ', right: true, value: (client) => context.size(client.read_bytes) },
    { title: 'WRITTEN', right: true, value: (client) => context.size(client.written_bytes) },
    { title: 'IN-FLIGHT', right: true, value: (client) => String(client.in_flight) },
    { title: 'CONNECTED', value: (client) => client.connected_at },
    { title: 'READS', right: true, wide: true, value: (client) => String(client.reads) },
    { title: 'WRITES', right: true, wide: true, value: (client) => String(client.writes) },
  ],
};

export const operationView: View<OperationItem> = {
  name: (item) => item.id,
  columns: (context) => [
    { title: 'ID', value: (item) => item.id },
    { title: 'OPERATION', value: (item) => item.operation },
    { title: 'TARGET', value: (item) => item.target },
    { title: 'STATE', value: (item) => item.state },
    { title: 'DONE', right: true, value: (item) => progressText(context, item) },
    { title: 'RATE', wide: true, value: (item) => rateText(context, item) },
    { title: 'CREATED', value: (item) => item.created_at },
    { title: 'FINISHED', wide: true, value: (item) => item.finished_at ?? '-' },
    { title: 'ERROR', wide: true, value: (item) => item.error?.detail ?? '-' },
  ],
};

export const eventView: View<EventItem> = {
  name: (event) => String(event.id),
  columns: () => [
    { title: 'ID', right: true, value: (event) => String(event.id) },
    { title: 'TIME', value: (event) => event.time },
    { title: 'LEVEL', value: (event) => event.level },
    { title: 'EVENT', value: (event) => event.event },
    { title: 'SUBJECT', wide: true, value: (event) => event.subject },
    { title: 'MESSAGE', value: (event) => event.message },
  ],
};

function snapshotType({ type, consistency }: SnapshotItem): string {
  return type === 'bookmark' ? type : consistency;
}

function treeType({ of }: TreeRow): string {
  if ('volume' in of) return snapshotType(of);
  return of.origin === null ? 'volume' : 'clone';
}

function labelText({ labels }: SnapshotItem): string {
  const texts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return texts.join(' ') || '-';
}

/** The pool, or how else the disk is used. */
function diskHome({ pool, role, export: name }: DiskItem): string {
  if (role === 'adopted') return `${pool} (adopted)`;
  return pool ?? `(${role} ${name})`;
}

function exportSource({ volume, snapshot, scratch, disk }: ExportItem): string {
  if (volume === null) return `(disk ${disk})`;
  if (snapshot === null) return volume;
  return `${volume}@${snapshot}${scratch ? ' (scratch)' : ''}`;
}

/** `online`, or the worst thing that is said of it. */
function poolState(pool: PoolItem): string {
  if (pool.state !== 'online') return pool.state;
  if (pool.read_only) return 'read-only';
  const levels = pool.warnings.map((warning) => warning.level);
  return levels.find((level) => level === 'critical') ?? levels[0] ?? pool.state;
}

function journalUse(context: Context, pool: PoolItem): string {
  return `${context.size(pool.journal_used_bytes)}/${context.size(pool.journal_bytes)}`;
}

function diskPaths({ paths }: DiskItem): string {
  return paths.map(({ portal, state }) => `${portal} ${state}`).join(', ') || '-';
}

function diskState({ state, failing, cordoned }: DiskItem): string {
  const waits = state === 'suspended' && failing !== null;
  const left = waits ? `, ${formatDuration(1000 * failing.patience_left_seconds)} left` : '';
  return `${state}${left}${cordoned ? ', cordoned' : ''}`;
}

function progressText(context: Context, { progress }: OperationItem): string {
  const { done_bytes: done, total_bytes: total } = progress;
  return total === 0 ? '-' : `${context.size(done)}/${context.size(total)}`;
}

function rateText(context: Context, { progress }: OperationItem): string {
  const { bytes_per_second: rate, held_back_by: by } = progress;
  if (!rate) return '-';
  return `${context.size(rate)}/s${by == null ? '' : `, held back by ${by}`}`;
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}
