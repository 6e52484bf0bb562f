/**
 * Deleting snapshots and bookmarks: names go, those of one pool together. No data is copied.
 *
 * Elsewhere: what goes with a volume (delete-volume.ts), how layers without a name shrink (janitor.ts), how much comes back (space.ts).
 */
import { StorageError } from '../base/errors.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { deleteBookmarkOp, NewIds } from '../volume/records.ts';
import type { Found, FoundSnapshot } from './catalog.ts';
import type { SnapshotContext } from './context.ts';
import { expectFitsBatch } from './limits.ts';
import { expectNoClones, linkedClones } from './linked-clones.ts';
import { formatSnapshotName } from './names.ts';
import { expectNotRead } from './open.ts';
import { snapshotUuid } from './passport.ts';
import { bookmarkOp, deleteSnapshotOp } from './records.ts';
import { freedByDeleting } from './space.ts';
import type { DeleteSnapshotOptions, SnapshotName } from './types.ts';

/** Says why a snapshot must stay, or null. */
export type SnapshotGuard = (pool: string, snapshotId: number) => string | null;

/**
 * Deletes names; space comes back in the background. To be run between other changes of structure.
 *
 * @throws StorageError volume/not-found, snapshot/not-found, snapshot/busy it is exported or read, volume/has-clones, request/invalid too many at once;
 *   none is deleted then
 */
export async function deleteSnapshots(
  context: SnapshotContext,
  guard: SnapshotGuard,
  names: readonly SnapshotName[],
  options: DeleteSnapshotOptions,
): Promise<{ freedBytes: number }> {
  // One that is named twice is one.
  const found = [...new Map(names.map((name) => [formatSnapshotName(name), name])).values()].map(
    ({ volume, snapshot }) => context.catalog.find(volume, snapshot),
  );
  const perPool = [...new Set(found.map(({ pool }) => pool))].map((pool) => {
    const here = found.filter((each) => each.pool === pool);
    return { pool, here, ops: deletionOps(pool, here, options.bookmark ?? false) };
  });
  for (const { pool, here, ops } of perPool) {
    pool.expectWritable();
    expectDeletable(pool, here.filter(isSnapshot), guard, options);
    expectFitsBatch(pool, ops, 'delete fewer together');
  }
  let freedBytes = 0;
  for (const { pool, here, ops } of perPool) {
    const snapshots = new Set(here.filter(isSnapshot).map(({ record }) => record.id));
    freedBytes += await freedByDeleting(pool, { volumes: new Set(), snapshots });
    if (options.dryRun) continue;
    await pool.holdOpenings(async () => {
      for (const { volume, record } of here.filter(isSnapshot)) {
        expectNotRead(pool, record, `snapshot ${volume.name}@${record.name} cannot be deleted`);
      }
      await pool.commit(ops);
    });
    tellDeleted(context, pool, here);
  }
  return { freedBytes };
}

function expectDeletable(
  pool: Pool,
  found: readonly FoundSnapshot[],
  guard: SnapshotGuard,
  { keepClones }: DeleteSnapshotOptions,
): void {
  const clones = linkedClones(pool, LayerTree.of(pool));
  for (const { volume, record } of found) {
    const name = `${volume.name}@${record.name}`;
    const reason = guard(pool.name, record.id);
    if (reason !== null) {
      throw new StorageError('snapshot/busy', `snapshot ${name} cannot be deleted: ${reason}`);
    }
    expectNotRead(pool, record, `snapshot ${name} cannot be deleted`);
    if (keepClones) continue;
    const count = clones.get(record.id)?.length ?? 0;
    expectNoClones(count, `snapshot ${name}`, `varve snapshot delete ${name}`);
  }
}

function deletionOps(pool: Pool, found: readonly Found[], bookmark: boolean): BatchOp[] {
  const ids = new NewIds(pool);
  const ops = found.flatMap((each): BatchOp[] => {
    if (each.kind === 'bookmark') return [deleteBookmarkOp(each.record.id)];
    const gone = deleteSnapshotOp(each.record.id);
    if (!bookmark) return [gone];
    const { volume, name, layer, sizeBytes, createdAt } = each.record;
    const uuid = snapshotUuid(each.pool, each.record);
    const mark = { id: ids.snapshot(), uuid, volume, name, layer, sizeBytes, createdAt };
    return [gone, bookmarkOp(mark)];
  });
  return bookmark ? [...ops, ids.op()] : ops;
}

function tellDeleted(context: SnapshotContext, pool: Pool, found: readonly Found[]): void {
  context.volumes.structureChanged(pool);
  for (const { volume, record } of found) {
    const name = `${volume.name}@${record.name}`;
    context.tell('snapshot/deleted', name, `snapshot ${name} was deleted`);
  }
}

function isSnapshot(found: Found): found is FoundSnapshot {
  return found.kind === 'snapshot';
}
