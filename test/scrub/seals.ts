/**
 * What is sealed of a pool, and whether it is true, found by a walk over the map of its own.
 */
import type { Seal } from '../../src/pool/format/seal.ts';
import { placeOf } from '../../src/pool/pending-moves.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { frozenLayers, isFrozen } from '../../src/scrub/frozen-layers.ts';
import { unsealedIn } from '../../src/scrub/sealing.ts';
import { regionsOf } from '../../src/snapshot/regions.ts';
import { LayerTree } from '../../src/volume/layer-tree.ts';

export interface FoundSeal extends Seal {
  readonly layer: number;
  /** Of the volume. */
  readonly slot: number;
}

/** Every seal of any layer, also of those that should have none. */
export async function allSeals(pool: Pool): Promise<FoundSeal[]> {
  const found: FoundSeal[] = [];
  for (const layer of LayerTree.of(pool).layers) {
    for await (const { region, stack } of regionsOf(pool, [layer], { seals: true })) {
      const [states] = stack;
      for (let slot = 0; states !== undefined && slot < states.count; slot++) {
        for (const seal of states.seals(slot)) {
          found.push({ layer, slot: region * states.count + slot, ...seal });
        }
      }
    }
  }
  return found;
}

/** Seals of which the content is not what they say, or that something has that is written to. */
export async function untrueSeals(pool: Pool): Promise<FoundSeal[]> {
  const seals = await allSeals(pool);
  // Layers may become one meanwhile, and what they give up may be another's.
  const owners = pool.watchOwners(seals.map(placeOf));
  const hashes = await pool.hashClusters(seals);
  owners.end();
  return seals.filter((seal, at) => {
    const { layer, hashHi, hashLo } = seal;
    const now = hashes[at];
    const isTrue = now?.error === 0 && now.hashHi === hashHi && now.hashLo === hashLo;
    if (!isTrue) return !owners.changedHands(placeOf(seal));
    return LayerTree.of(pool).isAlive(layer) && !isFrozen(pool, layer);
  });
}

/** What is frozen, has content and no seal. */
export async function unsealedClusters(pool: Pool) {
  const unsealed = [];
  for (const layer of frozenLayers(pool)) {
    for await (const { region, stack } of regionsOf(pool, [layer], { seals: true })) {
      const [states] = stack;
      if (states !== undefined) unsealed.push(...unsealedIn(layer, region, states));
    }
  }
  return unsealed;
}
