/**
 * Names of pools, volumes and exports (cli.md section 1), and their order.
 */
import { StorageError } from './errors.ts';

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** @throws StorageError request/invalid saying what is wrong with it */
export function expectName(
  kind: 'pool' | 'volume' | 'snapshot' | 'export' | 'class',
  name: string,
): void {
  if (namePattern.test(name)) return;
  throw new StorageError(
    'request/invalid',
    `"${name}" is no name for ${kind === 'export' ? 'an' : 'a'} ${kind}: ${whyNot(name)}`,
  );
}

/** For sorting: by code units, the same on every host. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function whyNot(name: string): string {
  if (name === '') return 'it is empty';
  if (name.includes('@')) return '"@" separates a volume from its snapshot';
  if (name.includes('/')) return 'it contains "/"';
  if (name.length > 63) return `it has ${name.length} characters, 63 are the most`;
  if (/^[._-]/.test(name)) return 'it must begin with a letter or a digit';
  return 'only a to z, 0 to 9, ".", "_" and "-" may be in it';
}
