/**
 * Placing a volume: what it and its snapshots show comes to lie on the disks of a class, or on one disk, and so does what is written to it
 * from now on. What it shares with clones stays shared: it moves once.
 */
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { Pool } from '../pool/pool.ts';
import { snapshotRecords } from '../snapshot/records.ts';
import { chainOf, volumeKey } from '../volume/chain.ts';
import { targetOf, type VolumePlacement } from '../volume/placement.ts';
import { volumeById, volumeOp } from '../volume/records.ts';
import { readersOf } from './layers.ts';
import { moveAll } from './movement.ts';
import type { RelocateContext } from './relocate.ts';
import type { MovementWatch, MovePlan } from './types.ts';
import { type IsWanted, unitsOf } from './unit.ts';

const everySlot = () => Number.POSITIVE_INFINITY;

/** @throws StorageError pool/full there is not the room */
export async function planPlacement(
  pool: Pool,
  volume: number,
  placement: VolumePlacement,
): Promise<MovePlan> {
  await pool.flush();
  const isWanted = elsewhere(pool, placement);
  const layers = new Set<number>();
  let clusters = 0;
  for (const layer of layersOf(pool, volume)) {
    for await (const { slots } of unitsOf(pool, layer, isWanted, everySlot)) {
      layers.add(layer);
      clusters += slots.length;
    }
  }
  const room = pool.roomOf(targetOf(pool, placement));
  const copiedBytes = clusters * pool.clusterBytes;
  const roomBytes = room * pool.clusterBytes;
  if (clusters > room) {
    throw new StorageError(
      'pool/full',
      `${formatSize(copiedBytes)} are to be moved to ${nameOf(placement)} of pool ${pool.name}, which has room for ${formatSize(roomBytes)}`,
      { actions: [`varve disk add ${pool.name} DISK-URI`] },
    );
  }
  return { copiedBytes, roomBytes, volumes: readersOf(pool, layers) };
}

/**
 * Afterwards everything lies where it was placed.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; what `before` throws
 */
export async function placeVolume(
  context: RelocateContext,
  volume: number,
  placement: VolumePlacement,
  { before, report }: MovementWatch,
): Promise<void> {
  const { pool, volumes } = context;
  const { copiedBytes } = await planPlacement(pool, volume, placement);
  await volumes.exclusively(pool, async () => {
    const record = volumeById(pool, volume);
    if (record === undefined) return;
    await pool.commit([volumeOp({ ...record, placement })]);
    pool.volumePlaced(volumeKey(volume), targetOf(pool, placement));
  });
  let moved = 0;
  const movement = {
    layers: () => layersOf(pool, volume),
    isWanted: elsewhere(pool, placement),
    targetsOf: () => [targetOf(pool, placement)],
  };
  await moveAll(context, movement, {
    before,
    onMoved: (bytes) => {
      moved += bytes;
      report(Math.min(moved, copiedBytes), copiedBytes);
    },
  });
}

export function nameOf({ class: name, disk }: VolumePlacement): string {
  return name === undefined ? `disk ${disk}` : `class ${name}`;
}

/** What the volume and its snapshots show. */
function layersOf(pool: Pool, volume: number): number[] {
  const heads = [
    volumeById(pool, volume)?.headLayer,
    ...snapshotRecords(pool)
      .filter((snapshot) => snapshot.volume === volume)
      .map(({ layer }) => layer),
  ];
  return [...new Set(heads.flatMap((head) => chainOf(pool, head)))];
}

function elsewhere(pool: Pool, placement: VolumePlacement): IsWanted {
  return (number) => {
    const target = targetOf(pool, placement);
    if (target.disk !== undefined) return target.disk !== number;
    return target.class !== undefined && pool.placement(number).class !== target.class;
  };
}
