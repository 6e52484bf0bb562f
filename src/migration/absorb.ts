/**
 * Absorb: what volumes still read from an adopted disk comes to lie in the pool, and the disk is let go; while guests run.
 *
 *   every cluster copied and its slot re-pointed → (compared) → nothing points to the disk: its layer is one like any other, one batch → the
 *     pool forgets the disk, which may be deleted then
 *
 * The disk is read, never written to. Cut off anywhere, what is left to do is what the map says. Snapshots and clones share the copies as they
 * shared the originals.
 */
import { setTimeout } from 'node:timers/promises';
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import type { OpenForeignDisk } from '../pool/foreign-disk.ts';
import type { Pool } from '../pool/pool.ts';
import { layersOfAdopted } from '../volume/adopted-disk.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { layerOp } from '../volume/records.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { readersOf } from './layers.ts';
import { moveAll } from './movement.ts';
import { expectNoneOwnerless } from './ownerless.ts';
import { placementTargets } from './placement-targets.ts';
import type { RelocateContext } from './relocate.ts';
import type { MovementWatch, MovePlan } from './types.ts';

interface AbsorbContext extends RelocateContext {
  readonly volumes: Pick<VolumeService, 'exclusively' | 'reaped' | 'structureChanged'>;
}

/** Looks at what the disk's layer, which nobody writes to, holds in the pool, while the disk is still there. @throws why it must not go */
export type BeforeLettingGo = (pool: Pool, layer: number) => Promise<void>;

/** Between looks whether the disk is let go. */
const settleMs = 20;

/**
 * @throws StorageError disk/unusable the disk cannot be read; pool/full there is not the room
 */
export async function planAbsorb(pool: Pool, disk: OpenForeignDisk): Promise<MovePlan> {
  await pool.flush();
  const { record, problem } = disk;
  if (problem !== null) throw unreadable(disk, problem);
  const copiedBytes = leftBytes(pool, record.number);
  const roomBytes = pool.roomOf({}) * pool.clusterBytes;
  if (copiedBytes > roomBytes) {
    throw new StorageError(
      'pool/full',
      `${formatSize(copiedBytes)} are read from ${record.uri}, but pool ${pool.name} has room for ${formatSize(roomBytes)}`,
      { actions: [`varve disk add ${pool.name} DISK-URI`, 'delete volumes or snapshots'] },
    );
  }
  const there = new Set(layersOfAdopted(pool, record.number).map(({ id }) => id));
  return { copiedBytes, roomBytes, volumes: readersOf(pool, there) };
}

/**
 * Afterwards the pool does not need the disk any more.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; pool/damaged something there belongs to nobody; what `before` throws. What was
 *   copied stays so
 */
export async function absorb(
  context: AbsorbContext,
  disk: number,
  watch: MovementWatch,
  beforeLettingGo: BeforeLettingGo = async () => {},
): Promise<void> {
  const { pool, volumes } = context;
  const uri = pool.foreignDisks.find(({ record }) => record.number === disk)?.record.uri ?? '';
  const totalBytes = leftBytes(pool, disk);
  const onMoved = () => {
    watch.report(Math.max(0, totalBytes - leftBytes(pool, disk)), totalBytes);
  };
  const movement = {
    layers: () => aliveOf(pool, disk),
    isWanted: (number: number) => number === disk,
    targetsOf: (layer: number) => placementTargets(pool, layer),
  };
  while (pool.isForeign(disk)) {
    const before = pool.foreignUsedCount(disk);
    await watch.before(0);
    await moveAll(context, movement, { before: watch.before, onMoved });
    if (pool.foreignUsedCount(disk) === 0) {
      for (const { id } of layersOfAdopted(pool, disk)) await beforeLettingGo(pool, id);
    }
    await detach(context, disk);
    await volumes.reaped(pool);
    const left = pool.foreignUsedCount(disk);
    if (left > 0 && left >= before) await expectNoneOwnerless(pool, disk, uri);
    if (pool.isForeign(disk)) await setTimeout(settleMs);
  }
  watch.report(totalBytes, totalBytes);
}

function leftBytes(pool: Pool, disk: number): number {
  return pool.foreignUsedCount(disk) * pool.clusterBytes;
}

/** What is not alive gives up what it has there by itself. */
function aliveOf(pool: Pool, disk: number): number[] {
  const tree = LayerTree.of(pool);
  return layersOfAdopted(pool, disk)
    .map(({ id }) => id)
    .filter((layer) => tree.isAlive(layer));
}

/** The layer may become one with others, and nothing keeps the disk. */
async function detach({ pool, volumes }: AbsorbContext, disk: number): Promise<void> {
  await volumes.exclusively(pool, async () => {
    if (pool.foreignUsedCount(disk) > 0) return;
    const layers = layersOfAdopted(pool, disk);
    if (layers.length === 0) return;
    await pool.commit(layers.map(({ foreign: _, ...layer }) => layerOp(layer)));
  });
  volumes.structureChanged(pool);
}

function unreadable({ isAbsent }: OpenForeignDisk, problem: string): StorageError {
  const restart = isAbsent ? ', restart the service' : '';
  return new StorageError('disk/unusable', `${problem}; it cannot be absorbed`, {
    actions: [`put it back as it was when it was adopted${restart}, then repeat`],
  });
}
