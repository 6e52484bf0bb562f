/**
 * Origins: from which sectors of the disks an image comes, learned from disks on which each sector says where it lies.
 */
import { readStamp, type Serial, sectorBytes, stamp } from './sectors.ts';

/** No write has it. */
const originSerial: Serial = 0xffff_ffff;

/** `count` sectors of an image from `sector` on lie on that disk, from `place` on. */
const wordsPerRun = 4;

/** Runs in ascending order: sector, disk, place, count, …; what is in none reads as zero. */
export interface Origins {
  readonly sizeBytes: number;
  readonly runs: Uint32Array;
}

/** A whole disk whose sectors say where they are. */
export function stampedWithOrigins(disk: number, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  stamp(bytes, disk, 0, originSerial);
  return bytes;
}

/** @returns undefined when a sector comes from none that says where it is */
export function originsOf(image: Uint8Array): Origins | undefined {
  const runs: number[] = [];
  for (let sector = 0; sector < image.length / sectorBytes; sector++) {
    const found = readStamp(image, sector);
    if (found === 'zero') continue;
    if (found === 'torn' || found.serial !== originSerial) return undefined;
    append(runs, [sector, found.volume, found.sector]);
  }
  return { sizeBytes: image.length, runs: Uint32Array.from(runs) };
}

function append(runs: number[], [sector, disk, place]: readonly [number, number, number]): void {
  const last = runs.length - wordsPerRun;
  const count = runs[last + 3] as number;
  const goesOn =
    last >= 0 &&
    runs[last] === sector - count &&
    runs[last + 1] === disk &&
    runs[last + 2] === place - count;
  if (goesOn) runs[last + 3] = count + 1;
  else runs.push(sector, disk, place, 1);
}

export function isSameOrigin(a: Origins, b: Origins): boolean {
  return a.sizeBytes === b.sizeBytes && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

function bytesOf({ runs: { buffer, byteOffset, byteLength } }: Origins): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
