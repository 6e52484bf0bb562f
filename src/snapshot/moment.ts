/**
 * A volume as it is at one moment, to be read for as long as some work takes: by a snapshot there is, or by one made for the work.
 *
 * What was made for the work goes with it, but stays when the service stops: then the work goes on after the restart, with the same moment. What could
 * not be deleted when the work failed, because the pool had, goes with the next start.
 */
import { StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { Pool } from '../pool/pool.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import type { SnapshotService } from './snapshot-service.ts';

/** In values that are remembered over a restart. */
export type Moment = {
  readonly volume: string;
  readonly snapshot: string;
  /** The snapshot was made for this, and goes with it. */
  readonly own: boolean;
  /** All that was to be done with it is done. */
  readonly finished?: boolean;
};

/** How the work is told of, and remembered. */
export interface MomentUse {
  /** Of a snapshot that is made for it. */
  readonly note: string;
  /** Adds to the moment when the work goes on after a restart. */
  readonly remember: (parameters: { readonly finished: true }) => void;
}

export interface MomentServices {
  readonly volumes: VolumeService;
  readonly snapshots: SnapshotService;
}

interface SnapshotsOnly {
  readonly snapshots: Pick<SnapshotService, 'list' | 'delete'>;
}

/** What is read, and whose it is. */
export interface MomentSource {
  readonly pool: Pool;
  readonly plane: VolumePlane;
  readonly sizeBytes: number;
}

/** What is to be read: a snapshot, or the volume as it will be when the work begins. */
export interface MomentName {
  readonly volume: string;
  readonly snapshot?: string;
}

/**
 * @param purpose begins the name of a snapshot that has to be made
 * @throws StorageError volume/not-found, snapshot/not-found, pool/read-only
 */
export function planMoment(
  { volumes, snapshots }: MomentServices,
  { volume, snapshot }: MomentName,
  purpose: string,
): { moment: Moment; sizeBytes: number } {
  const found = volumes.find(volume);
  if (snapshot === undefined) {
    found.pool.expectWritable();
    const name = `${purpose}-${newUuid().slice(0, 8)}`;
    const { sizeBytes } = found.record;
    return { moment: { volume, snapshot: name, own: true }, sizeBytes };
  }
  const { kind, sizeBytes } = snapshots.get(volume, snapshot);
  if (kind === 'bookmark') {
    throw new StorageError('snapshot/not-found', `${volume}@${snapshot} has no data any more`);
  }
  return { moment: { volume, snapshot, own: false }, sizeBytes };
}

/**
 * Begun again after a restart it reads the same, or nothing when the work was done by then.
 *
 * @throws StorageError volume/not-found, snapshot/not-found, pool/failed; what `work` throws
 */
export async function readingMoment(
  services: MomentServices,
  moment: Moment,
  { note, remember }: MomentUse,
  work: (source: MomentSource) => Promise<void>,
): Promise<void> {
  const { snapshots } = services;
  const { volume, snapshot, own, finished = false } = moment;
  try {
    if (own && !finished && !isThere(services, moment)) {
      const origin = 'operation';
      await snapshots.create({ names: [{ volume, snapshot }], note, origin });
    }
    if (!finished) await readSnapshot(services, moment, work);
    // Before the snapshot goes: another one would show something else.
    remember({ finished: true });
  } catch (error) {
    if (!isStopping(error)) await dropOwnIfPossible(services, moment);
    throw error;
  }
  try {
    await dropOwn(services, moment);
  } catch (error) {
    // Somebody else reads it too; the work is done, and the next start drops it.
    if (!(error instanceof StorageError && error.code === 'snapshot/busy')) throw error;
  }
}

/** Deletes what was made for works that have ended, where that can be done. */
export async function dropAbandonedMoments(
  { snapshots }: SnapshotsOnly,
  isUsed: (moment: { readonly volume: string; readonly snapshot: string }) => boolean,
): Promise<void> {
  const own = snapshots.list().filter(({ origin }) => origin === 'operation');
  for (const { volume, name: snapshot } of own) {
    const moment = { volume, snapshot, own: true };
    if (!isUsed(moment)) await dropOwnIfPossible({ snapshots }, moment);
  }
}

async function readSnapshot(
  { volumes, snapshots }: MomentServices,
  { volume, snapshot }: Moment,
  work: (source: MomentSource) => Promise<void>,
): Promise<void> {
  const { id, sizeBytes } = snapshots.get(volume, snapshot);
  const { pool } = volumes.find(volume);
  const { plane, close } = await snapshots.open(pool.name, id);
  try {
    await work({ pool, plane, sizeBytes });
  } finally {
    await close();
  }
}

function isThere({ snapshots }: SnapshotsOnly, { volume, snapshot }: Moment): boolean {
  return snapshots.list(volume).some(({ name }) => name === snapshot);
}

async function dropOwn(services: SnapshotsOnly, moment: Moment): Promise<void> {
  const { volume, snapshot, own } = moment;
  if (own && isThere(services, moment)) await services.snapshots.delete([{ volume, snapshot }]);
}

async function dropOwnIfPossible(services: SnapshotsOnly, moment: Moment): Promise<void> {
  try {
    await dropOwn(services, moment);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** The work goes on after the restart. */
export function isStopping(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'service/stopping';
}
