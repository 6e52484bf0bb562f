/**
 * Chains by the records as they are now: which layers a head, or a snapshot's layer, reads through to.
 */
import { invariant } from '../base/errors.ts';
import type { VolumeToOpen } from '../pool/open-volumes.ts';
import type { Pool } from '../pool/pool.ts';
import { targetOf } from './placement.ts';
import { type LayerRecord, layerName, volumeById } from './records.ts';
import type { VolumeRecord } from './types.ts';

/** More would be a circle; snapshots are limited to fewer. */
const depthMax = 1_000_000;

/** The layer and its parents, in that order; nothing when there is no such layer any more. */
export function chainOf(pool: Pool, layer: number | undefined): number[] {
  const chain: number[] = [];
  let at = layer === undefined ? undefined : pool.record<LayerRecord>(layerName(layer));
  while (at !== undefined) {
    invariant(chain.length < depthMax, `layer ${layer} does not read through itself`);
    chain.push(at.id);
    at = at.parent === null ? undefined : pool.record<LayerRecord>(layerName(at.parent));
  }
  return chain;
}

/** How a volume is known among what is open of its pool. */
export function volumeKey(id: number): string {
  return `v${id}`;
}

/** A volume as the pool opens it: with the head that it has whenever that is asked. */
export function volumeToOpen(
  pool: Pool,
  { id, sizeBytes, snapshotMode, placement }: VolumeRecord,
): VolumeToOpen {
  const head = () => volumeById(pool, id)?.headLayer;
  return {
    key: volumeKey(id),
    chain: () => chainOf(pool, head()),
    writable: !pool.isReadOnly,
    copyOnWrite: snapshotMode === 'cow',
    sizeBytes,
    target: targetOf(pool, placement),
  };
}
