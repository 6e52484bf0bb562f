/**
 * Probing network disks: what probe.ts says of local ones, read through the data plane. Read-only; the disk may be another's.
 */
import { constants } from 'node:os';
import { messageOf, StorageError } from '../base/errors.ts';
import { type DataPlane, DataPlaneError, type DiskPlane } from '../dataplane/data-plane.ts';
import type { DiskLocation } from './disk-set.ts';
import { diskSpec } from './disk-spec.ts';
import { networkRemedies } from './network-remedies.ts';
import { type ProbeResult, readContent, withoutContent } from './probe.ts';

export type DiskOpener = Pick<DataPlane, 'openDisk'>;

/**
 * Says what a network disk is and carries; `missing` when the server answers that there is no such file.
 *
 * @throws StorageError disk/unusable it cannot be reached or read; the actions say what helps
 */
export async function probeNetworkDisk(
  dataPlane: DiskOpener,
  location: DiskLocation,
): Promise<ProbeResult> {
  try {
    const plane = await dataPlane.openDisk(diskSpec(location, { readOnly: true }));
    try {
      return await probeContent(plane, location);
    } finally {
      await plane.close();
    }
  } catch (cause) {
    if (isMissing(location, cause)) return withoutContent(location.path, 'missing');
    throw unusable(location, cause);
  }
}

async function probeContent(plane: DiskPlane, location: DiskLocation): Promise<ProbeResult> {
  const { sizeBytes } = plane;
  const content = await readContent(sizeBytes, (offset, length) => plane.read(offset, length));
  return {
    path: location.path,
    kind: location.kind === 'nfs' ? 'nfs' : 'iscsi',
    sizeBytes,
    identity: plane.identity,
    // Opening it for writing, which comes next, says so.
    writable: true,
    ...content,
  };
}

function isMissing({ kind }: DiskLocation, cause: unknown): boolean {
  const { ENOENT } = constants.errno;
  return kind === 'nfs' && cause instanceof DataPlaneError && cause.errno === ENOENT;
}

function unusable({ uri, kind }: DiskLocation, cause: unknown): StorageError {
  const text = `cannot use ${uri}: ${messageOf(cause)}`;
  return new StorageError('disk/unusable', text, { cause, ...networkRemedies(kind, cause) });
}
