/**
 * `nfs://host/export/path/file?size=100GiB&version=4&nfsport=2049&mountport=20048`. Pure.
 */
import { posix } from 'node:path';
import { parseSize } from '../base/size.ts';
import {
  escapedPath,
  invalidUri,
  parseHost,
  parseParameters,
  parsePort,
  unescapedPath,
} from './uri-parts.ts';

/** A server, how it is spoken to, and a path on it: of a file, or for a scan of a folder or nothing (`/`). */
export interface NfsPlace {
  /** Lower case; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly remotePath: string;
  readonly version: 3 | 4;
  /** Absent: 2049. */
  readonly nfsPort?: number;
  /** Of mountd, v3 only. Absent: asked of the server's rpcbind. */
  readonly mountPort?: number;
}

export interface NfsDiskUri extends NfsPlace {
  readonly kind: 'nfs';
  /** As `normalized`: there is no path on this host. */
  readonly path: string;
  /** Of the file to be created if there is none. */
  readonly sizeBytes?: number;
  /** In one way only, without the size. */
  readonly normalized: string;
}

const parameterNames = ['size', 'version', 'nfsport', 'mountport'];

function parseVersion(text: string, written: string | undefined): 3 | 4 {
  if (written === undefined || written === '3') return 3;
  if (written === '4') return 4;
  throw invalidUri(text, 'version is 3 or 4');
}

function parseRemotePath(text: string, written: string): string {
  const path = unescapedPath(text, written);
  if (path.includes('\0')) throw invalidUri(text, 'the path contains a zero byte');
  return posix.normalize(path === '' ? '/' : path);
}

function parsePorts(
  text: string,
  parameters: ReadonlyMap<string, string>,
): Pick<NfsPlace, 'nfsPort' | 'mountPort'> {
  const nfs = parameters.get('nfsport');
  const mount = parameters.get('mountport');
  return {
    ...(nfs === undefined ? {} : { nfsPort: parsePort(text, 'nfsport', nfs) }),
    ...(mount === undefined ? {} : { mountPort: parsePort(text, 'mountport', mount) }),
  };
}

function parse(text: string): { place: NfsPlace; parameters: ReadonlyMap<string, string> } {
  const match = /^nfs:\/\/([^/?]*)([^?]*)(?:\?(.*))?$/is.exec(text);
  if (match === null) throw invalidUri(text, 'an NFS disk is nfs://host/export/path/file');
  const [, host = '', path = '', query = ''] = match;
  if (/^[^[]*:\d*$/.test(host)) throw invalidUri(text, 'name the port as ?nfsport=');
  const parameters = parseParameters(text, query, parameterNames);
  const place = {
    host: parseHost(text, host),
    remotePath: parseRemotePath(text, path),
    version: parseVersion(text, parameters.get('version')),
    ...parsePorts(text, parameters),
  };
  return { place, parameters };
}

/** The same place always in the same words. */
export function formatNfsPlace(place: NfsPlace): string {
  const { host, remotePath, version, nfsPort, mountPort } = place;
  const query = new URLSearchParams({
    ...(version === 3 ? {} : { version: String(version) }),
    ...(nfsPort === undefined ? {} : { nfsport: String(nfsPort) }),
    ...(mountPort === undefined ? {} : { mountport: String(mountPort) }),
  }).toString();
  return `nfs://${host}${escapedPath(remotePath)}${query === '' ? '' : `?${query}`}`;
}

/** @throws StorageError request/invalid */
export function parseNfsUri(text: string): NfsDiskUri {
  const { place, parameters } = parse(text);
  if (place.remotePath.endsWith('/')) throw invalidUri(text, 'the path of a file is missing');
  const size = parameters.get('size');
  const normalized = formatNfsPlace(place);
  return {
    kind: 'nfs',
    ...place,
    path: normalized,
    normalized,
    ...(size === undefined ? {} : { sizeBytes: parseSize(size) }),
  };
}

/** What is to be scanned: a server, or a folder on it. @throws StorageError request/invalid */
export function parseNfsPlace(text: string): NfsPlace {
  const { place, parameters } = parse(text);
  if (parameters.has('size')) throw invalidUri(text, 'a scan takes no size');
  return place;
}
