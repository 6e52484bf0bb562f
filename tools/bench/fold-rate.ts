/**
 * What it costs to bring scattered changes of a map from memory into the index: one slot in each of many leaves, the worst case. Works on the
 * state folder of a service that is stopped, and leaves it of no further use.
 *
 *   npx tsx tools/bench/fold-rate.ts STATE-FOLDER VOLUME     prints µs per change
 */
import { randomInt } from 'node:crypto';
import { clustersFor, slotsPerLeaf } from '../../src/base/units.ts';
import { type BatchOp, packed } from '../../src/pool/format/batch.ts';
import { makeSlot } from '../../src/pool/format/slot.ts';
import { secondsOf } from './chain-disks.ts';
import { openVolumeAtRest } from './pool-at-rest.ts';

/** Fewer than what is folded without being asked. */
const changes = 12_000;

const [stateDir = '', volume = ''] = process.argv.slice(2);
const { pool, record } = await openVolumeAtRest(stateDir, volume);
const leaves = clustersFor(record.sizeBytes, pool.clusterBytes) / slotsPerLeaf;
const touched = new Set<number>();
for (let at = 0; at < changes; at++) touched.add(randomInt(leaves));
await pool.index.fold();
for (const batch of packed([...touched].map(change), pool.batchBytesMax)) await pool.commit(batch);
const seconds = await secondsOf(() => pool.index.fold());
process.stdout.write(`${((seconds * 1e6) / touched.size).toFixed(1)}\n`);
// The data plane's threads would go on.
process.exit();

function change(leaf: number): BatchOp[] {
  const [run] = pool.holdClusters(1);
  if (run === undefined) throw new Error('the pool has no free cluster');
  const [hi, lo] = makeSlot(run.disk, run.firstCluster, 0xffff);
  return [
    { op: 'acquire', ...run },
    { op: 'patch', layer: record.headLayer, leaf, entries: [{ slot: randomInt(64), hi, lo }] },
  ];
}
