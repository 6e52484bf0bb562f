/**
 * What a move to another pool would do, and what forbids it; everything is checked before anything is changed.
 */
import { StorageError } from '../../base/errors.ts';
import { formatSize } from '../../base/size.ts';
import { expectAnswering } from '../../pool/disk-conditions.ts';
import { batchBytes } from '../../pool/format/batch.ts';
import type { Pool } from '../../pool/pool.ts';
import { snapshotOp } from '../../snapshot/records.ts';
import type { Family } from '../../volume/family.ts';
import { LayerTree } from '../../volume/layer-tree.ts';
import { fillingOf, layerOp, volumeOp } from '../../volume/records.ts';
import { incomingLayers, namesOf } from './arriving.ts';
import { LayerMap } from './layer-map.ts';
import type { MoveUnderWay, PoolMoveDependencies, PoolMovePlan } from './types.ts';
import { openWindow } from './window.ts';

/** @throws StorageError request/invalid, volume/busy, pool/failed, disk/io, pool/full, snapshot/limit */
export async function planMove(
  { exports }: Pick<PoolMoveDependencies, 'exports'>,
  underWay: MoveUnderWay,
): Promise<PoolMovePlan> {
  const { source, target, move } = underWay;
  const nothing = { copiedBytes: 0, roomBytes: 0, volumes: [], exports: [], changed: false };
  if (source === target) return nothing;
  await expectWorking(source);
  await expectWorking(target);
  expectSameClusters(source, target);
  const family = LayerTree.of(source).familyOf(move.volume);
  expectMovable(underWay, family);
  await source.flush();
  const copiedBytes = bytesToCopy(underWay, family);
  const roomBytes = target.roomOf({}) * target.clusterBytes;
  if (copiedBytes > roomBytes) {
    throw new StorageError(
      'pool/full',
      `${formatSize(copiedBytes)} are to be copied to pool ${target.name}, which has room for ${formatSize(roomBytes)}`,
      { actions: [`varve disk add ${target.name} DISK-URI`, 'nothing was moved'] },
    );
  }
  const volumes = namesOf(source, family)
    .volumes.map(({ name }) => name)
    .sort();
  const served = exports
    .list()
    .filter(
      ({ pool, volume }) => pool === source.name && volume !== null && volumes.includes(volume),
    )
    .map(({ name, clients }) => ({ name, clients }));
  return { copiedBytes, roomBytes, volumes, exports: served, changed: true };
}

/** What is in the target already, from an attempt that was cut off or a move that is undone, is not copied again. */
function bytesToCopy(underWay: MoveUnderWay, family: Family): number {
  const { source, target, move } = underWay;
  const tree = LayerTree.of(source);
  const map = new LayerMap(underWay);
  const isNeeded = (layer: number) => tree.isAlive(layer) && map.copyOf(layer)?.whole !== true;
  const clusters = [...family.layers]
    .filter(isNeeded)
    .reduce((sum, layer) => sum + source.clustersOf(layer), 0);
  // A layer that was being copied when it was cut off has some of its clusters there.
  const begun = incomingLayers(target, move.id)
    .filter(
      ({ id }) =>
        target.record<{ incoming?: { whole: boolean } }>(`layer/${id}`)?.incoming?.whole === false,
    )
    .reduce((sum, { id }) => sum + target.clustersOf(id), 0);
  return Math.max(0, clusters - begun) * source.clusterBytes;
}

/** A disk that is silent now would hold the guests up in the middle of the switch. @throws StorageError pool/failed, pool/read-only, disk/io */
async function expectWorking(pool: Pool): Promise<void> {
  pool.expectWritable();
  await expectAnswering(pool.disks, `nothing is moved from or to pool ${pool.name} now`);
}

/** @throws StorageError request/invalid a slot of one is no slot of the other */
function expectSameClusters(source: Pool, target: Pool): void {
  if (source.clusterBytes === target.clusterBytes) return;
  throw new StorageError(
    'request/invalid',
    `pool ${source.name} has clusters of ${formatSize(source.clusterBytes)}, pool ${target.name} of ${formatSize(target.clusterBytes)}: layers keep their clusters when they move`,
    {
      actions: [
        `make a pool with --cluster-size ${formatSize(source.clusterBytes).replace(' ', '')}`,
        'varve volume leave NAME DISK-URI, then adopt it there: without its snapshots',
      ],
    },
  );
}

/** @throws StorageError volume/busy, request/invalid, snapshot/limit */
function expectMovable({ source, target, move }: MoveUnderWay, family: Family): void {
  const tree = LayerTree.of(source);
  if ([...family.layers].some((layer) => tree.isForeign(layer))) {
    throw new StorageError(
      'request/invalid',
      'it still reads from the disk that it was adopted from, which is part of its pool',
      { actions: ['varve volume flatten NAME, and delete its snapshots of before; then move it'] },
    );
  }
  const names = namesOf(source, family);
  for (const { id, name, scratch } of names.volumes) {
    const why = scratch
      ? 'a scratch export of one of its snapshots is served: remove it first'
      : fillingOf(source, id) === undefined
        ? undefined
        : 'it is getting its space';
    if (why === undefined) continue;
    throw new StorageError('volume/busy', `volume ${name} cannot be moved: ${why}`);
  }
  expectNotKept(source, family, move.undoes);
  const bytes = batchBytes([
    ...names.volumes.map(volumeOp),
    ...names.snapshots.map(snapshotOp),
    ...[...family.layers].map((id) => layerOp({ id, parent: id })),
  ]);
  const most = Math.min(source.batchBytesMax, target.batchBytesMax);
  if (2 * bytes <= most) return;
  throw new StorageError(
    'snapshot/limit',
    `the names of ${names.snapshots.length} snapshots are more than what can switch pools in one moment`,
    { actions: ['delete snapshots that are not needed any more, then repeat'] },
  );
}

/** What another pool keeps of it would fit no longer. @throws StorageError volume/busy */
function expectNotKept(source: Pool, family: Family, undoes: string | undefined): void {
  const open = openWindow(source, family);
  if (open === undefined || open.id === undoes) return;
  throw new StorageError(
    'volume/busy',
    `it came from pool ${open.source.name}, which keeps what it had until ${open.until}`,
    {
      actions: [
        'varve volume move NAME --finish   (that move cannot be undone any more then)',
        'varve volume move NAME --undo',
      ],
    },
  );
}
