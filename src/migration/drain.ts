/**
 * Drain: moves everything off a disk, while guests run.
 *
 *   cordoned → what was granted there is taken back → moved → released and free → nothing is left, whoever had it
 *
 * Whatever ends it, the disk stays cordoned: to be removed, to be drained again, or to be uncordoned.
 */
import { setTimeout } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { Pool } from '../pool/pool.ts';
import type { ReportProgress } from '../pool/types.ts';
import { chainOf } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { volumeRecords } from '../volume/records.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { moveAll } from './movement.ts';
import { placementTargets } from './placement-targets.ts';
import { unitsOf } from './unit.ts';

export interface DrainContext {
  readonly pool: Pool;
  readonly volumes: Pick<VolumeService, 'exclusively' | 'reaped'>;
}

export interface DrainPlan {
  readonly copiedBytes: number;
  /** What the other disks can take. */
  readonly roomBytes: number;
  /** Volumes that read from the disk. */
  readonly volumes: readonly string[];
}

export interface DrainWatch {
  /** Resolves when so many bytes may be moved. @throws the reason to stop */
  readonly before: (bytes: number) => Promise<void>;
  readonly report: ReportProgress;
}

/** Between looks whether what was released is free. */
const settleMs = 20;

/** @throws StorageError pool/full the other disks have not the room */
export async function planDrain(pool: Pool, disk: number): Promise<DrainPlan> {
  const { owned, roomBeside } = pool.occupancy(disk);
  const copiedBytes = owned * pool.clusterBytes;
  const roomBytes = roomBeside * pool.clusterBytes;
  if (owned > roomBeside) {
    throw new StorageError(
      'pool/full',
      `disk ${pool.diskInfo(disk).uri} holds ${formatSize(copiedBytes)}, but the other disks of pool ${pool.name} have room for ${formatSize(roomBytes)}`,
      { actions: [`varve disk add ${pool.name} DISK-URI`, 'delete volumes or snapshots'] },
    );
  }
  return { copiedBytes, roomBytes, volumes: await readersOf(pool, disk) };
}

/**
 * Afterwards nothing lies on the disk, and nothing new comes to lie there.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; what `before` throws
 */
export async function drain(context: DrainContext, disk: number, watch: DrainWatch): Promise<void> {
  const { pool, volumes } = context;
  await pool.placeDisk(disk, { ...pool.placement(disk), cordoned: true });
  const totalBytes = pool.occupancy(disk).owned * pool.clusterBytes;
  const onMoved = () => {
    const leftBytes = pool.occupancy(disk).owned * pool.clusterBytes;
    watch.report(Math.max(0, totalBytes - leftBytes), totalBytes);
  };
  const movement = {
    layers: () => aliveLayers(pool),
    isWanted: (number: number) => number === disk,
    targetsOf: (layer: number) => placementTargets(pool, layer),
  };
  while (pool.occupancy(disk).occupied > 0) {
    await watch.before(0);
    await moveAll(context, movement, { before: watch.before, onMoved });
    await volumes.reaped(pool);
    pool.takeBackGrants(disk);
    // What was released is free when its record is durable and nobody reads it any more.
    await pool.flush();
    if (pool.occupancy(disk).occupied > 0) await setTimeout(settleMs);
  }
  watch.report(totalBytes, totalBytes);
}

/** What is not alive gives its clusters back by itself. */
function aliveLayers(pool: Pool): number[] {
  const tree = LayerTree.of(pool);
  return [...tree.layers].filter((layer) => tree.isAlive(layer));
}

async function readersOf(pool: Pool, disk: number): Promise<string[]> {
  const there = new Set<number>();
  for (const layer of aliveLayers(pool)) {
    const units = unitsOf(pool, layer, (number) => number === disk, 1);
    if (!(await units.next()).done) there.add(layer);
  }
  return volumeRecords(pool)
    .filter(({ headLayer, scratch }) => {
      return !scratch && chainOf(pool, headLayer).some((layer) => there.has(layer));
    })
    .map(({ name }) => name)
    .sort();
}
