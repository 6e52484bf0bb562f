/**
 * Who shows damaged sub-blocks: volumes and snapshots, and at which bytes of theirs.
 */
import { slotsPerRegion } from '../base/units.ts';
import type { ClusterPlace } from '../pool/allocator.ts';
import { placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import { visibleIn } from '../pool/resolve.ts';
import { snapshotRecords } from '../snapshot/records.ts';
import { subBlockRuns } from '../snapshot/sub-block-copies.ts';
import { chainOf } from '../volume/chain.ts';
import { volumeById, volumeRecords } from '../volume/records.ts';

/** Sub-blocks of a cluster, and the slot in which it lies. */
export interface DamagedPlace extends ClusterPlace {
  readonly slot: number;
  readonly mask: number;
}

/** A run of bytes that cannot be read. */
export interface AffectedExtent {
  readonly volume: string;
  /** null: the volume as it is now. */
  readonly snapshot: string | null;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

interface View extends Pick<AffectedExtent, 'volume' | 'snapshot'> {
  readonly layer: number;
  readonly sizeBytes: number;
}

/** What shows one of them, in the order of the names; nothing when no name leads there. */
export async function affectedBy(pool: Pool, place: DamagedPlace): Promise<AffectedExtent[]> {
  const affected: AffectedExtent[] = [];
  for (const view of viewsOf(pool)) {
    const mask = await shownMask(pool, view, place);
    affected.push(...runsOf(pool, view, place.slot, mask));
  }
  return affected;
}

function viewsOf(pool: Pool): View[] {
  const volumes = volumeRecords(pool)
    .filter(({ scratch }) => !scratch)
    .map(({ name, headLayer, sizeBytes }): View => {
      return { volume: name, snapshot: null, layer: headLayer, sizeBytes };
    });
  const snapshots = snapshotRecords(pool).flatMap(({ volume, name, layer, sizeBytes }): View[] => {
    const owner = volumeById(pool, volume);
    return owner === undefined ? [] : [{ volume: owner.name, snapshot: name, layer, sizeBytes }];
  });
  return [...volumes, ...snapshots].sort(
    (a, b) => compare(a.volume, b.volume) || compare(a.snapshot ?? '', b.snapshot ?? ''),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The sub-blocks of the place that show in a view. */
async function shownMask(pool: Pool, view: View, place: DamagedPlace): Promise<number> {
  const region = Math.floor(place.slot / slotsPerRegion);
  const { stack } = await pool.index.readChainRegion(() => chainOf(pool, view.layer), region);
  const shown = visibleIn(stack, place.slot % slotsPerRegion).find((cluster) => {
    const { disk, cluster: number } = placeOf(cluster);
    return disk === place.disk && number === place.cluster;
  });
  return (shown?.mask ?? 0) & place.mask;
}

/** None begins behind the end. */
function runsOf(pool: Pool, view: View, slot: number, mask: number): AffectedExtent[] {
  const { volume, snapshot, sizeBytes } = view;
  return subBlockRuns(pool.clusterBytes, mask).flatMap(({ at, bytes }) => {
    const offsetBytes = slot * pool.clusterBytes + at;
    const lengthBytes = Math.min(bytes, sizeBytes - offsetBytes);
    return lengthBytes > 0 ? [{ volume, snapshot, offsetBytes, lengthBytes }] : [];
  });
}
