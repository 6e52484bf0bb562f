/**
 * Addresses that exports are served on: `unix:PATH` and `tcp:HOST:PORT`. Pure.
 */
import { StorageError } from '../base/errors.ts';
import { isWholeText } from '../base/text.ts';

export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** sun_path holds 108 bytes, and a terminating zero. */
const unixPathBytesMax = 107;

/**
 * Reads an address; TCP port 0 asks for any free port.
 *
 * @throws StorageError request/invalid what is wrong with it
 */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) return parseUnix(text.slice('unix:'.length));
  if (text.startsWith('tcp:')) return parseTcp(text.slice('tcp:'.length));
  throw invalid(text, 'it starts with neither unix: nor tcp:');
}

export function formatAddress(address: Address): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `tcp:${bracketed(address.host)}:${address.port}`;
}

/** The NBD URI of an export at an address, as the NBD project's URI specification writes it. */
export function nbdUri(address: Address, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if (address.kind === 'tcp') return `nbd://${bracketed(address.host)}:${address.port}/${name}`;
  const socket = encodeURIComponent(address.path).replaceAll('%2F', '/');
  return `nbd+unix:///${name}?socket=${socket}`;
}

/** Whether stored addresses are the wanted ones; a stored port answers a wish for any port. */
export function sameAddresses(stored: readonly string[], wanted: readonly string[]): boolean {
  if (stored.length !== wanted.length) return false;
  return wanted.every((text, at) => {
    const want = parseAddress(text);
    const have = parseAddress(stored[at] ?? '');
    if (want.kind === 'tcp' && have.kind === 'tcp' && want.port === 0)
      return want.host === have.host;
    return formatAddress(want) === formatAddress(have);
  });
}

/** @throws StorageError export/listen the path does not fit into a socket address */
export function checkUnixPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= unixPathBytesMax) return;
  throw new StorageError(
    'export/listen',
    `socket path ${path} has ${bytes} bytes, the system allows ${unixPathBytesMax}`,
    { actions: ['choose a shorter path, or a state folder with a shorter one'] },
  );
}

function parseUnix(path: string): Address {
  if (!path.startsWith('/')) throw invalid(`unix:${path}`, 'its path is not absolute');
  if (!isWholeText(path) || path.includes('\0')) throw invalid('unix:…', 'its path is none');
  checkUnixPath(path);
  return { kind: 'unix', path };
}

function parseTcp(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined) throw invalid(`tcp:${text}`, 'it is not tcp:HOST:PORT');
  if (port > 65_535) throw invalid(`tcp:${text}`, 'its port is over 65535');
  return { kind: 'tcp', host, port };
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function invalid(text: string, why: string): StorageError {
  return new StorageError('request/invalid', `address ${text} cannot be used: ${why}`, {
    actions: ['write it as unix:/absolute/path or tcp:HOST:PORT'],
  });
}
