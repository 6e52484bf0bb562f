/**
 * Rebalance: disks of one class come to be equally full, as far as that goes without moving what was placed elsewhere on purpose.
 */
import type { Pool } from '../pool/pool.ts';
import { aliveLayers, layersOn, readersOf } from './layers.ts';
import { moveAll } from './movement.ts';
import { placementTargets } from './placement-targets.ts';
import type { RelocateContext } from './relocate.ts';
import type { MovementWatch, MovePlan } from './types.ts';

/** Of its usable clusters: a disk so close to its share is left alone. */
const slackFraction = 0.01;
const slackClustersMin = 64;

/** Clusters by which a disk is fuller than its share (positive), or could be (negative). */
export function excessOf(pool: Pool): ReadonlyMap<number, number> {
  const excess = new Map<number, number>();
  for (const group of byClass(pool)) {
    const used = group.reduce((sum, disk) => sum + disk.usedClusters, 0);
    const usable = group.reduce((sum, disk) => sum + disk.usableClusters, 0);
    for (const { number, usedClusters, usableClusters } of group) {
      const share = Math.ceil((used * usableClusters) / usable);
      excess.set(number, usedClusters - share);
    }
  }
  return excess;
}

export async function planRebalance(pool: Pool): Promise<MovePlan> {
  await pool.flush();
  const over = overfull(pool);
  const clusters = [...over.values()].reduce((sum, count) => sum + count, 0);
  const there = await layersOn(pool, aliveLayers(pool), (number) => over.has(number));
  const bytes = clusters * pool.clusterBytes;
  return { copiedBytes: bytes, roomBytes: bytes, volumes: readersOf(pool, there) };
}

/** @throws StorageError pool/full, pool/failed, disk/io; what `before` throws */
export async function rebalance(
  context: RelocateContext,
  { before, report }: MovementWatch,
): Promise<void> {
  const { pool } = context;
  const { copiedBytes } = await planRebalance(pool);
  let moved = 0;
  /** Clusters that may still leave each disk. */
  const left = new Map(overfull(pool));
  const movement = {
    layers: () => aliveLayers(pool),
    isWanted: (number: number) => (left.get(number) ?? 0) > 0,
    targetsOf: (layer: number) => emptiest(pool, layer),
  };
  await moveAll(context, movement, {
    before,
    onMoved: (bytes) => {
      moved += bytes;
      report(Math.min(moved, copiedBytes), copiedBytes);
      left.clear();
      for (const [number, count] of overfull(pool)) left.set(number, count);
    },
  });
}

interface DiskShare {
  readonly number: number;
  readonly usedClusters: number;
  readonly usableClusters: number;
}

/** Disks that take new data. */
function byClass(pool: Pool): DiskShare[][] {
  const groups = new Map<string | null, DiskShare[]>();
  for (const disk of pool.info().disks) {
    if (disk.cordoned) continue;
    const share = {
      number: disk.number,
      usedClusters: pool.occupancy(disk.number).owned,
      usableClusters: disk.capacityBytes / pool.clusterBytes,
    };
    groups.set(disk.class, [...(groups.get(disk.class) ?? []), share]);
  }
  return [...groups.values()];
}

function overfull(pool: Pool): Map<number, number> {
  const usable = new Map(
    byClass(pool)
      .flat()
      .map((disk) => [disk.number, disk.usableClusters]),
  );
  return new Map(
    [...excessOf(pool)].filter(([number, count]) => {
      const slack = Math.max(slackClustersMin, slackFraction * (usable.get(number) ?? 0));
      return count > slack;
    }),
  );
}

/** The disks that are furthest below their share, of those where the layer belongs. */
function emptiest(pool: Pool, layer: number) {
  const [preferred] = placementTargets(pool, layer);
  const disks = [...excessOf(pool)]
    .filter(([number, count]) => {
      const isOfClass =
        preferred?.class === undefined || pool.placement(number).class === preferred.class;
      return count < 0 && isOfClass;
    })
    .sort(([, a], [, b]) => a - b);
  return disks.map(([disk]) => ({ disk }));
}
