/**
 * Renaming snapshots and bookmarks.
 */
import { expectName } from '../base/names.ts';
import type { SnapshotContext } from './context.ts';
import { bookmarkOp, snapshotOp } from './records.ts';
import type { SnapshotInfo, SnapshotName } from './types.ts';

/**
 * To be run between other changes of structure.
 *
 * @returns what it is then, in a dry run too
 * @throws StorageError volume/not-found, snapshot/not-found, snapshot/exists, request/invalid
 */
export async function renameSnapshot(
  { catalog }: SnapshotContext,
  { volume, snapshot }: SnapshotName,
  to: string,
  { dryRun }: { readonly dryRun?: boolean },
): Promise<SnapshotInfo> {
  expectName('snapshot', to);
  const { pool, volume: owner, ...found } = catalog.find(volume, snapshot);
  pool.expectWritable();
  if (snapshot === to) return catalog.describe(volume, snapshot);
  catalog.expectFree({ pool, record: owner }, to);
  if (dryRun) return { ...catalog.describe(volume, snapshot), name: to };
  const op =
    found.kind === 'snapshot'
      ? snapshotOp({ ...found.record, name: to })
      : bookmarkOp({ ...found.record, name: to });
  await pool.commit([op]);
  return catalog.describe(volume, to);
}
