/**
 * Thick provisioning: every cluster of a volume gets its place before the volume is used.
 */
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { clustersFor, MiB } from '../base/units.ts';
import { DataPlaneError, type VolumePlane } from '../dataplane/data-plane.ts';
import type { Pool } from '../pool/pool.ts';
import type { ReportProgress } from '../pool/types.ts';

/** Between two looks at the signal and two reports. */
const stepBytes = 64 * MiB;
const ENOSPC = 28;

/** @throws StorageError pool/full the pool has no room for that many more bytes */
export function expectRoom(pool: Pool, missingBytes: number): void {
  const { clusterBytes, freeBytes } = pool;
  const needed = clustersFor(missingBytes, clusterBytes) * clusterBytes;
  if (needed <= freeBytes) return;
  throw poolFull(
    pool,
    `${formatSize(needed)} are needed, ${formatSize(Math.max(1, freeBytes))} are free`,
  );
}

/**
 * Gives every cluster of [from, to) a place; reads stay zero. What has one keeps it.
 *
 * @throws StorageError pool/full, pool/failed, disk/io; the signal's reason, or op/state, when it aborts: what was provisioned so
 *   far stays
 */
export async function provision(
  pool: Pool,
  plane: VolumePlane,
  range: { readonly from: number; readonly to: number },
  report: ReportProgress,
  signal?: AbortSignal,
): Promise<void> {
  const total = range.to - range.from;
  for (let at = range.from; at < range.to; at += stepBytes) {
    if (signal?.aborted) throw abortReason(signal);
    const length = Math.min(stepBytes, range.to - at);
    await explained(pool, () => plane.provision(at, length));
    report(Math.min(at + stepBytes, range.to) - range.from, total);
  }
  await explained(pool, () => plane.flush());
}

/** Why an aborted work ends. */
export function abortReason(signal: AbortSignal): StorageError {
  const reason: unknown = signal.reason;
  return reason instanceof StorageError ? reason : new StorageError('op/state', 'cancelled');
}

/** Runs an operation of the data plane on a volume; its errors are told in the words of the pool. */
async function explained(pool: Pool, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof DataPlaneError)) throw error;
    if (error.errno === ENOSPC) throw poolFull(pool, 'others took the space meanwhile');
    pool.expectOnline();
    throw new StorageError('disk/io', `pool ${pool.name}: ${error.message}`, { cause: error });
  }
}

function poolFull(pool: Pool, why: string): StorageError {
  return new StorageError('pool/full', `pool ${pool.name} has no room: ${why}`, {
    actions: [`varve disk add ${pool.name} DISK-URI`, 'create the volume without --thick'],
  });
}
