/**
 * Disk URIs, as operators name backing disks (cli.md section 2): `/path`, `file:/path?size=100GiB`, `block:/dev/sdb`.
 *
 * Pure: whether the path exists, and as what, is probe.ts's to say.
 */
import { posix } from 'node:path';
import { StorageError } from '../base/errors.ts';
import { parseSize } from '../base/size.ts';

export interface DiskUri {
  /** `any`: a bare path, file or block device. */
  readonly kind: 'any' | 'file' | 'block';
  /** Absolute, without `.` and `..`. */
  readonly path: string;
  /** Of the file to be created if there is none; only for `any` and `file`. */
  readonly sizeBytes?: number;
  /** The URI with the path normalized and without the size: names the same disk at the next start. */
  readonly normalized: string;
}

const networkSchemes = new Set(['nfs', 'iscsi']);

function invalid(text: string, why: string): StorageError {
  return new StorageError('request/invalid', `disk "${text}": ${why}`, {
    actions: ['name a disk as /path, file:/path?size=100GiB or block:/dev/sdb'],
  });
}

function splitScheme(text: string): { scheme: string; rest: string } {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text);
  if (match === null) return { scheme: 'any', rest: text };
  return { scheme: (match[1] as string).toLowerCase(), rest: match[2] as string };
}

function parseKind(text: string, scheme: string): DiskUri['kind'] {
  if (scheme === 'any' || scheme === 'file' || scheme === 'block') return scheme;
  if (networkSchemes.has(scheme)) {
    throw new StorageError(
      'disk/unusable',
      `disk "${text}": ${scheme}:// disks come with a later version`,
      { actions: ['mount or attach it on this host and name the file or the block device'] },
    );
  }
  throw invalid(text, `unknown scheme "${scheme}:"`);
}

function parsePath(text: string, written: string): string {
  const path = written.startsWith('///') ? written.slice(2) : written;
  if (!path.startsWith('/') || path.startsWith('//'))
    throw invalid(text, 'the path must be absolute');
  if (path.includes('\0')) throw invalid(text, 'the path contains a zero byte');
  return posix.normalize(path);
}

function parseParameters(text: string, query: string, kind: DiskUri['kind']): number | undefined {
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (name !== 'size') throw invalid(text, `unknown parameter "${name}"`);
  }
  const sizes = parameters.getAll('size');
  if (sizes.length > 1) throw invalid(text, 'size is given twice');
  const [size] = sizes;
  if (size === undefined) return undefined;
  if (kind === 'block') throw invalid(text, 'a block device has the size it has');
  return parseSize(size);
}

/** A bare path is taken as it stands but for `?size=`; in `file:` and `block:` percent signs escape, as in any URI. */
function unescaped(text: string, kind: DiskUri['kind'], path: string): string {
  if (kind === 'any') return path;
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalid(text, 'malformed percent escape');
  }
}

function normalize(kind: DiskUri['kind'], path: string): string {
  if (kind === 'any') return path;
  return `${kind}:${path.split('/').map(encodeURIComponent).join('/')}`;
}

/**
 * @throws StorageError request/invalid malformed, unknown scheme or parameter
 * @throws StorageError disk/unusable a scheme that comes with a later version
 */
export function parseDiskUri(text: string): DiskUri {
  const { scheme, rest } = splitScheme(text);
  const kind = parseKind(text, scheme);
  const mark = rest.indexOf('?');
  const written = mark < 0 ? rest : rest.slice(0, mark);
  const path = parsePath(text, unescaped(text, kind, written));
  const sizeBytes = parseParameters(text, mark < 0 ? '' : rest.slice(mark + 1), kind);
  const normalized = normalize(kind, path);
  return sizeBytes === undefined
    ? { kind, path, normalized }
    : { kind, path, sizeBytes, normalized };
}
