/**
 * Integers, uuids and text in byte arrays; the small change of every codec here.
 *
 * A 64-bit count is a number, exact up to 2^53 - 1: larger ones cannot be ours and are refused. Hashes and
 * feature sets use all 64 bits and are bigints.
 */
import { InvariantError, invariant } from '../../base/errors.ts';
import { isUuid } from '../../base/ids.ts';
import { FormatError } from './format-error.ts';

const wordRange = 2 ** 32;

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @throws FormatError bad-value beyond 2^53 - 1 */
export function readU64(view: DataView, at: number, littleEndian = true): number {
  const first = view.getUint32(at, littleEndian);
  const second = view.getUint32(at + 4, littleEndian);
  const value = littleEndian ? second * wordRange + first : first * wordRange + second;
  // No message is made for the good case: this runs several times per delta.
  if (value > Number.MAX_SAFE_INTEGER) {
    throw new FormatError('bad-value', `number at byte ${at} is out of range`);
  }
  return value;
}

export function writeU64(view: DataView, at: number, value: number, littleEndian = true): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new InvariantError(`${value} is no count`);
  const high = Math.floor(value / wordRange);
  const low = value % wordRange;
  view.setUint32(at, littleEndian ? low : high, littleEndian);
  view.setUint32(at + 4, littleEndian ? high : low, littleEndian);
}

export function isZero(bytes: Uint8Array): boolean {
  // A label has 4 KiB of them, and openings read many labels: `every` takes ten times as long.
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The sixteen bytes of a uuid written in lower case with dashes. */
export function uuidBytes(uuid: string): Uint8Array {
  invariant(isUuid(uuid), `"${uuid}" is a uuid`);
  return Uint8Array.from(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
}

export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20, 32),
  ].join('-');
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws FormatError bad-value when the bytes are not UTF-8 */
export function readText(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw new FormatError('bad-value', 'text is not UTF-8');
  }
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
