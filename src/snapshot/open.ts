/**
 * Opening snapshots in the data plane, for exports: to be read, or with a head of their own that nobody keeps (scratch).
 */
import { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import { chainOf } from '../volume/chain.ts';
import { isLeaving } from '../volume/moves.ts';
import { deleteVolumeOp, volumeRecords } from '../volume/records.ts';
import { type OpenVolume, openVolume } from '../volume/volume-service.ts';
import type { FoundSnapshot } from './catalog.ts';
import { addHead } from './clone.ts';
import type { SnapshotContext } from './context.ts';
import { expectLayersLeft } from './limits.ts';
import { snapshotById } from './records.ts';
import type { SnapshotRecord } from './types.ts';

export type OpenSnapshot = Pick<OpenVolume, 'plane' | 'close'>;

/** How a snapshot is known among what is open of its pool. */
export function snapshotKey(id: number): string {
  return `s${id}`;
}

/**
 * A page table outlives the name of what it shows: its layer would become one with others, and whoever reads see what is written to these.
 *
 * To be asked while the pool's openings are held, and no earlier than the batch that takes the name away.
 *
 * @param refused what cannot be done because of it
 * @throws StorageError snapshot/busy somebody has it open
 */
export function expectNotRead(pool: Pool, { id, name }: SnapshotRecord, refused: string): void {
  if (pool.usersOf(snapshotKey(id)) === 0) return;
  throw new StorageError('snapshot/busy', `${refused}: ${name} is being read`, {
    actions: [
      'varve op list   (a backup or an image that reads it can be waited for, or cancelled)',
    ],
  });
}

/** Opens a snapshot to be read. @throws StorageError snapshot/not-found it was deleted meanwhile */
export async function openSnapshot({ pool, record }: FoundSnapshot): Promise<OpenSnapshot> {
  const key = snapshotKey(record.id);
  const plane = await pool.openVolume({
    key,
    chain: () => chainOf(pool, snapshotById(pool, record.id)?.layer),
    writable: false,
    copyOnWrite: false,
    sizeBytes: record.sizeBytes,
    target: {},
  });
  const isGone = snapshotById(pool, record.id) === undefined;
  if (isGone || isLeaving(pool, record.volume)) {
    await pool.closeVolume(key);
    const where = isGone ? 'was deleted' : 'went to another pool';
    throw new StorageError('snapshot/not-found', `snapshot ${record.name} ${where} meanwhile`);
  }
  let closed: Promise<void> | undefined;
  return {
    plane,
    close: () => {
      closed ??= pool.closeVolume(key);
      return closed;
    },
  };
}

/**
 * A head of its own on a snapshot: what is written to it is gone when it is closed, or the service has died.
 *
 * @throws StorageError snapshot/limit, pool/failed
 */
export async function openScratch(
  context: SnapshotContext,
  { pool, record }: FoundSnapshot,
): Promise<OpenSnapshot> {
  const { volumes } = context;
  const scratch = await volumes.exclusively(pool, async () => {
    expectLayersLeft(pool, 1);
    return addHead(context, pool, record, { name: '', snapshotMode: 'row', scratch: true });
  });
  const opened = await openVolume({ pool, record: scratch });
  return {
    plane: opened.plane,
    close: async () => {
      await opened.close();
      await pool.commit([deleteVolumeOp(scratch.id)]);
      volumes.structureChanged(pool);
    },
  };
}

/** Scratch heads of a service that died go. */
export async function dropScratch(
  { volumes }: Pick<SnapshotContext, 'volumes'>,
  pool: Pool,
): Promise<void> {
  const left = volumeRecords(pool).filter(({ scratch }) => scratch === true);
  if (left.length === 0) return;
  await pool.commit(left.map(({ id }) => deleteVolumeOp(id)));
  volumes.structureChanged(pool);
}
