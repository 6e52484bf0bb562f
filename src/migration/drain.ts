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
import type { Target } from '../pool/allocator.ts';
import type { Pool } from '../pool/pool.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { aliveLayers, layersOn, readersOf } from './layers.ts';
import { moveAll } from './movement.ts';
import { expectNoneOwnerless } from './ownerless.ts';
import { placementTargets } from './placement-targets.ts';
import type { RelocateContext } from './relocate.ts';
import type { MovementWatch, MovePlan } from './types.ts';

interface DrainContext extends RelocateContext {
  readonly volumes: Pick<VolumeService, 'exclusively' | 'reaped'>;
}

/** Between looks whether what was released is free. */
const settleMs = 20;

/**
 * @param options.addedBytes what a disk that is going to be added can take
 * @throws StorageError pool/full the other disks have not the room
 */
export async function planDrain(
  pool: Pool,
  disk: number,
  { addedBytes = 0 }: { readonly addedBytes?: number } = {},
): Promise<MovePlan> {
  await pool.flush();
  const { owned, roomBeside } = pool.occupancy(disk);
  const copiedBytes = owned * pool.clusterBytes;
  const roomBytes = roomBeside * pool.clusterBytes + addedBytes;
  if (copiedBytes > roomBytes) {
    throw new StorageError(
      'pool/full',
      `disk ${pool.diskInfo(disk).uri} holds ${formatSize(copiedBytes)}, but the other disks of pool ${pool.name} have room for ${formatSize(roomBytes)}`,
      { actions: [`varve disk add ${pool.name} DISK-URI`, 'delete volumes or snapshots'] },
    );
  }
  const there = await layersOn(pool, aliveLayers(pool), (number) => number === disk);
  return { copiedBytes, roomBytes, volumes: readersOf(pool, there) };
}

/**
 * Afterwards nothing lies on the disk, and nothing new comes to lie there.
 *
 * @param preferred where its data goes as long as there is room; else where its volumes are placed
 * @throws StorageError pool/full, pool/failed, disk/io; pool/damaged something there belongs to nobody; what `before` throws
 */
export async function drain(
  context: DrainContext,
  disk: number,
  watch: MovementWatch,
  preferred: readonly Target[] = [],
): Promise<void> {
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
    targetsOf: (layer: number) => [...preferred, ...placementTargets(pool, layer)],
  };
  while (pool.occupancy(disk).occupied > 0) {
    const before = pool.occupancy(disk).owned;
    await watch.before(0);
    await moveAll(context, movement, { before: watch.before, onMoved });
    await volumes.reaped(pool);
    pool.takeBackGrants(disk);
    // What was released is free when its record is durable and nobody reads it any more.
    await pool.flush();
    const { owned, occupied } = pool.occupancy(disk);
    if (owned > 0 && owned >= before) {
      await expectNoneOwnerless(pool, disk, pool.diskInfo(disk).uri);
    }
    if (occupied > 0) await setTimeout(settleMs);
  }
  watch.report(totalBytes, totalBytes);
}
