/**
 * The newest checkpoint, put together from whatever is left of its replicas.
 *
 *   replica on disk 0   [0] ─▶ [1] ─▶ (bad, but it says where the next one is) ─▶ [3] ─▶ [4]
 *   replica on disk 1   [0] ─▶ (gone) · · · · · · · · · · · · · · · · · found by a search: [3] ─▶ [4]
 *
 * All replicas are cut at the same places, so that cluster n of one stands in for cluster n of another. Each proves itself by its checksum and
 * the sequence in it.
 */
import type { CheckedDisk } from '../check/disks.ts';
import { type ChainBlock, decodeChainBlock, peekChainBlock } from '../format/checkpoint-codec.ts';
import { FormatError } from '../format/format-error.ts';
import { clustersOn } from '../format/geometry.ts';
import type { CheckpointRef } from '../format/label.ts';
import { lenient } from '../lenient-read.ts';

export interface BlockPlace {
  readonly disk: CheckedDisk;
  readonly cluster: number;
}

/** In order; undefined where no replica has the cluster. */
export type ChainPlaces = readonly (BlockPlace | undefined)[];

export function isUsable({ label }: CheckedDisk, cluster: number): boolean {
  return cluster >= label.firstCluster && cluster < label.clusterCount;
}

function readCluster({ read, label }: CheckedDisk, cluster: number): Promise<Uint8Array> {
  return lenient(read)(cluster * label.clusterBytes, label.clusterBytes);
}

/** Clusters that the disk truly has, whatever its label says. */
function clustersThere({ label, sizeBytes }: CheckedDisk): number {
  return Math.min(label.clusterCount, clustersOn(sizeBytes, label.clusterBytes));
}

/** The cluster of a chain, if it is sound. */
export async function soundBlock({ disk, cluster }: BlockPlace): Promise<ChainBlock | undefined> {
  try {
    return decodeChainBlock(await readCluster(disk, cluster), cluster);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** Every sound cluster of any checkpoint on a disk. Reads the beginning of every cluster: takes its time. */
export async function* searchBlocks(
  disk: CheckedDisk,
): AsyncGenerator<Omit<ChainBlock, 'payload'>> {
  const { clusterBytes, firstCluster } = disk.label;
  for (let cluster = firstCluster; cluster < clustersThere(disk); cluster++) {
    const head = await lenient(disk.read)(cluster * clusterBytes, 32);
    if (peekChainBlock(head) === undefined) continue;
    const block = await soundBlock({ disk, cluster });
    if (block !== undefined) yield block;
  }
}

/** What each replica of one checkpoint still has, laid over each other. */
export async function joinReplicas(
  replicas: readonly { readonly disk: CheckedDisk; readonly checkpoint: CheckpointRef }[],
): Promise<ChainPlaces> {
  let joined: ChainPlaces = [];
  for (const { disk, checkpoint } of replicas) {
    const own = await walk(disk, checkpoint);
    joined = own.map((place, at) => joined[at] ?? place);
    if (!joined.includes(undefined)) return joined;
  }
  for (const { disk, checkpoint } of replicas) {
    const ends = await walkBack(disk, checkpoint);
    joined = joined.map((place, at) => place ?? ends[at]);
    if (!joined.includes(undefined)) return joined;
  }
  return joined;
}

function noPlaces(disk: CheckedDisk, checkpoint: CheckpointRef): (BlockPlace | undefined)[] {
  const count = Math.min(checkpoint.clusterCount, clustersThere(disk));
  return Array.from({ length: count }, () => undefined);
}

/** From the first cluster on. One whose payload is bad may still say truly which is the next. */
async function walk(disk: CheckedDisk, checkpoint: CheckpointRef): Promise<ChainPlaces> {
  const places = noPlaces(disk, checkpoint);
  let cluster = checkpoint.firstCluster;
  for (let at = 0; at < places.length && isUsable(disk, cluster); at++) {
    const head = peekChainBlock(await readCluster(disk, cluster));
    if (head?.sequence !== checkpoint.sequence) break;
    const block = await soundBlock({ disk, cluster });
    if (block !== undefined) places[at] = { disk, cluster };
    cluster = head.next;
  }
  return places;
}

/** From the last cluster backwards, found by a search: as far as the chain hangs together. */
async function walkBack(disk: CheckedDisk, checkpoint: CheckpointRef): Promise<ChainPlaces> {
  const before = new Map<number, number>();
  for await (const { cluster, sequence, next } of searchBlocks(disk)) {
    if (sequence === checkpoint.sequence) before.set(next, cluster);
  }
  const places = noPlaces(disk, checkpoint);
  let cluster = before.get(0);
  for (let at = places.length - 1; at >= 0 && cluster !== undefined; at--) {
    places[at] = { disk, cluster };
    cluster = before.get(cluster);
  }
  return places;
}
