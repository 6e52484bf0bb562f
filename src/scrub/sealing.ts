/**
 * Sealing: clusters of a frozen layer are read and hashed, and what they hash to becomes durable beside the map.
 *
 *   entries without a seal → hashed by the data plane → one batch, void for every entry that is not there like that any more
 *
 * Nothing is locked: a frozen layer never changes its content, only its place may change. A cluster that changed hands meanwhile may have
 * had another owner's bytes then, although the map may name it again as before: it is not sealed.
 */
import { slotsPerLeaf, slotsPerRegion, subBlocksPerCluster } from '../base/units.ts';
import { popCount } from '../pool/bitmap.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import { isSealable, isSealOf, type LeafSeal } from '../pool/format/seal.ts';
import { slotMask } from '../pool/format/slot.ts';
import type { SlotEntry, SlotStates } from '../pool/format/slot-states.ts';
import { placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import { isFrozen } from './frozen-layers.ts';

/** A cluster of a layer's slot, as the map has it. */
export interface LayerCluster extends SlotEntry {
  readonly layer: number;
  readonly slot: number;
}

/** The clusters in one region of a layer that have content and no seal. */
export function unsealedIn(layer: number, region: number, states: SlotStates): LayerCluster[] {
  const unsealed: LayerCluster[] = [];
  for (let at = 0; at < slotsPerRegion; at++) {
    if (states.isEmpty(at)) continue;
    const seals = states.seals(at);
    for (const entry of states.clusters(at)) {
      if (!isSealable(entry) || seals.some((seal) => isSealOf(seal, entry))) continue;
      unsealed.push({ layer, slot: region * slotsPerRegion + at, ...entry });
    }
  }
  return unsealed;
}

/** What is read of clusters. */
export function contentBytes(pool: Pool, entries: readonly SlotEntry[]): number {
  const subBlocks = entries.reduce((sum, { lo }) => sum + popCount(slotMask(lo)), 0);
  return (subBlocks * pool.clusterBytes) / subBlocksPerCluster;
}

/**
 * Seals clusters of frozen layers; those that cannot be read stay without a seal.
 *
 * @param clusters few enough that their seals fit one batch
 * @throws StorageError pool/failed
 */
export async function sealClusters(pool: Pool, clusters: readonly LayerCluster[]): Promise<void> {
  const owners = pool.watchOwners(clusters.map(placeOf));
  try {
    const hashed = await pool.hashClusters(clusters);
    const sealed = clusters.flatMap((cluster, at) => {
      const { error, ...hash } = hashed[at] as (typeof hashed)[number];
      const isSame = isFrozen(pool, cluster.layer) && !owners.changedHands(placeOf(cluster));
      return error === 0 && isSame ? [{ ...cluster, ...hash }] : [];
    });
    const ops = sealOps(sealed);
    // At once: what changed hands is asked for just above (Pool.watchOwners).
    if (ops.length > 0) await pool.commit(ops);
  } finally {
    owners.end();
  }
}

/** One operation per leaf. */
function sealOps(sealed: readonly (LayerCluster & LeafSeal)[]): BatchOp[] {
  const leaves = new Map<string, { op: 'seal'; layer: number; leaf: number; seals: LeafSeal[] }>();
  for (const { layer, slot, ...seal } of sealed) {
    const leaf = Math.floor(slot / slotsPerLeaf);
    const name = `${layer} ${leaf}`;
    const op = leaves.get(name) ?? { op: 'seal', layer, leaf, seals: [] };
    leaves.set(name, op);
    op.seals.push({ ...seal, slot: slot % slotsPerLeaf });
  }
  return [...leaves.values()];
}
