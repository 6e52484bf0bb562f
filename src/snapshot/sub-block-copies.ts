/**
 * Sub-blocks of one cluster as copies to the same places of another: as many as there are runs of them. Pure.
 */
import { subBlocksPerCluster } from '../base/units.ts';
import type { ClusterPlace } from '../pool/allocator.ts';
import type { ClusterCopy } from '../pool/pool.ts';

export interface SubBlocks {
  readonly from: ClusterPlace;
  readonly to: ClusterPlace;
  /** Bit n: sub-block n. */
  readonly mask: number;
}

export function copiesOf(clusterBytes: number, { from, to, mask }: SubBlocks): ClusterCopy[] {
  return subBlockRuns(clusterBytes, mask).map((run) => ({ from, to, ...run }));
}

/** Neighbouring sub-blocks of a mask as one run of bytes, from `at` its cluster on. */
export function subBlockRuns(clusterBytes: number, mask: number): { at: number; bytes: number }[] {
  const subBlockBytes = clusterBytes / subBlocksPerCluster;
  const isIn = (sub: number) => (mask & (1 << sub)) !== 0;
  const runs: { at: number; bytes: number }[] = [];
  for (let sub = 0; sub < subBlocksPerCluster; sub++) {
    if (!isIn(sub)) continue;
    const first = sub;
    while (sub + 1 < subBlocksPerCluster && isIn(sub + 1)) sub += 1;
    runs.push({ at: first * subBlockBytes, bytes: (sub + 1 - first) * subBlockBytes });
  }
  return runs;
}
