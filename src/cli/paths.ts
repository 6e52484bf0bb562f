/**
 * Paths as typed, for a service that stands in another folder. Pure but for the current folder.
 */
import { resolve } from 'node:path';

/** `disk.img?size=1GiB` → `/here/disk.img?size=1GiB`; URIs with a scheme other than file: and block: stay. */
export function absoluteUri(uri: string): string {
  const match = /^(?:(file|block):)?([^?]*)(\?.*)?$/s.exec(uri);
  const [, scheme, path = '', query = ''] = match ?? [];
  if (path.startsWith('/') || path === '' || (scheme === undefined && /^[a-z]+:/.test(path)))
    return uri;
  return `${scheme === undefined ? '' : `${scheme}:`}${resolve(path)}${query}`;
}

/** `unix:nbd.sock` → `unix:/here/nbd.sock`. */
export function absoluteAddress(address: string): string {
  if (!address.startsWith('unix:')) return address;
  return `unix:${resolve(address.slice('unix:'.length))}`;
}
