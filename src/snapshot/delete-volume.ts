/**
 * What goes with a volume that is deleted, and what keeps it: its snapshots, bookmarks and schedule; clones, exports of snapshots.
 *
 * Elsewhere: the deletion itself (src/volume/volume-service.ts), snapshots for themselves (delete.ts).
 */
import { StorageError } from '../base/errors.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { deleteBookmarkOp, deleteFillingOps, deleteVolumeOp } from '../volume/records.ts';
import type { DeleteVolumeOptions } from '../volume/types.ts';
import type { Dependents } from '../volume/volume-service.ts';
import type { SnapshotGuard } from './delete.ts';
import { expectFitsBatch } from './limits.ts';
import { expectNoClones, linkedClones } from './linked-clones.ts';
import { expectNotRead } from './open.ts';
import {
  bookmarkRecords,
  deleteScheduleOp,
  deleteSnapshotOp,
  scheduleOf,
  snapshotRecords,
} from './records.ts';
import { freedByDeleting } from './space.ts';
import type { SnapshotRecord } from './types.ts';

/** @throws StorageError volume/has-clones, volume/has-snapshots, snapshot/busy, request/invalid it may not be deleted like that */
export async function dependentsOf(
  { pool, record }: FoundVolume,
  guard: SnapshotGuard,
  options: DeleteVolumeOptions,
): Promise<Dependents> {
  const snapshots = snapshotRecords(pool).filter(({ volume }) => volume === record.id);
  const bookmarks = bookmarkRecords(pool).filter(({ volume }) => volume === record.id);
  expectDeletable({ pool, record }, snapshots, guard, options);
  const freed = await freedByDeleting(pool, {
    volumes: new Set([record.id]),
    snapshots: new Set(snapshots.map(({ id }) => id)),
  });
  const own = pool.clustersOf(record.headLayer) * pool.clusterBytes;
  const isScheduled = scheduleOf(pool, record.id) !== undefined;
  const ops = [
    ...snapshots.map(({ id }) => deleteSnapshotOp(id)),
    ...bookmarks.map(({ id }) => deleteBookmarkOp(id)),
    ...(isScheduled ? [deleteScheduleOp(record.id)] : []),
  ];
  const itself = [deleteVolumeOp(record.id), ...deleteFillingOps(pool, record.id)];
  expectFitsBatch(pool, [...itself, ...ops], 'delete some of its snapshots and bookmarks first');
  const expectUnused = () => {
    for (const each of snapshots)
      expectNotRead(pool, each, `volume ${record.name} cannot be deleted`);
  };
  expectUnused();
  return { ops, freedBytes: freed - own, expectUnused };
}

function expectDeletable(
  { pool, record: { name } }: FoundVolume,
  snapshots: readonly SnapshotRecord[],
  guard: SnapshotGuard,
  { withSnapshots, keepClones }: DeleteVolumeOptions,
): void {
  if (!keepClones) {
    const clones = linkedClones(pool, LayerTree.of(pool));
    const count = snapshots.reduce((sum, { id }) => sum + (clones.get(id)?.length ?? 0), 0);
    const all = snapshots.length > 0 && !withSnapshots ? ' --with-snapshots' : '';
    expectNoClones(count, `volume ${name}`, `varve volume delete ${name}${all}`);
  }
  for (const { id, name: snapshot } of snapshots) {
    const reason = guard(pool.name, id);
    if (reason === null) continue;
    throw new StorageError(
      'snapshot/busy',
      `volume ${name} cannot be deleted: its snapshot ${snapshot} has to stay: ${reason}`,
    );
  }
  // Whoever keeps the clones has said that the volume's own names may go.
  if (snapshots.length === 0 || withSnapshots || keepClones) return;
  throw new StorageError(
    'volume/has-snapshots',
    `cannot delete volume ${name}: it has ${snapshots.length} snapshots and --with-snapshots was not given`,
    { actions: [`varve volume delete ${name} --with-snapshots`] },
  );
}
