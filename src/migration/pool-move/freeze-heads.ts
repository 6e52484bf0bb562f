/**
 * Freezing what a family has written: its heads become layers that nobody names, which the move copies; guests write to empty heads above.
 */
import type { Pool } from '../../pool/pool.ts';
import type { exchangeHeads } from '../../snapshot/freeze.ts';
import { expectLayersLeft } from '../../snapshot/limits.ts';
import type { Family } from '../../volume/family.ts';
import { layerOp, NewIds, volumeOp, volumeRecords } from '../../volume/records.ts';
import type { VolumeRecord } from '../../volume/types.ts';

/** Bytes that the heads of the family own. */
export function headBytes(pool: Pool, family: Family): number {
  const clusters = volumesOf(pool, family).map(({ headLayer }) => pool.clustersOf(headLayer));
  return clusters.reduce((sum, count) => sum + count, 0) * pool.clusterBytes;
}

/**
 * Every head that has something in it is frozen at one point in time. To be run between other changes of structure.
 *
 * @param exchange by whether the pool's openings are held already
 * @throws StorageError volume/busy writes under way do not end; snapshot/limit, pool/failed
 */
export async function freezeHeads(
  pool: Pool,
  family: Family,
  exchange: typeof exchangeHeads,
): Promise<void> {
  // What guests wrote is in the map only when it is durable.
  await pool.flush();
  const written: VolumeRecord[] = [];
  for (const volume of volumesOf(pool, family)) {
    if (await hasAnything(pool, volume)) written.push(volume);
  }
  if (written.length === 0) return;
  expectLayersLeft(pool, written.length);
  const ids = new NewIds(pool);
  const heads = written.map((volume) => ({ volume, head: ids.layer(), inherit: true }));
  const ops = [
    ids.op(),
    ...heads.flatMap(({ volume, head }) => [
      layerOp({ id: head, parent: volume.headLayer }),
      volumeOp({ ...volume, headLayer: head }),
    ]),
  ];
  await exchange(pool, heads, ops);
}

function volumesOf(pool: Pool, { volumes }: Family): VolumeRecord[] {
  return volumeRecords(pool).filter(({ id }) => volumes.has(id));
}

/** A head without clusters may own zeroes. */
async function hasAnything(pool: Pool, { headLayer }: VolumeRecord): Promise<boolean> {
  return (await pool.index.nextLeaf(headLayer, 0)) !== Number.POSITIVE_INFINITY;
}
