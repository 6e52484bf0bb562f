/**
 * The names of a family as the target will have them: volumes, snapshots, bookmarks, schedules and exports, with ids of its own.
 *
 * Pure but for the reading of records: nothing is committed here.
 */
import type { VolumeExportRecord } from '../../export/types.ts';
import type { BatchOp } from '../../pool/format/batch.ts';
import type { Pool } from '../../pool/pool.ts';
import { deleteRecord, putRecord } from '../../pool/pool-records.ts';
import { snapshotUuid } from '../../snapshot/passport.ts';
import {
  bookmarkOp,
  bookmarkRecords,
  deleteScheduleOp,
  deleteSnapshotOp,
  scheduleOp,
  scheduleRecords,
  snapshotOp,
  snapshotRecords,
} from '../../snapshot/records.ts';
import type { Family } from '../../volume/family.ts';
import { uuidOf } from '../../volume/identity.ts';
import type { VolumePlacement } from '../../volume/placement.ts';
import {
  deleteBookmarkOp,
  deleteVolumeOp,
  type LayerRecord,
  layerOp,
  NewIds,
  volumeOp,
  volumeRecords,
} from '../../volume/records.ts';
import type { VolumeRecord } from '../../volume/types.ts';
import { LayerMap } from './layer-map.ts';
import type { MoveUnderWay } from './types.ts';

export interface Arriving {
  readonly ops: readonly BatchOp[];
  /** As the target has them. */
  readonly volumes: readonly VolumeRecord[];
  readonly exportOf: (record: VolumeExportRecord) => VolumeExportRecord;
}

/** Everything of the family that is alive and frozen is in the target as a whole, and nothing is in its heads. */
export function arriving(underWay: MoveUnderWay, family: Family): Arriving {
  const { source, target, move } = underWay;
  const map = new LayerMap(underWay);
  const ids = new NewIds(target);
  const names = namesOf(source, family);
  const snapshotIds = new Map(names.snapshots.map(({ id }) => [id, ids.snapshot()]));
  const volumeIds = new Map(names.volumes.map(({ id }) => [id, ids.volume()]));
  const idOf = (volume: number) => volumeIds.get(volume) as number;
  const heads: LayerRecord[] = [];
  const volumes = names.volumes.map((volume): VolumeRecord => {
    const parent = parentOf(source, volume);
    const head = { id: ids.layer(), parent: parent === null ? null : map.layerOf(parent) };
    heads.push(head);
    const known = { ...volume, uuid: uuidOf(source.uuid, volume) };
    return volumeIn(target, { ...known, id: idOf(volume.id), headLayer: head.id }, snapshotIds);
  });
  const exportOf = ({ snapshotId, ...record }: VolumeExportRecord): VolumeExportRecord => ({
    ...record,
    volumeId: idOf(record.volumeId),
    ...(snapshotId === undefined ? {} : { snapshotId: snapshotIds.get(snapshotId) as number }),
  });
  const bookmarks = names.bookmarks.flatMap((bookmark) => {
    const copy = map.copyOf(bookmark.layer);
    if (copy === undefined) return [];
    const uuid = snapshotUuid(source, bookmark);
    const volume = idOf(bookmark.volume);
    return [{ ...bookmark, id: ids.snapshot(), uuid, volume, layer: copy.layer }];
  });
  const ops = [
    ...[...incomingLayers(target, move.id), ...heads].map(layerOp),
    ...volumes.map(volumeOp),
    ...names.snapshots.map((snapshot) =>
      snapshotOp({
        ...snapshot,
        uuid: snapshotUuid(source, snapshot),
        id: snapshotIds.get(snapshot.id) as number,
        volume: idOf(snapshot.volume),
        layer: map.layerOf(snapshot.layer),
      }),
    ),
    ...bookmarks.map(bookmarkOp),
    ...names.schedules.map((schedule) =>
      scheduleOp({ ...schedule, volume: idOf(schedule.volume) }),
    ),
    ...names.exports.map((record) => putRecord(`export/${record.name}`, exportOf(record))),
    ids.op(),
  ];
  return { ops, volumes, exportOf };
}

/** The names are gone; layers that nothing else keeps go after them. */
export function leavingOps(pool: Pool, volumes: ReadonlySet<number>): BatchOp[] {
  const names = namesOf(pool, { volumes });
  return [
    ...names.volumes.map(({ id }) => deleteVolumeOp(id)),
    ...names.snapshots.map(({ id }) => deleteSnapshotOp(id)),
    ...names.bookmarks.map(({ id }) => deleteBookmarkOp(id)),
    ...names.schedules.map(({ volume }) => deleteScheduleOp(volume)),
    ...names.exports.map(({ name }) => deleteRecord(`export/${name}`)),
  ];
}

/** The copies of a move, nobody's any more: what is not named or read through is given back. */
export function incomingLayers(target: Pool, move: string): LayerRecord[] {
  return target
    .records<LayerRecord>('layer/')
    .filter(({ incoming }) => incoming?.move === move)
    .map(({ incoming: _, ...layer }) => layer);
}

export function namesOf(pool: Pool, { volumes }: Pick<Family, 'volumes'>) {
  const isOf = ({ volume }: { readonly volume: number }) => volumes.has(volume);
  return {
    volumes: volumeRecords(pool).filter(({ id }) => volumes.has(id)),
    snapshots: snapshotRecords(pool).filter(isOf),
    bookmarks: bookmarkRecords(pool).filter(isOf),
    schedules: scheduleRecords(pool).filter(isOf),
    exports: pool
      .records<VolumeExportRecord>('export/')
      .filter(({ volumeId }) => volumes.has(volumeId)),
  };
}

/** A class that the target has stays asked for; a disk does not. */
function volumeIn(
  target: Pool,
  { placement, clonedFrom, ...volume }: VolumeRecord,
  snapshotIds: ReadonlyMap<number, number>,
): VolumeRecord {
  const snapshot = clonedFrom === undefined ? undefined : snapshotIds.get(clonedFrom);
  return {
    ...volume,
    ...(hasClass(target, placement) ? { placement } : {}),
    ...(snapshot === undefined ? {} : { clonedFrom: snapshot }),
  };
}

export function hasClass(
  pool: Pool,
  placement: VolumePlacement | undefined,
): placement is { class: string } {
  const label = placement?.class;
  return label !== undefined && pool.info().disks.some((disk) => disk.class === label);
}

function parentOf(pool: Pool, { headLayer }: VolumeRecord): number | null {
  return pool.record<LayerRecord>(`layer/${headLayer}`)?.parent ?? null;
}
