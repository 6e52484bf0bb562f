/**
 * What the kinds of disk URIs share: errors that name the URI, parameters, hosts and ports. Pure.
 */
import { StorageError } from '../base/errors.ts';
import { isWholeText } from '../base/text.ts';

const actions = [
  'name a disk as /path, file:/path?size=100GiB, block:/dev/sdb, nfs://host/export/path/file?size=100GiB or iscsi://host/iqn/lun',
];

/** The URI without the password of `iscsi://user%password@host/…`, for messages and plans. */
export function redactedUri(text: string): string {
  return text.replace(/^(iscsi:\/\/[^%@/]*)%.*@/i, '$1%…@');
}

/** @returns request/invalid; nothing secret of the URI is in it */
export function invalidUri(text: string, why: string): StorageError {
  return new StorageError('request/invalid', `disk "${redactedUri(text)}": ${why}`, { actions });
}

/** The parameters behind the `?`. @throws StorageError request/invalid one that is unknown, or given twice */
export function parseParameters(
  text: string,
  query: string,
  known: readonly string[],
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!known.includes(name)) throw invalidUri(text, `unknown parameter "${name}"`);
    if (found.has(name)) throw invalidUri(text, `${name} is given twice`);
    found.set(name, value);
  }
  return found;
}

/** @throws StorageError request/invalid */
export function unescapedPath(text: string, path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalidUri(text, 'malformed percent escape');
  }
}

/** Halves of characters, as JSON may carry them, name no file, and have no escape. @throws StorageError request/invalid */
export function expectWholeText(text: string): void {
  if (isWholeText(text)) return;
  throw invalidUri(text, 'it is no text in Unicode');
}

export function escapedPath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

const hostPattern = /^(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)$/i;

/** A name, an IPv4 address or an IPv6 address in brackets, in lower case. @throws StorageError request/invalid */
export function parseHost(text: string, host: string): string {
  if (!hostPattern.test(host)) throw invalidUri(text, `"${host}" is no host name or address`);
  return host.toLowerCase();
}

/** @throws StorageError request/invalid */
export function parsePort(text: string, name: string, written: string): number {
  const port = Number(written);
  if (/^\d+$/.test(written) && port >= 1 && port <= 65_535) return port;
  throw invalidUri(text, `${name} is a number from 1 to 65535`);
}
