/**
 * The documents REST and the command line exchange; docs/openapi.json is generated from here.
 *
 * Guarantees: field names are those of cli.md; sizes are integers in `*_bytes`; times are RFC 3339. Fields are
 * added, never renamed or removed. No logic here: documents.ts fills them.
 */
import { type Static, type TProperties, Type } from 'typebox';

export const apiVersion = '1';

const Text = Type.String();
const Size = Type.Integer({ minimum: 0 });
const Time = Type.String({ format: 'date-time' });

/** A single document: what it is, then its fields. */
function document<K extends string, P extends TProperties>(kind: K, fields: P) {
  return Type.Object(
    { api_version: Type.Literal(apiVersion), kind: Type.Literal(kind), ...fields },
    { description: kind },
  );
}

/** A page of documents without their envelopes; `next_page_token` is absent on the last one. */
function list<K extends string, P extends TProperties>(kind: K, fields: P) {
  return document(`${kind}List`, {
    items: Type.Array(Type.Object(fields)),
    next_page_token: Type.Optional(Text),
  });
}

/** False when what was asked for was already true; only on answers to changing calls. */
const changed = { changed: Type.Optional(Type.Boolean()) };

const warningFields = {
  level: Type.Union([Type.Literal('warning'), Type.Literal('critical')]),
  code: Text,
  message: Text,
  actions: Type.Array(Text),
};

const failingFields = {
  reason: Text,
  failing_seconds: Type.Integer(),
  patience_left_seconds: Type.Integer({ description: '0 once what waited was failed' }),
  held_requests: Type.Integer(),
};

const pathFields = {
  portal: Text,
  state: Type.Union([
    Type.Literal('unknown'),
    Type.Literal('active', { description: 'carries the disk' }),
    Type.Literal('standby', { description: 'answered when last looked at' }),
    Type.Literal('failed', { description: 'did not' }),
    Type.Literal('refused', { description: 'answers, but shows another disk' }),
  ]),
  reason: Type.Union([Text, Type.Null()]),
};

const diskFields = {
  uuid: Text,
  role: Type.Union([Type.Literal('pool'), Type.Literal('adopted'), Type.Literal('passthrough')], {
    description:
      'holds clusters of its pool; is only read, by an adopted volume; is exported as it is',
  }),
  number: Type.Union([Type.Integer(), Type.Null()], { description: 'in its pool' }),
  pool: Type.Union([Text, Type.Null()], { description: 'null of a passthrough' }),
  export: Type.Union([Text, Type.Null()], { description: 'of a passthrough' }),
  uri: Text,
  path: Text,
  type: Type.Union([
    Type.Literal('file'),
    Type.Literal('block'),
    Type.Literal('nfs'),
    Type.Literal('iscsi'),
    Type.Literal('image'),
  ]),
  state: Type.Union([
    Type.Literal('online'),
    Type.Literal('suspended', { description: 'what it does not do waits' }),
    Type.Literal('failed', { description: 'what it does not do fails' }),
  ]),
  failing: Type.Union([Type.Object(failingFields), Type.Null()], {
    description: 'why it is not online',
  }),
  paths: Type.Array(Type.Object(pathFields), {
    description: 'the portals of an iSCSI disk, the preferred one first; none of any other',
  }),
  class: Type.Union([Text, Type.Null()], { description: 'a free label for placement' }),
  cordoned: Type.Boolean({ description: 'takes no new data' }),
  journal: Type.Boolean({ description: 'carries a replica of journal and checkpoint' }),
  journal_lost: Type.Boolean({
    description: 'its replica was left behind; it begins again by itself',
  }),
  size_bytes: Size,
  capacity_bytes: Size,
  used_bytes: Size,
  free_bytes: Size,
};

const poolFields = {
  uuid: Text,
  name: Text,
  state: Type.Union([Type.Literal('online'), Type.Literal('failed')]),
  cluster_size_bytes: Size,
  capacity_bytes: Size,
  used_bytes: Size,
  free_bytes: Size,
  promised_bytes: Size,
  reserve_bytes: Size,
  journal_bytes: Size,
  journal_used_bytes: Size,
  patience_seconds: Type.Integer({
    minimum: 0,
    description: 'how long a disk may fail, or space be missing, before requests fail',
  }),
  disks: Type.Array(Text),
  warnings: Type.Array(Type.Object(warningFields)),
  read_only: Type.Boolean({ description: 'imported to be read: nothing of it is written' }),
  fenced_by: Type.Optional(
    Type.Object(
      { host: Type.Union([Text, Type.Null()]), epoch: Type.Integer() },
      { description: 'the host that took the pool over; nothing of it is read or written here' },
    ),
  ),
  created_at: Time,
};

const volumeFields = {
  id: Type.Integer(),
  uuid: Type.String({ description: 'stays through renames and moves between pools' }),
  name: Text,
  pool: Text,
  size_bytes: Size,
  exclusive_bytes: Size,
  shared_bytes: Size,
  snapshot_mode: Type.Union([Type.Literal('row'), Type.Literal('cow')]),
  thick: Type.Boolean(),
  class: Type.Union([Text, Type.Null()], {
    description: 'of the disks that its data is to lie on; null: any',
  }),
  origin: Type.Union([Text, Type.Null()], {
    description: 'VOLUME@SNAPSHOT that a linked clone reads through',
  }),
  adopted_from: Type.Union([Text, Type.Null()], {
    description: 'the disk that it still reads from, in place',
  }),
  export: Type.Union([Text, Type.Null()]),
  created_at: Time,
};

const snapshotFields = {
  id: Type.Integer(),
  volume: Text,
  name: Text,
  pool: Text,
  type: Type.Union([Type.Literal('snapshot'), Type.Literal('bookmark')]),
  size_bytes: Size,
  consistency: Type.Union([Type.Literal('crash'), Type.Literal('quiesced')]),
  note: Type.Union([Text, Type.Null()]),
  labels: Type.Record(Type.String(), Type.String()),
  group: Type.Union([Text, Type.Null()], {
    description: 'the same for snapshots taken together at one point in time',
  }),
  origin: Type.Union([
    Type.Literal('revert'),
    Type.Literal('schedule'),
    Type.Literal('operation'),
    Type.Null(),
  ]),
  has_attachment: Type.Boolean(),
  clones: Type.Array(Text),
  parent: Type.Union([Text, Type.Null()], { description: 'the snapshot it goes back to' }),
  created_at: Time,
};

const scheduleFields = {
  volume: Text,
  every_seconds: Type.Integer(),
  keep_last: Type.Integer(),
  keep_hourly: Type.Integer(),
  keep_daily: Type.Integer(),
  keep_weekly: Type.Integer(),
  last_run_at: Type.Union([Time, Type.Null()]),
  next_run_at: Time,
};

const exportFields = {
  name: Text,
  type: Type.Union([Type.Literal('volume'), Type.Literal('snapshot'), Type.Literal('passthrough')]),
  volume: Type.Union([Text, Type.Null()], { description: 'null of a passthrough' }),
  snapshot: Type.Union([Text, Type.Null()]),
  scratch: Type.Boolean(),
  changed_since: Type.Union([Text, Type.Null()]),
  pool: Type.Union([Text, Type.Null()], { description: 'null of a passthrough' }),
  disk: Type.Union([Text, Type.Null()], { description: 'that a passthrough serves as it is' }),
  state: Type.Union([Type.Literal('online'), Type.Literal('failed')]),
  failure: Type.Union([Text, Type.Null()]),
  read_only: Type.Boolean(),
  listen: Type.Array(Text),
  uris: Type.Array(Text),
  clients: Type.Integer(),
  serial: Type.String({ description: 'what a guest knows it by; /dev/disk/by-id/virtio-SERIAL' }),
  size_bytes: Size,
  created_at: Time,
};

const ofUnixClient = { description: 'null where it is not to be had, as of clients by TCP' };

const clientFields = {
  id: Type.Integer(),
  export: Text,
  address: Text,
  pid: Type.Union([Type.Integer(), Type.Null()], ofUnixClient),
  program: Type.Union([Text, Type.Null()], ofUnixClient),
  guest: Type.Union([Text, Type.Null()], {
    description: 'the name that QEMU was given, else null',
  }),
  connected_at: Time,
  reads: Size,
  writes: Size,
  read_bytes: Size,
  written_bytes: Size,
  in_flight: Size,
};

const Finding = Type.Object({
  severity: Type.Union([Type.Literal('damage'), Type.Literal('warning')]),
  code: Text,
  where: Text,
  message: Text,
});

/** What a scrub found; `volume` and `snapshot` show it, where they do, in those bytes of theirs. */
const scrubFindingFields = {
  ...Finding.properties,
  volume: Type.Union([Text, Type.Null()]),
  snapshot: Type.Union([Text, Type.Null()], { description: 'null: the volume as it is now' }),
  offset_bytes: Type.Union([Size, Type.Null()]),
  length_bytes: Type.Union([Size, Type.Null()]),
};

const operationFields = {
  id: Text,
  operation: Text,
  target: Text,
  state: Type.Union([
    Type.Literal('pending'),
    Type.Literal('running'),
    Type.Literal('paused'),
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('cancelled'),
  ]),
  phase: Text,
  parameters: Type.Record(
    Type.String(),
    Type.Union([Type.String(), Type.Number(), Type.Boolean()]),
    { description: 'what it was asked for, besides its target' },
  ),
  progress: Type.Object({
    done_bytes: Size,
    total_bytes: Size,
    bytes_per_second: Type.Optional(
      Type.Integer({ description: 'over the last second or so; 0 until that is known' }),
    ),
    held_back_by: Type.Optional(
      Type.Union([Type.Literal('guests'), Type.Null()], {
        description: 'why it does not go faster, where that is known',
      }),
    ),
  }),
  error: Type.Union([
    Type.Object({ code: Text, detail: Text, actions: Type.Array(Text) }),
    Type.Null(),
  ]),
  findings: Type.Optional(
    Type.Array(Type.Object(scrubFindingFields), { description: 'of a scrub: all that is damaged' }),
  ),
  created_at: Time,
  finished_at: Type.Union([Time, Type.Null()]),
};

const eventFields = {
  id: Type.Integer(),
  time: Time,
  level: Type.Union([Type.Literal('info'), Type.Literal('warning'), Type.Literal('error')]),
  event: Text,
  subject: Text,
  message: Text,
};

export const Disk = document('Disk', { ...diskFields, ...changed });
export const DiskList = list('Disk', diskFields);
/** Of a scan: a disk that could be added, or why it could not. */
export const FoundDiskList = list('FoundDisk', {
  uri: Type.String({ description: 'what to add it by; a CHAP secret is not in it' }),
  size_bytes: Size,
  thin: Type.Boolean(),
  model: Type.String({ description: 'vendor and product, as far as it tells' }),
  holds: Type.Union([Text, Type.Null()], { description: 'what it carries; null: nothing known' }),
  problem: Type.Union([Text, Type.Null()], { description: 'why it cannot be used' }),
});
export const Pool = document('Pool', { ...poolFields, ...changed });
export const PoolList = list('Pool', poolFields);
export const Volume = document('Volume', { ...volumeFields, ...changed });
export const VolumeList = list('Volume', volumeFields);
export const SnapshotList = list('Snapshot', snapshotFields);
/** One snapshot; its space is exact. */
export const Snapshot = document('Snapshot', {
  ...snapshotFields,
  exclusive_bytes: Size,
  shared_bytes: Size,
  ...changed,
});
/** What was taken at one point in time, and how long the guests' writes were held for it. */
export const SnapshotCreation = document('SnapshotCreation', {
  items: Type.Array(Type.Object(snapshotFields)),
  pause_seconds: Type.Number(),
  ...changed,
});
/** Byte ranges that changed, ascending, at sub-block granularity. */
export const SnapshotDiff = document('SnapshotDiff', {
  from: Text,
  to: Text,
  changed_bytes: Size,
  items: Type.Array(Type.Object({ offset_bytes: Size, length_bytes: Size })),
  next_page_token: Type.Optional(Text),
});
export const SnapshotAttachment = document('SnapshotAttachment', {
  snapshot: Text,
  attachment: Text,
});
/** The volume is what it was; `safety` names the snapshot that keeps what it had become. */
export const Reversion = document('Reversion', {
  volume: Text,
  snapshot: Text,
  safety: Type.Union([Text, Type.Null()]),
  pause_seconds: Type.Number(),
  freed_bytes: Size,
  ...changed,
});
export const Schedule = document('Schedule', {
  ...scheduleFields,
  ...changed,
  expiring: Type.Optional(
    Type.Array(Text, { description: 'scheduled snapshots that the next run will not keep' }),
  ),
});
export const ScheduleList = list('Schedule', scheduleFields);
export const Export = document('Export', { ...exportFields, ...changed });
/** With who is connected. */
export const ExportDetails = document('Export', {
  ...exportFields,
  connections: Type.Array(Type.Object(clientFields)),
});
export const ExportList = list('Export', exportFields);
export const ClientList = list('Client', clientFields);
export const Operation = document('Operation', { ...operationFields, ...changed });
export const OperationList = list('Operation', operationFields);
export const EventList = list('Event', eventFields);

/** Runs of a volume in one state, in order, without gaps. */
export const VolumeMap = document('VolumeMap', {
  volume: Text,
  items: Type.Array(
    Type.Object({
      offset_bytes: Size,
      length_bytes: Size,
      hole: Type.Boolean(),
      zero: Type.Boolean(),
    }),
  ),
  next_page_token: Type.Optional(Text),
});

/** How to reach an export: for any NBD client, for QEMU, for libvirt. */
export const Attachment = document('Attachment', {
  export: Text,
  uri: Text,
  qemu_arguments: Type.Array(Text),
  qmp: Type.Array(
    Type.Object({ execute: Text, arguments: Type.Record(Type.String(), Type.Unknown()) }),
  ),
  libvirt_xml: Text,
});

/** A volume in a guest, or out of it. */
export const GuestDisk = document('GuestDisk', {
  volume: Text,
  export: Text,
  /** Null: libvirt names it. */
  node: Type.Union([Text, Type.Null()]),
  device: Text,
  reconnects: Type.Boolean(),
  ...changed,
});

export const CheckReport = document('CheckReport', {
  pool: Text,
  findings: Type.Array(Finding),
  clusters_checked: Size,
  leaves_checked: Size,
  records_checked: Size,
});

/** Answer to a changing call with `dry_run=true`: every check passed, nothing was done. */
export const Plan = document('Plan', {
  action: Text,
  target: Text,
  changed: Type.Boolean(),
  copied_bytes: Size,
  freed_bytes: Size,
  room_bytes: Type.Optional(Size),
  affected: Type.Optional(Type.Array(Text, { description: 'volumes whose data would be moved' })),
  exports: Type.Optional(
    Type.Array(Type.Object({ name: Text, clients: Type.Integer() }), {
      description: 'what serves them; their clients wait for a moment',
    }),
  ),
  expiring: Type.Optional(
    Type.Array(Text, { description: 'scheduled snapshots that would not be kept any more' }),
  ),
});

/** Answer to a changing call that leaves nothing to show, as a deletion. */
export const Result = document('Result', {
  action: Text,
  target: Text,
  changed: Type.Boolean(),
  freed_bytes: Size,
});

/** Everything on one screen. `health` is the worst of what `warnings` say. */
export const Status = document('Status', {
  version: Text,
  health: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('critical')]),
  ready: Type.Boolean(),
  backend: Text,
  state_dir: Text,
  started_at: Time,
  warnings: Type.Array(Type.Object(warningFields)),
  pools: Type.Array(Type.Object(poolFields)),
  disks: Type.Array(Type.Object(diskFields)),
  operations: Type.Array(Type.Object(operationFields)),
  volume_count: Type.Integer(),
  export_count: Type.Integer(),
  client_count: Type.Integer(),
});

/** RFC 9457. `code` is stable, `detail` is for people, `actions` say what to do. */
export const Problem = Type.Object({
  type: Text,
  title: Text,
  status: Type.Integer(),
  detail: Text,
  code: Text,
  actions: Type.Array(Text),
});

export type FoundDiskListDocument = Static<typeof FoundDiskList>;
export type DiskDocument = Static<typeof Disk>;
export type PoolDocument = Static<typeof Pool>;
export type VolumeDocument = Static<typeof Volume>;
export type SnapshotDocument = Static<typeof Snapshot>;
export type SnapshotCreationDocument = Static<typeof SnapshotCreation>;
export type SnapshotDiffDocument = Static<typeof SnapshotDiff>;
export type SnapshotAttachmentDocument = Static<typeof SnapshotAttachment>;
export type ReversionDocument = Static<typeof Reversion>;
export type ScheduleDocument = Static<typeof Schedule>;
export type ExportDocument = Static<typeof Export>;
export type ExportDetailsDocument = Static<typeof ExportDetails>;
export type OperationDocument = Static<typeof Operation>;
export type VolumeMapDocument = Static<typeof VolumeMap>;
export type AttachmentDocument = Static<typeof Attachment>;
export type GuestDiskDocument = Static<typeof GuestDisk>;
export type CheckReportDocument = Static<typeof CheckReport>;
export type PlanDocument = Static<typeof Plan>;
export type ResultDocument = Static<typeof Result>;
export type StatusDocument = Static<typeof Status>;
export type ProblemDocument = Static<typeof Problem>;

export type FoundDiskItem = Static<typeof FoundDiskList>['items'][number];
export type DiskItem = Static<typeof DiskList>['items'][number];
export type PoolItem = Static<typeof PoolList>['items'][number];
export type VolumeItem = Static<typeof VolumeList>['items'][number];
export type SnapshotItem = Static<typeof SnapshotList>['items'][number];
export type ScheduleItem = Static<typeof ScheduleList>['items'][number];
export type ExportItem = Static<typeof ExportList>['items'][number];
export type ClientItem = Static<typeof ClientList>['items'][number];
export type OperationItem = Static<typeof OperationList>['items'][number];
export type ScrubFindingItem = NonNullable<OperationItem['findings']>[number];
export type EventItem = Static<typeof EventList>['items'][number];
