/**
 * A volume's map in pages, without ever holding the map of a large volume in memory.
 *
 * It is read in windows that grow while they bring little: an empty petabyte takes a few, and a volume written in
 * scattered sub-blocks brings at most `firstWindow / 4 KiB` extents at a time.
 */
import { GiB } from '../base/units.ts';
import type { VolumeMapExtent } from '../volume/types.ts';
import type { VolumesPort } from './ports.ts';

const firstWindow = GiB;
/** A window that brings fewer extents is doubled. */
const fewExtents = 1000;

export interface MapRange {
  readonly offset: number;
  readonly end: number;
  readonly limit: number;
}

/** @returns at most `limit` extents from `offset` on; neighbours differ in state */
export async function readVolumeMap(
  volumes: Pick<VolumesPort, 'map'>,
  name: string,
  range: MapRange,
): Promise<VolumeMapExtent[]> {
  const extents: VolumeMapExtent[] = [];
  let window = firstWindow;
  let at = range.offset;
  // One more than asked for: only then the last one asked for is known to be whole.
  while (at < range.end && extents.length <= range.limit) {
    const length = Math.min(window, range.end - at);
    const found = await volumes.map(name, at, length);
    for (const extent of found) append(extents, extent);
    if (found.length < fewExtents) window *= 2;
    at += length;
  }
  return extents.slice(0, range.limit);
}

function append(extents: VolumeMapExtent[], next: VolumeMapExtent): void {
  const last = extents.at(-1);
  if (last?.hole === next.hole && last.zero === next.zero) {
    extents[extents.length - 1] = { ...last, length: last.length + next.length };
  } else {
    extents.push(next);
  }
}
