/**
 * What of a volume is data, zero or hole, in whole runs.
 */
import { StorageError } from '../base/errors.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { VolumeMapExtent, VolumeRecord } from './types.ts';

/** @throws StorageError request/invalid */
export function expectInside(record: VolumeRecord, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length > 0 && offset + length <= record.sizeBytes) return;
  throw new StorageError(
    'request/invalid',
    `the range ${offset}+${length} is not inside volume ${record.name} of ${record.sizeBytes} bytes`,
  );
}

/** Neighbours differ, and all together cover the range. */
export async function readMap(
  plane: VolumePlane,
  offset: number,
  length: number,
): Promise<VolumeMapExtent[]> {
  const extents: VolumeMapExtent[] = [];
  const end = offset + length;
  let at = offset;
  while (at < end) {
    for (const { length: bytes, hole, zero } of await plane.map(at, end - at)) {
      appendExtent(extents, { offset: at, length: bytes, hole, zero });
      at += bytes;
    }
  }
  return extents;
}

function appendExtent(extents: VolumeMapExtent[], next: VolumeMapExtent): void {
  const last = extents.at(-1);
  const same = last?.hole === next.hole && last.zero === next.zero;
  if (same) extents[extents.length - 1] = { ...last, length: last.length + next.length };
  else extents.push(next);
}
