/**
 * A volume's snapshot mode: what happens when it is written to where a snapshot has its content.
 *
 *   row   redirect on write: the head takes a new cluster           cow   copy on write: the old content moves (copy-on-write.ts)
 */
import { volumeKey } from '../volume/chain.ts';
import { volumeOp } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { SnapshotContext } from './context.ts';

/**
 * From the next write on; to be run between other changes of structure.
 *
 * @throws StorageError volume/not-found, pool/failed
 */
export async function setSnapshotMode(
  { volumes }: SnapshotContext,
  volume: string,
  snapshotMode: VolumeRecord['snapshotMode'],
  { dryRun }: { readonly dryRun?: boolean },
): Promise<{ changed: boolean }> {
  const { pool, record } = volumes.find(volume);
  pool.expectWritable();
  const changed = record.snapshotMode !== snapshotMode;
  if (dryRun || !changed) return { changed };
  await pool.commit([volumeOp({ ...record, snapshotMode })]);
  pool.planeOf(volumeKey(record.id))?.setCopyOnWrite(snapshotMode === 'cow');
  return { changed };
}
