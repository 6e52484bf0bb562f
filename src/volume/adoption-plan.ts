/**
 * Which slots of a layer point where, when a disk is adopted as it is.
 *
 *   | cluster 0 | … | cluster n−1 | whole sub-blocks | rest |        the rest is copied: a slot's unit is the sub-block
 *     slot 0          slot n−1      slot n (split: foreign, and the pool's own cluster for the rest)
 *
 * Pure: sizes and runs of data in, groups of operations out; what is in one group stays together in a batch.
 */
import { slotsPerLeaf, subBlocksPerCluster } from '../base/units.ts';
import type { ByteRun } from '../dataplane/data-plane.ts';
import type { ClusterPlace } from '../pool/allocator.ts';
import type { BatchOp, ClusterRun } from '../pool/format/batch.ts';
import type { LeafEntry } from '../pool/format/leaf.ts';
import { makeSlot } from '../pool/format/slot.ts';

/** Clusters [first, end). */
export interface ClusterRange {
  readonly first: number;
  readonly end: number;
}

export interface AdoptedDisk {
  readonly layer: number;
  readonly number: number;
  readonly clusterBytes: number;
  readonly sizeBytes: number;
  /** Where the rest was copied to; undefined when there is none, or nothing but zeroes. */
  readonly restAt?: ClusterPlace | undefined;
}

/** What of a disk does not fill a sub-block. */
export interface Rest {
  readonly slot: number;
  /** Of the sub-block that holds it. */
  readonly subBlock: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Clusters that hold some data, each once and in order. */
export function clustersWith(data: readonly ByteRun[], clusterBytes: number): ClusterRange[] {
  const ranges: { first: number; end: number }[] = [];
  for (const { offset, length } of data) {
    const first = Math.floor(offset / clusterBytes);
    const end = Math.ceil((offset + length) / clusterBytes);
    const last = ranges.at(-1);
    if (last !== undefined && first <= last.end) last.end = end;
    else ranges.push({ first, end });
  }
  return ranges;
}

/** @returns undefined when the disk ends with a whole sub-block */
export function restOf({ clusterBytes, sizeBytes }: AdoptedDisk): Rest | undefined {
  const subBlockBytes = clusterBytes / subBlocksPerCluster;
  const bytes = sizeBytes % subBlockBytes;
  if (bytes === 0) return undefined;
  const offset = sizeBytes - bytes;
  const slot = Math.floor(offset / clusterBytes);
  return { slot, subBlock: (offset % clusterBytes) / subBlockBytes, offset, bytes };
}

/** The layer's slots for those clusters. */
export function adoptionOps(disk: AdoptedDisk, ranges: readonly ClusterRange[]): BatchOp[][] {
  return ranges.flatMap(byLeaf).map((range) => leafOps(disk, range));
}

function byLeaf({ first, end }: ClusterRange): ClusterRange[] {
  const pieces: ClusterRange[] = [];
  for (let at = first; at < end; ) {
    const next = Math.min(end, (Math.floor(at / slotsPerLeaf) + 1) * slotsPerLeaf);
    pieces.push({ first: at, end: next });
    at = next;
  }
  return pieces;
}

/** Only the last slot of the disk may lack its own cluster, or have one of the pool's beside it. */
function leafOps(disk: AdoptedDisk, { first, end }: ClusterRange): BatchOp[] {
  const entries: LeafEntry[] = [];
  const add = (cluster: number, place: ClusterPlace, mask: number) => {
    const [hi, lo] = makeSlot(place.disk, place.cluster, mask);
    if (mask !== 0) entries.push({ slot: cluster % slotsPerLeaf, hi, lo });
  };
  const rest = restOf(disk);
  const { restAt } = disk;
  const own = rest !== undefined && rest.slot >= first && rest.slot < end ? restAt : undefined;
  for (let cluster = first; cluster < end; cluster++) {
    // Ascending by address: foreign disks have the highest numbers.
    if (own !== undefined && cluster === rest?.slot) add(cluster, own, 1 << rest.subBlock);
    add(cluster, { disk: disk.number, cluster }, wholeSubBlocks(disk, cluster));
  }
  const count = entries.length;
  if (count === 0) return [];
  const foreignCount = own === undefined ? count : count - 1;
  const runs: ClusterRun[] = [];
  if (foreignCount > 0) runs.push({ disk: disk.number, firstCluster: first, count: foreignCount });
  if (own !== undefined) runs.push({ disk: own.disk, firstCluster: own.cluster, count: 1 });
  return [
    { op: 'patch', layer: disk.layer, leaf: Math.floor(first / slotsPerLeaf), entries },
    ...runs.map((run): BatchOp => ({ op: 'acquire', ...run })),
    { op: 'count', layer: disk.layer, change: count },
  ];
}

/** A mask of the sub-blocks that lie wholly on the disk: the first ones of the cluster. */
function wholeSubBlocks({ clusterBytes, sizeBytes }: AdoptedDisk, cluster: number): number {
  const subBlockBytes = clusterBytes / subBlocksPerCluster;
  const count = Math.floor((sizeBytes - cluster * clusterBytes) / subBlockBytes);
  return 2 ** Math.min(count, subBlocksPerCluster) - 1;
}
