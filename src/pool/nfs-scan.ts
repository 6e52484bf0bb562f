/**
 * Looking for disks on an NFS server: its exports, or the files of a folder with what each holds. Reads only.
 *
 * Both are asked for by NFS 3 and its mount service; the files are then read by the version the address names.
 */
import { posix } from 'node:path';
import { messageOf, StorageError } from '../base/errors.ts';
import type { DataPlane, NfsEntry } from '../dataplane/data-plane.ts';
import { contentOf, probeUri } from './backing.ts';
import type { FoundDisk } from './disk-scan.ts';
import { nfsSpec } from './disk-spec.ts';
import { networkRemedies } from './network-remedies.ts';
import { formatNfsPlace, type NfsPlace, parseNfsPlace, parseNfsUri } from './nfs-uri.ts';

export type NfsScanner = Pick<DataPlane, 'openDisk' | 'listNfsExports' | 'listNfsFolder'>;

/**
 * @param address `nfs://host` for the exports, `nfs://host/folder` for what is in it; ports as in a disk's URI
 * @throws StorageError request/invalid; disk/unusable the server does not answer, or not this
 */
export async function scanNfs(plane: NfsScanner, address: string): Promise<FoundDisk[]> {
  const place = parseNfsPlace(address);
  const isServer = place.remotePath === '/';
  const entries = await listPlace(plane, place, isServer);
  const found: FoundDisk[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const remotePath = posix.join(place.remotePath, entry.name);
    const kind = isServer ? 'an export' : 'a folder';
    if (entry.isFolder) found.push(folder({ ...place, remotePath }, kind));
    else found.push(await describeFile(plane, { ...place, remotePath }, entry));
  }
  return found;
}

async function listPlace(
  plane: NfsScanner,
  place: NfsPlace,
  isServer: boolean,
): Promise<NfsEntry[]> {
  const spec = nfsSpec(place);
  try {
    return await (isServer ? plane.listNfsExports(spec) : plane.listNfsFolder(spec));
  } catch (cause) {
    const text = `cannot scan ${formatNfsPlace(place)}: ${messageOf(cause)}`;
    throw new StorageError('disk/unusable', text, { cause, ...networkRemedies('nfs', cause) });
  }
}

/** Not a disk, but where there may be some. */
function folder(place: NfsPlace, kind: string): FoundDisk {
  const uri = formatNfsPlace(place);
  return {
    uri,
    sizeBytes: 0,
    thin: false,
    model: '',
    holds: `${kind}, to be scanned`,
    problem: null,
  };
}

async function describeFile(
  plane: NfsScanner,
  place: NfsPlace,
  { sizeBytes }: NfsEntry,
): Promise<FoundDisk> {
  const uri = formatNfsPlace(place);
  const disk = { uri, sizeBytes, thin: false, model: '' };
  try {
    const holds = contentOf(await probeUri(plane, parseNfsUri(uri))) ?? null;
    return { ...disk, holds, problem: sizeBytes === 0 ? 'it is empty' : null };
  } catch (error) {
    return { ...disk, holds: null, problem: messageOf(error) };
  }
}
