/**
 * Which layers are sealed: those whose clusters are the pool's own and never change their content again.
 *
 * A head is written to, a copy on its way from another pool is not whole, an adopted disk is its owner's. What nobody names or reads through is
 * on its way out.
 */
import type { Pool } from '../pool/pool.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { type LayerRecord, layerName } from '../volume/records.ts';

export function frozenLayers(pool: Pool): number[] {
  const tree = LayerTree.of(pool);
  return [...tree.layers].filter((layer) => isFrozenIn(tree, pool, layer)).sort((a, b) => a - b);
}

export function isFrozen(pool: Pool, layer: number): boolean {
  return isFrozenIn(LayerTree.of(pool), pool, layer);
}

function isFrozenIn(tree: LayerTree, pool: Pool, layer: number): boolean {
  if (!tree.isAlive(layer) || tree.isForeign(layer) || tree.headOf(layer) !== undefined)
    return false;
  const record = pool.record<LayerRecord>(layerName(layer));
  return record?.incoming === undefined && record?.adopting === undefined;
}
