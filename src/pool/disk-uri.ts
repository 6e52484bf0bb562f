/**
 * Disk URIs, as operators name backing disks (cli.md section 2): `/path`, `file:/path?size=100GiB`, `block:/dev/sdb`, `nfs://…`
 * (nfs-uri.ts), `iscsi://…` (iscsi-uri.ts).
 *
 * Pure: whether the disk exists, and as what, is probe.ts's to say.
 */
import { posix } from 'node:path';
import { parseSize } from '../base/size.ts';
import { type IscsiDiskUri, parseIscsiUri } from './iscsi-uri.ts';
import { type NfsDiskUri, parseNfsUri } from './nfs-uri.ts';
import {
  escapedPath,
  expectWholeText,
  invalidUri,
  parseParameters,
  unescapedPath,
} from './uri-parts.ts';

/** A file or a block device of this host. */
export interface LocalDiskUri {
  /** `any`: a bare path, file or block device. */
  readonly kind: 'any' | 'file' | 'block';
  /** Absolute, without `.` and `..`. */
  readonly path: string;
  /** Of the file to be created if there is none; only for `any` and `file`. */
  readonly sizeBytes?: number;
  /** The URI with the path normalized and without the size: names the same disk at the next start. */
  readonly normalized: string;
}

export type NetworkDiskUri = NfsDiskUri | IscsiDiskUri;
export type DiskUri = LocalDiskUri | NetworkDiskUri;

export function isNetworkUri(uri: DiskUri): uri is NetworkDiskUri {
  return uri.kind === 'nfs' || uri.kind === 'iscsi';
}

function splitScheme(text: string): { scheme: string; rest: string } {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text);
  if (match === null) return { scheme: 'any', rest: text };
  return { scheme: (match[1] as string).toLowerCase(), rest: match[2] as string };
}

function parsePath(text: string, written: string): string {
  const path = written.startsWith('///') ? written.slice(2) : written;
  if (!path.startsWith('/') || path.startsWith('//'))
    throw invalidUri(text, 'the path must be absolute');
  if (path.includes('\0')) throw invalidUri(text, 'the path contains a zero byte');
  return posix.normalize(path);
}

function parseLocalSize(
  text: string,
  query: string,
  kind: LocalDiskUri['kind'],
): number | undefined {
  const size = parseParameters(text, query, ['size']).get('size');
  if (size === undefined) return undefined;
  if (kind === 'block') throw invalidUri(text, 'a block device has the size it has');
  return parseSize(size);
}

function normalize(kind: LocalDiskUri['kind'], path: string): string {
  return kind === 'any' ? path : `${kind}:${escapedPath(path)}`;
}

function parseLocalUri(text: string, kind: LocalDiskUri['kind'], rest: string): LocalDiskUri {
  const mark = rest.indexOf('?');
  const written = mark < 0 ? rest : rest.slice(0, mark);
  // A bare path is taken as it stands but for `?size=`; in `file:` and `block:` percent signs escape, as in any URI.
  const path = parsePath(text, kind === 'any' ? written : unescapedPath(text, written));
  const sizeBytes = parseLocalSize(text, mark < 0 ? '' : rest.slice(mark + 1), kind);
  const normalized = normalize(kind, path);
  return sizeBytes === undefined
    ? { kind, path, normalized }
    : { kind, path, sizeBytes, normalized };
}

/** @throws StorageError request/invalid malformed, unknown scheme or parameter */
export function parseDiskUri(text: string): DiskUri {
  expectWholeText(text);
  const { scheme, rest } = splitScheme(text);
  switch (scheme) {
    case 'any':
    case 'file':
    case 'block':
      return parseLocalUri(text, scheme, rest);
    case 'nfs':
      return parseNfsUri(text);
    case 'iscsi':
      return parseIscsiUri(text);
    default:
      throw invalidUri(text, `unknown scheme "${scheme}:"`);
  }
}
