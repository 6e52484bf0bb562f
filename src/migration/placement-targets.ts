/**
 * Where the clusters of a layer belong: where its volume is placed if there is room, else anywhere.
 */
import type { Target } from '../pool/allocator.ts';
import type { Pool } from '../pool/pool.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { targetOf } from '../volume/placement.ts';
import type { VolumeRecord } from '../volume/types.ts';

const anywhere: Target = {};

/** The preferred first. */
export function placementTargets(pool: Pool, layer: number): readonly Target[] {
  const placement = volumeAbove(LayerTree.of(pool), layer)?.placement;
  return placement === undefined ? [anywhere] : [targetOf(pool, placement), anywhere];
}

/** A volume that reads through the layer. */
export function volumeAbove(tree: LayerTree, layer: number): VolumeRecord | undefined {
  for (let at: number | undefined = layer; at !== undefined; at = tree.children(at)[0]) {
    const volume = tree.headOf(at);
    if (volume !== undefined) return volume;
  }
  return undefined;
}
