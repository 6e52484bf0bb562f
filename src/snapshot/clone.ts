/**
 * Cloning: a new volume whose head reads through a snapshot's layer. One batch; constant time at any size.
 *
 * Elsewhere: which clones a snapshot has (linked-clones.ts), a clone that needs no parent any more (flatten.ts).
 */
import { isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import type { Pool } from '../pool/pool.ts';
import { layerOp, NewIds, volumeOp } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { SnapshotContext } from './context.ts';
import { expectLayersLeft } from './limits.ts';
import type { SnapshotName, SnapshotRecord } from './types.ts';

/**
 * A new volume that reads through the snapshot; the same again changes nothing. To be run between other changes of structure.
 *
 * @throws StorageError snapshot/not-found, volume/exists, request/invalid, snapshot/limit, pool/failed
 */
export async function cloneSnapshot(
  context: SnapshotContext,
  source: SnapshotName,
  name: string,
  { dryRun }: { readonly dryRun?: boolean },
): Promise<{ changed: boolean }> {
  const { volumes, catalog } = context;
  expectName('volume', name);
  const { pool, record, volume } = catalog.findSnapshot(source.volume, source.snapshot);
  pool.expectWritable();
  const known = volumes.lookUp(name);
  if (known !== undefined) {
    if (known.pool === pool && known.record.clonedFrom === record.id) return { changed: false };
    throw new StorageError('volume/exists', `volume ${name} exists`, {
      actions: [`varve volume show ${name}`],
    });
  }
  expectLayersLeft(pool, 1);
  if (dryRun) return { changed: true };
  const { snapshotMode, placement } = volume;
  const placed = placement === undefined ? {} : { placement };
  await addHead(context, pool, record, { name, snapshotMode, ...placed });
  const origin = `${source.volume}@${source.snapshot}`;
  context.tell('volume/cloned', name, `volume ${name} was cloned from ${origin}`);
  return { changed: true };
}

/** Makes a volume whose head reads through a snapshot's layer. */
export async function addHead(
  { clock }: SnapshotContext,
  pool: Pool,
  { id, layer, sizeBytes }: SnapshotRecord,
  of: Pick<VolumeRecord, 'name' | 'snapshotMode' | 'placement' | 'scratch' | 'receiving'>,
): Promise<VolumeRecord> {
  const ids = new NewIds(pool);
  const volume = ids.volume();
  const record: VolumeRecord = {
    id: volume,
    sizeBytes,
    headLayer: ids.layer(),
    thick: false,
    createdAt: isoTime(clock),
    clonedFrom: id,
    ...of,
    name: of.scratch ? `scratch/${volume}` : of.name,
  };
  await pool.commit([ids.op(), layerOp({ id: record.headLayer, parent: layer }), volumeOp(record)]);
  return record;
}
