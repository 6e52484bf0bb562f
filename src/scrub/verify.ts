/**
 * Verifying clusters of one layer: everything is read, what is sealed is compared with its seal.
 *
 *   hashed → differs from its seal → hashed once more → differs again, and still is what it was → damaged
 *
 * Read twice, because what a disk or a cable got wrong once is not lost. A cluster that was given up, or given to a slot, meanwhile says nothing, nor
 * does one whose disk has left the pool.
 */
import type { ClusterHash } from '../dataplane/data-plane.ts';
import { isSealOf, type Seal } from '../pool/format/seal.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import { placeOf } from '../pool/pending-moves.ts';
import type { Pool } from '../pool/pool.ts';
import type { LayerCluster } from './sealing.ts';

/** A cluster and its seal, if it has one. */
export interface VerifiedCluster extends LayerCluster {
  readonly seal: Seal | undefined;
}

export interface Verified {
  readonly damaged: readonly VerifiedCluster[];
  /** The disk has an error where it lies. */
  readonly unreadable: readonly VerifiedCluster[];
}

/** The clusters with content in one region of a layer that lie on such a disk. */
export function clustersIn(
  at: { readonly layer: number; readonly firstSlot: number },
  states: SlotStates,
  isWanted: (cluster: LayerCluster) => boolean,
): VerifiedCluster[] {
  const clusters: VerifiedCluster[] = [];
  for (let within = 0; within < states.count; within++) {
    if (states.isEmpty(within)) continue;
    const seals = states.seals(within);
    for (const entry of states.clusters(within)) {
      const cluster = { layer: at.layer, slot: at.firstSlot + within, ...entry };
      const seal = seals.find((each) => isSealOf(each, entry));
      if (isWanted(cluster)) clusters.push({ ...cluster, seal });
    }
  }
  return clusters;
}

/** @throws StorageError pool/failed */
export async function verifyClusters(
  pool: Pool,
  clusters: readonly VerifiedCluster[],
): Promise<Verified> {
  const owners = pool.watchOwners(clusters.map(placeOf));
  try {
    const suspicious = await unsound(pool, clusters);
    const bad = suspicious.length === 0 ? [] : await unsound(pool, suspicious);
    const still = bad.filter((cluster) => {
      const place = placeOf(cluster);
      return !owners.changedHands(place) && pool.hasDisk(place.disk);
    });
    return {
      damaged: still.filter(({ error }) => error === 0),
      unreadable: still.filter(({ error }) => error !== 0),
    };
  } finally {
    owners.end();
  }
}

/** Those that cannot be read, or are not what their seal says. */
async function unsound(
  pool: Pool,
  clusters: readonly VerifiedCluster[],
): Promise<readonly (VerifiedCluster & Pick<ClusterHash, 'error'>)[]> {
  const hashes = await pool.hashClusters(clusters);
  return clusters.flatMap((cluster, at) => {
    const { error, hashHi, hashLo } = hashes[at] as ClusterHash;
    const { seal } = cluster;
    const isAsSealed = seal === undefined || (seal.hashHi === hashHi && seal.hashLo === hashLo);
    return error === 0 && isAsSealed ? [] : [{ ...cluster, error }];
  });
}
