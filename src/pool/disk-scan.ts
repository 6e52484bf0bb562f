/**
 * Looking for disks: what a server offers, and what each disk of it holds. Reads only, so that a disk of another host is not disturbed.
 */
import { hostname } from 'node:os';
import { messageOf, StorageError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import type { FoundLun, FoundTarget } from '../dataplane/binding.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { contentOf, probeUri } from './backing.ts';
import { initiatorName } from './disk-spec.ts';
import { parseDiskUri } from './disk-uri.ts';
import { type IscsiPortal, parsePortal } from './iscsi-uri.ts';
import { networkRemedies } from './network-remedies.ts';
import { type NfsScanner, scanNfs } from './nfs-scan.ts';
import { invalidUri, redactedUri } from './uri-parts.ts';

/** A disk that could be added, or why it could not. */
export interface FoundDisk {
  /** What to add it by. */
  readonly uri: string;
  readonly sizeBytes: number;
  readonly thin: boolean;
  /** Vendor and product, as far as it tells. */
  readonly model: string;
  /** "a disk of pool gold", "an XFS filesystem"; null when nothing known is there. */
  readonly holds: string | null;
  /** Why it cannot be used; null when it can. */
  readonly problem: string | null;
}

export type DiskScanner = IscsiScanner & NfsScanner;
type IscsiScanner = Pick<DataPlane, 'openDisk' | 'scanIscsi'>;

interface Place {
  readonly portal: IscsiPortal;
  readonly user?: string;
  readonly secret?: Secret;
}

/**
 * @param address `iscsi://[user%password@]host[:port]`; `nfs://host` or `nfs://host/folder` (nfs-scan.ts)
 * @throws StorageError request/invalid; disk/unusable the server does not answer
 */
export async function scanDisks(plane: DiskScanner, address: string): Promise<FoundDisk[]> {
  return /^nfs:/i.test(address) ? scanNfs(plane, address) : scanIscsi(plane, address);
}

async function scanIscsi(plane: IscsiScanner, address: string): Promise<FoundDisk[]> {
  const place = parseIscsiPlace(address);
  const targets = await askPortal(plane, address, place);
  const found: FoundDisk[] = [];
  for (const target of targets) {
    if (target.error !== 0) found.push(refused(place, target));
    for (const lun of target.luns) {
      const disk = await describeLun(plane, place, target, lun);
      if (disk !== null) found.push(disk);
    }
  }
  return found;
}

function parseIscsiPlace(text: string): Place {
  const match = /^iscsi:\/\/(?:([^%@/]+)(?:%(.*))?@)?([^@/?,]+)\/?$/is.exec(text);
  if (match === null) throw invalidUri(text, 'a scan is of iscsi://[user%password@]host[:port]');
  const [, user, secret, host = ''] = match;
  return {
    portal: parsePortal(text, host),
    ...(user === undefined ? {} : { user }),
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
  };
}

async function askPortal(
  plane: IscsiScanner,
  address: string,
  { portal, user, secret }: Place,
): Promise<readonly FoundTarget[]> {
  try {
    return await plane.scanIscsi({
      portals: [portal],
      target: '',
      lun: 0,
      initiator: initiatorName(hostname()),
      ...(user === undefined ? {} : { user }),
      ...(secret === undefined ? {} : { secret: secret.reveal() }),
    });
  } catch (cause) {
    const text = `cannot scan ${redactedUri(address)}: ${messageOf(cause)}`;
    throw new StorageError('disk/unusable', text, { cause, ...networkRemedies('iscsi', cause) });
  }
}

function uriOf({ portal, user }: Place, target: string, lun: number): string {
  const login = user === undefined ? '' : `${user}@`;
  return parseDiskUri(`iscsi://${login}${portal.host}:${portal.port}/${target}/${lun}`).normalized;
}

function refused(place: Place, { target, message }: FoundTarget): FoundDisk {
  const uri = uriOf(place, target, 0);
  return { uri, sizeBytes: 0, thin: false, model: '', holds: null, problem: message };
}

/** Linux's ENOTBLK: a controller, a tape, … */
const noDisk = 15;

async function describeLun(
  plane: IscsiScanner,
  place: Place,
  { target }: FoundTarget,
  lun: FoundLun,
): Promise<FoundDisk | null> {
  if (lun.error === noDisk) return null;
  const uri = uriOf(place, target, lun.lun);
  const { sizeBytes, thin } = lun;
  const disk = { uri, sizeBytes, thin, model: `${lun.vendor} ${lun.product}`.trim() };
  if (lun.error !== 0) return { ...disk, holds: null, problem: lun.message };
  const problem = lun.readOnly ? 'it is write-protected' : null;
  try {
    const holds = contentOf(await probeUri(plane, withLogin(uri, place))) ?? null;
    return { ...disk, holds, problem };
  } catch (error) {
    return { ...disk, holds: null, problem: messageOf(error) };
  }
}

function withLogin(uri: string, { secret }: Place) {
  const parsed = parseDiskUri(uri);
  return secret === undefined ? parsed : { ...parsed, secret };
}
