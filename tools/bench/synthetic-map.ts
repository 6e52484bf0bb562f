/**
 * A volume's map as if all of it had been written, without the data: what depends on the size of maps is measured on disks that
 * need no room for content. Works on the state folder of a service that is stopped, through the pool's own batches.
 *
 *   npx tsx tools/bench/synthetic-map.ts STATE-FOLDER VOLUME
 */
import { clustersFor, slotsPerLeaf } from '../../src/base/units.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import { packed } from '../../src/pool/format/batch.ts';
import { makeSlot } from '../../src/pool/format/slot.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';
import { openVolumeAtRest } from './pool-at-rest.ts';

const everySubBlock = 0xffff;
const leavesPerStep = 1024;

const [stateDir = '', volume = ''] = process.argv.slice(2);
const { pools, pool, record } = await openVolumeAtRest(stateDir, volume);
await mapWhole(pool, record);
await pools.close();
// The data plane's threads would go on.
process.exit();

/** Gives every slot of the volume, which has nothing yet, a cluster that counts as written. */
async function mapWhole(pool: Pool, { headLayer, sizeBytes }: VolumeRecord): Promise<void> {
  const leaves = clustersFor(sizeBytes, pool.clusterBytes) / slotsPerLeaf;
  for (let first = 0; first < leaves; first += leavesPerStep) {
    const count = Math.min(leavesPerStep, leaves - first);
    const groups = Array.from({ length: count }, (_, at) => leafOps(pool, headLayer, first + at));
    for (const batch of packed(groups, pool.batchBytesMax)) await pool.commit(batch);
  }
}

function leafOps(pool: Pool, layer: number, leaf: number): BatchOp[] {
  const runs = pool.holdClusters(slotsPerLeaf);
  const places = runs.flatMap(({ disk, firstCluster, count }) =>
    Array.from({ length: count }, (_, at) => makeSlot(disk, firstCluster + at, everySubBlock)),
  );
  const entries = places.map(([hi, lo], slot) => ({ slot, hi, lo }));
  return [
    ...runs.map((run): BatchOp => ({ op: 'acquire', ...run })),
    { op: 'patch', layer, leaf, entries },
    { op: 'count', layer, change: slotsPerLeaf },
  ];
}
