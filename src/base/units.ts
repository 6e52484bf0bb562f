/**
 * Quantities with their unit in the type, and the one place where they are converted.
 */

declare const unit: unique symbol;
type Quantity<U extends string> = number & { readonly [unit]: U };

export type Bytes = Quantity<'bytes'>;
export type ClusterCount = Quantity<'clusters'>;

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;
export const PiB = 1024 * TiB;

export const subBlocksPerCluster = 16;
export const slotsPerLeaf = 64;
export const leavesPerRegion = 64;
export const slotsPerRegion = slotsPerLeaf * leavesPerRegion;

/** Clusters needed to hold `size`: rounds up, a partial cluster is a whole one. */
export function clustersFor(size: number, clusterBytes: number): ClusterCount {
  return Math.ceil(size / clusterBytes) as ClusterCount;
}
