/**
 * Sizes as people write and read them (cli.md section 1): `10GiB`, `10Gi` and `10G` count in 1024s, `10GB` in 1000s,
 * a bare integer is bytes.
 */
import { StorageError } from './errors.ts';

const prefixes = 'KMGTP';
const sizePattern = /^(\d+)(?:\.(\d+))?(?:([KMGTP])(iB|i|B)?|B)?$/i;

function unitBytes(prefix: string | undefined, suffix: string | undefined): number {
  if (prefix === undefined) return 1;
  const power = prefixes.indexOf(prefix.toUpperCase()) + 1;
  return (suffix?.toUpperCase() === 'B' ? 1000 : 1024) ** power;
}

/** Exact, in integers: a tenth of a GiB is no number of bytes and gives undefined. */
function exactBytes(whole: string, fraction: string, unit: number): number | undefined {
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * BigInt(unit);
  if (scaled % scale !== 0n) return undefined;
  const bytes = scaled / scale;
  return bytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(bytes) : undefined;
}

/**
 * @returns bytes, more than zero
 * @throws StorageError request/invalid what is written is no size, zero, too large, or no whole number of bytes
 */
export function parseSize(text: string): number {
  const match = sizePattern.exec(text);
  if (match === null) {
    throw new StorageError('request/invalid', `"${text}" is not a size`, {
      actions: ['write a size as 10GiB, 512MiB, 10GB (powers of 1000) or a number of bytes'],
    });
  }
  const [, whole = '', fraction = '', prefix, suffix] = match;
  const bytes = exactBytes(whole, fraction, unitBytes(prefix, suffix));
  if (bytes === undefined) {
    throw new StorageError(
      'request/invalid',
      `"${text}" is too large or not a whole number of bytes`,
    );
  }
  if (bytes === 0) throw new StorageError('request/invalid', 'a size must be more than zero');
  return bytes;
}

/**
 * As `200MiB/s`, or a size alone.
 *
 * @returns bytes per second, more than zero
 * @throws StorageError request/invalid
 */
export function parseRate(text: string): number {
  const size = text.replace(/\/s$/i, '');
  if (sizePattern.test(size)) return parseSize(size);
  throw new StorageError('request/invalid', `"${text}" is not a rate`, {
    actions: ['write a rate as 200MiB/s, 1GiB/s or a number of bytes per second'],
  });
}

/** The largest unit in which the size is at least one, with up to two decimals: `10GiB`, `1.5GiB`, `512B`. */
export function formatSize(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1024 && power < prefixes.length) {
    value /= 1024;
    power += 1;
  }
  const unit = power === 0 ? 'B' : `${prefixes[power - 1]}iB`;
  return `${Number(value.toFixed(2))}${unit}`;
}
