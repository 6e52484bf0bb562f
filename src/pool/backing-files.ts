/**
 * Files that are made for a pool, sparse, here or on an NFS server, and unmade when something fails.
 */
import { constants, open, rm } from 'node:fs/promises';
import { messageOf, StorageError } from '../base/errors.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { BackingPlan } from './backing.ts';
import { nfsSpec } from './disk-spec.ts';
import { networkRemedies } from './network-remedies.ts';
import { parseNfsUri } from './nfs-uri.ts';

export type FileMaker = Pick<DataPlane, 'createNfsFile' | 'removeNfsFile'>;

/** Creates the files that are not there, sparse. @throws StorageError disk/unusable; none of them is left then */
export async function createFiles(
  dataPlane: FileMaker,
  plans: readonly BackingPlan[],
): Promise<void> {
  const created: BackingPlan[] = [];
  try {
    for (const plan of plans.filter(({ create }) => create)) {
      await createSparse(dataPlane, plan, () => created.push(plan));
    }
  } catch (error) {
    await removeFiles(dataPlane, created);
    throw error;
  }
}

/** Undoes `createFiles`. */
export async function removeFiles(
  dataPlane: FileMaker,
  plans: readonly BackingPlan[],
): Promise<void> {
  for (const { location } of plans.filter(({ create }) => create)) {
    if (location.kind === 'nfs') await dataPlane.removeNfsFile(nfsSpec(parseNfsUri(location.uri)));
    else await rm(location.path, { force: true });
  }
}

async function createSparse(
  dataPlane: FileMaker,
  plan: BackingPlan,
  onCreated: () => void,
): Promise<void> {
  const { location, sizeBytes } = plan;
  try {
    if (location.kind !== 'nfs') return await createLocal(location.path, sizeBytes, onCreated);
    await dataPlane.createNfsFile(nfsSpec(parseNfsUri(location.uri)), sizeBytes);
    onCreated();
  } catch (cause) {
    const text = `disk ${location.uri} cannot be created: ${messageOf(cause)}`;
    throw new StorageError('disk/unusable', text, {
      cause,
      ...networkRemedies(location.kind, cause),
    });
  }
}

async function createLocal(path: string, sizeBytes: number, onCreated: () => void): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    // One that is empty may be what an attempt left that was cut off before its size was set.
    if ((await file.stat()).size > 0) throw new Error('it is there meanwhile');
    onCreated();
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}
