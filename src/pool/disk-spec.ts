/**
 * A disk's location in the words of the data plane: what `openDisk` needs. Pure.
 */
import { hostname } from 'node:os';
import type { Secret } from '../base/secret.ts';
import type { DiskSpec, IscsiSpec, NfsSpec } from '../dataplane/binding.ts';
import type { DiskLocation } from './disk-set.ts';
import { parseDiskUri } from './disk-uri.ts';
import type { IscsiDiskUri } from './iscsi-uri.ts';
import type { NfsPlace } from './nfs-uri.ts';

/** How this host names itself to iSCSI targets; the one to be let in where a target asks for names. */
export function initiatorName(host: string): string {
  return `iqn.2026-01.dev.varve:${host.toLowerCase().replace(/[^a-z0-9.-]/g, '-')}`;
}

function iscsiSpec(uri: IscsiDiskUri, secret: Secret | undefined): IscsiSpec {
  const { portals, target, lun, user } = uri;
  return {
    portals,
    target,
    lun,
    initiator: initiatorName(hostname()),
    ...(user === undefined ? {} : { user }),
    ...(secret === undefined ? {} : { secret: secret.reveal() }),
  };
}

export function nfsSpec(place: NfsPlace): NfsSpec {
  const { host, remotePath: path, version, nfsPort = 0, mountPort = 0 } = place;
  return { host, path, version, nfsPort, mountPort };
}

/** @param access `readOnly` without `alone`: to look at the disk only, it may be another's */
export function diskSpec(
  location: DiskLocation,
  access: Pick<DiskSpec, 'readOnly' | 'alone'> = {},
): DiskSpec {
  if (location.kind === 'file' || location.kind === 'block') {
    return { kind: 'file', path: location.path, ...access };
  }
  const uri = parseDiskUri(location.uri);
  if (uri.kind === 'nfs') return { kind: 'nfs', nfs: nfsSpec(uri), ...access };
  if (uri.kind !== 'iscsi') throw new Error(`${location.uri} is no ${location.kind} disk`);
  return { kind: 'iscsi', iscsi: iscsiSpec(uri, location.secret), ...access };
}
