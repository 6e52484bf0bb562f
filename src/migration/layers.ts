/**
 * Which layers have something on a disk, and which volumes read from it.
 */
import type { Pool } from '../pool/pool.ts';
import { chainOf } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { volumeRecords } from '../volume/records.ts';
import { type IsWanted, unitsOf } from './unit.ts';

/** What is not alive gives its clusters back by itself. */
export function aliveLayers(pool: Pool): number[] {
  const tree = LayerTree.of(pool);
  return [...tree.layers].filter((layer) => tree.isAlive(layer));
}

/** Of those layers the ones that have something on such a disk. */
export async function layersOn(
  pool: Pool,
  layers: readonly number[],
  isWanted: IsWanted,
): Promise<ReadonlySet<number>> {
  const there = new Set<number>();
  for (const layer of layers) {
    const units = unitsOf(pool, layer, isWanted, () => 1);
    if (!(await units.next()).done) there.add(layer);
  }
  return there;
}

/** Names of the volumes that show something of any of those layers. */
export function readersOf(pool: Pool, layers: ReadonlySet<number>): string[] {
  return volumeRecords(pool)
    .filter(({ headLayer, scratch }) => {
      return !scratch && chainOf(pool, headLayer).some((layer) => layers.has(layer));
    })
    .map(({ name }) => name)
    .sort();
}
