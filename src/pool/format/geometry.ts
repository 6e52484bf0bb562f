/**
 * Where things lie on a backing disk of a given size.
 *
 *   | labels, 64 KiB | journal ring | … | firstCluster … clusterCount |
 */

import { StorageError } from '../../base/errors.ts';
import { formatSize } from '../../base/size.ts';
import { KiB, MiB } from '../../base/units.ts';

export const labelBytes = 4096;
/** Everything before this byte belongs to the labels. */
export const labelAreaBytes = 64 * KiB;
export const clusterBytesMin = 16 * KiB;
export const clusterBytesMax = MiB;
export const defaultClusterBytes = 64 * KiB;
/** So many disks of a pool carry a replica of journal and checkpoint, where it has as many. */
export const journalReplicasMax = 3;

const journalBytesMin = 256 * KiB;
/** Of disks up to 256 GiB: room for a second's worth of flushes while a checkpoint is written. */
const journalBytesUsual = 64 * MiB;
/** What an opening reads of each replica takes a fraction of a second still. */
const journalBytesMax = 256 * MiB;
/** Below this a pool could hold next to nothing beside its own reserve. */
const dataClustersMin = 64;
/** As a disk grows by a cluster, journal and reserve may grow by more: three at most, as both round up. */
const roundingClusters = 3;
/** An index entry of a leaf with a single slot takes 40 bytes in a checkpoint, its seal among them; the rest are bitmaps and records. */
const checkpointBytesPerCluster = 48;

export interface GeometryOptions {
  readonly diskBytes: number;
  readonly clusterBytes: number;
  /** Whether the disk carries a replica of the journal. */
  readonly journal: boolean;
  /** Instead of what fits the disk's size; a multiple of 4096. */
  readonly journalBytes?: number;
}

export interface Geometry {
  /** 0 without a journal. */
  readonly journalOffset: number;
  readonly journalBytes: number;
  readonly firstCluster: number;
  /** Usable clusters are `[firstCluster, clusterCount)`. */
  readonly clusterCount: number;
}

export function isClusterBytes(value: number): boolean {
  return value >= clusterBytesMin && value <= clusterBytesMax && Number.isInteger(Math.log2(value));
}

/**
 * A sixty-fourth of the disk within 256 KiB and 64 MiB; of larger disks a 4096th, up to 256 MiB, because whenever half of the ring is full the
 * whole map is written out. Rounded down to 64 KiB.
 */
export function journalBytesFor(diskBytes: number): number {
  const part = (divisor: number) => Math.floor(diskBytes / divisor / (64 * KiB)) * 64 * KiB;
  const usual = Math.min(Math.max(part(64), journalBytesMin), journalBytesUsual);
  return Math.max(usual, Math.min(part(4096), journalBytesMax));
}

export function firstClusterFor(journalBytes: number, clusterBytes: number): number {
  return Math.ceil((labelAreaBytes + journalBytes) / clusterBytes);
}

/**
 * Clusters to keep free on each journal disk for its checkpoints: the present one and the one that replaces it,
 * each at the largest a pool of `clusterCount` clusters can need.
 */
export function checkpointReserveClusters(clusterCount: number, clusterBytes: number): number {
  return 2 * Math.ceil((clusterCount * checkpointBytesPerCluster) / clusterBytes) + 8;
}

/** Clusters of a disk, those under labels and journal included. */
export function clustersOn(diskBytes: number, clusterBytes: number): number {
  return Math.floor(diskBytes / clusterBytes);
}

/** Lays out a disk without asking whether it is large enough to be of use. */
export function geometryFor(options: GeometryOptions): Geometry {
  const { diskBytes, clusterBytes } = options;
  const journalBytes = options.journal ? (options.journalBytes ?? journalBytesFor(diskBytes)) : 0;
  return {
    journalOffset: options.journal ? labelAreaBytes : 0,
    journalBytes,
    firstCluster: firstClusterFor(journalBytes, clusterBytes),
    clusterCount: clustersOn(diskBytes, clusterBytes),
  };
}

function dataClusters(options: GeometryOptions): number {
  const { firstCluster, clusterCount } = geometryFor(options);
  const reserve = options.journal
    ? checkpointReserveClusters(clusterCount, options.clusterBytes)
    : 0;
  return clusterCount - firstCluster - reserve;
}

/** The smallest disk that is accepted: every larger one holds labels, journal, reserve and 64 clusters of data. */
export function minimumDiskBytes(options: Omit<GeometryOptions, 'diskBytes'>): number {
  const { clusterBytes } = options;
  let diskBytes = dataClustersMin * clusterBytes;
  const enough = dataClustersMin + roundingClusters;
  while (dataClusters({ ...options, diskBytes }) < enough) diskBytes += clusterBytes;
  return diskBytes;
}

/**
 * Lays out a disk that may carry a replica one day: with room for a ring of that size, where the disk is large enough for it.
 *
 * @throws StorageError disk/too-small
 */
export function memberGeometry(options: {
  readonly diskBytes: number;
  readonly clusterBytes: number;
  readonly ringBytes: number;
}): Geometry {
  const { ringBytes: journalBytes, ...disk } = options;
  const withRing = { ...disk, journal: true, journalBytes };
  const fits = disk.diskBytes >= minimumDiskBytes(withRing);
  const geometry = diskGeometry(fits ? withRing : { ...disk, journal: false });
  return { ...geometry, journalOffset: 0, journalBytes: 0 };
}

/** Whether a ring of that size fits between the disk's labels and its clusters. */
export function hasRoomForRing(
  disk: { readonly firstCluster: number; readonly clusterBytes: number },
  ringBytes: number,
): boolean {
  return disk.firstCluster >= firstClusterFor(ringBytes, disk.clusterBytes);
}

/**
 * Lays out a disk.
 *
 * @throws StorageError disk/too-small with the size that would do
 */
export function diskGeometry(options: GeometryOptions): Geometry {
  const minimum = minimumDiskBytes(options);
  if (options.diskBytes >= minimum) return geometryFor(options);
  throw new StorageError(
    'disk/too-small',
    `a disk of ${formatSize(options.diskBytes)} is too small: at least ${formatSize(minimum)} are needed at clusters of ${formatSize(options.clusterBytes)}`,
  );
}
