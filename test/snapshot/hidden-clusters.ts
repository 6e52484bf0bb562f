/**
 * Clusters that a pool holds although nothing of them shows: there are none once its layers are as few as their names allow.
 *
 * Where several read through one layer it stays as it is, and is not looked at here.
 */
import { slotsPerRegion } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Cover } from '../../src/snapshot/merge.ts';
import { regionsOf } from '../../src/snapshot/regions.ts';
import { outcomeOf } from '../../src/snapshot/space.ts';
import { LayerTree } from '../../src/volume/layer-tree.ts';

export async function hiddenClusters(pool: Pool): Promise<number> {
  const tree = LayerTree.of(pool);
  const { joined } = outcomeOf(tree, (layer) => tree.isNamed(layer));
  let hidden = 0;
  for (const run of joined.values()) {
    for await (const { stack } of regionsOf(pool, run)) {
      const cover = new Cover(slotsPerRegion);
      for (const states of stack) hidden += cover.add(states);
    }
  }
  return hidden;
}
