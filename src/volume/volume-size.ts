/**
 * Which sizes a volume may have.
 */
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { KiB, PiB } from '../base/units.ts';

/** The smallest block any client addresses. */
export const sizeUnitBytes = 512;
export const volumeBytesMin = 64 * KiB;
export const volumeBytesMax = PiB;

/** @throws StorageError request/invalid */
export function expectVolumeSize(sizeBytes: number): void {
  const refused = (why: string) => new StorageError('request/invalid', `volume size: ${why}`);
  if (!Number.isSafeInteger(sizeBytes)) throw refused('it must be a whole number of bytes');
  if (sizeBytes < volumeBytesMin) {
    throw refused(`${formatOrZero(sizeBytes)} is less than ${formatSize(volumeBytesMin)}`);
  }
  if (sizeBytes > volumeBytesMax) {
    throw refused(`${formatSize(sizeBytes)} is more than ${formatSize(volumeBytesMax)}`);
  }
  if (sizeBytes % sizeUnitBytes !== 0) {
    throw refused(`${sizeBytes} bytes are no multiple of ${sizeUnitBytes}`);
  }
}

function formatOrZero(sizeBytes: number): string {
  return sizeBytes > 0 ? formatSize(sizeBytes) : `${sizeBytes} bytes`;
}
