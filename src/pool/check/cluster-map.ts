/**
 * Who has which cluster: two bits per cluster, from the allocator's bitmap and from the owners themselves.
 *
 * Owners are slots of layers and the checkpoint's chain. Each cluster has at most one; the bitmap has exactly those
 * that slots own.
 */
import { findNext, getBit, setBit } from '../bitmap.ts';
import type { DiskSpaceSpec } from '../disk-space.ts';
import { chunkBytes, clustersPerChunk } from '../format/index-keys.ts';
import type { CheckedDisk } from './disks.ts';
import type { FindingLog } from './findings.ts';
import { bitsFor } from './tail.ts';

/** Told in numbers: millions of slots are claimed, and only those that are wrong need words. */
export interface SlotPlace {
  readonly layer: number;
  readonly slot: number;
}

interface DiskMap {
  readonly firstCluster: number;
  readonly clusterCount: number;
  /** What the allocator says. */
  readonly used: Uint32Array;
  readonly owned: Uint32Array;
  readonly chain: Uint32Array;
}

export class ClusterMap {
  readonly #log: FindingLog;
  readonly #disks: ReadonlyMap<number, DiskMap>;

  /** @param foreign disks that slots point to and that are not the pool's */
  constructor(disks: readonly CheckedDisk[], foreign: readonly DiskSpaceSpec[], log: FindingLog) {
    this.#log = log;
    this.#disks = new Map([
      ...disks.map(({ label }) => [label.diskNumber, emptyMap(label)] as const),
      ...foreign.map((space) => [space.number, emptyMap(space)] as const),
    ]);
  }

  get clusterCount(): number {
    return [...this.#disks.values()].reduce((sum, { clusterCount }) => sum + clusterCount, 0);
  }

  loadChunk(disk: number, chunk: number, bytes: Uint8Array): void {
    const where = `disk ${disk} chunk ${chunk}`;
    const map = this.#disks.get(disk);
    if (map === undefined || bytes.length !== chunkBytes) {
      this.#log.damage('allocator/chunk', where, `${bytes.length} bytes for a disk that is not so`);
      return;
    }
    const from = chunk * clustersPerChunk;
    const words = new Uint32Array(bytes.slice().buffer);
    const inside = words.subarray(0, Math.max(0, map.used.length - from / 32));
    map.used.set(inside, Math.min(from / 32, map.used.length));
    if (this.#reachesBeyond(map, from, words)) {
      this.#log.damage(
        'allocator/chunk',
        where,
        'marks clusters behind the end of the disk as used',
      );
    }
  }

  /** A slot owns the cluster. */
  claim(disk: number, cluster: number, owner: SlotPlace): void {
    const map = this.#disks.get(disk);
    if (map === undefined || cluster < map.firstCluster || cluster >= map.clusterCount) {
      this.#log.damage(
        'slot/address',
        describe(owner),
        `points to cluster ${cluster} of disk ${disk}, outside of what is usable`,
      );
      return;
    }
    if (getBit(map.owned, cluster)) {
      this.#log.damage(
        'slot/shared',
        describe(owner),
        `points to cluster ${cluster} of disk ${disk}, which another slot owns`,
      );
    }
    setBit(map.owned, cluster);
  }

  /** The disk's checkpoint owns the clusters; a chain leads nowhere twice, or its size would not fit. */
  claimChain(disk: number, clusters: readonly number[]): void {
    const map = this.#disks.get(disk) as DiskMap;
    for (const cluster of clusters) setBit(map.chain, cluster);
  }

  /** Reports every run of clusters that bitmap and owners see differently. */
  compare(): void {
    for (const [disk, { used, owned, chain }] of this.#disks) {
      this.#reportRuns(
        disk,
        combine(used, owned, (a, b) => a & ~b),
        'allocator/leaked',
        'used, but no slot owns them',
      );
      this.#reportRuns(
        disk,
        combine(owned, used, (a, b) => a & ~b),
        'allocator/free',
        'owned by a slot, but free to be handed out',
      );
      this.#reportRuns(
        disk,
        combine(owned, chain, (a, b) => a & b),
        'checkpoint/shared',
        'owned by a slot and by the checkpoint',
      );
    }
  }

  #reachesBeyond(map: DiskMap, from: number, words: Uint32Array): boolean {
    const end = Math.max(0, map.clusterCount - from);
    const pair = { used: words, held: new Uint32Array(words.length) };
    return (
      findNext(pair, 'taken', Math.min(end, clustersPerChunk), clustersPerChunk) < clustersPerChunk
    );
  }

  #reportRuns(disk: number, bits: Uint32Array, code: string, message: string): void {
    const pair = { used: bits, held: new Uint32Array(bits.length) };
    const end = bits.length * 32;
    let from = findNext(pair, 'taken', 0, end);
    while (from < end) {
      const to = findNext(pair, 'free', from, end);
      this.#log.damage(code, `disk ${disk} clusters ${from}–${to - 1}`, message);
      from = findNext(pair, 'taken', to, end);
    }
  }
}

function describe({ layer, slot }: SlotPlace): string {
  return `layer ${layer} slot ${slot}`;
}

function emptyMap({
  firstCluster,
  clusterCount,
}: Pick<DiskSpaceSpec, 'firstCluster' | 'clusterCount'>): DiskMap {
  return {
    firstCluster,
    clusterCount,
    used: bitsFor(clusterCount),
    owned: bitsFor(clusterCount),
    chain: bitsFor(clusterCount),
  };
}

function combine(
  a: Uint32Array,
  b: Uint32Array,
  by: (a: number, b: number) => number,
): Uint32Array {
  return a.map((word, index) => by(word, b[index] as number));
}
