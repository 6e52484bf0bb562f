/**
 * The clusters of one disk, each in one state:
 *
 *   free → held (granted) → used → held (released) → free          free → held (checkpoint) → free
 *
 * `used` is what the index stores; `held` lives in memory only, so a crash turns what was merely held into free space.
 * Cluster numbers stay below 2^31: bit positions are 32-bit. A disk of 16 KiB clusters may have 32 TiB.
 */
import { invariant } from '../base/errors.ts';
import { clearBit, findNext, getBit, popCount, setBit } from './bitmap.ts';
import { viewOf } from './format/bytes.ts';
import { chunkBytes, clustersPerChunk } from './format/index-keys.ts';

/** A disk has fewer: bit positions are 32-bit. */
export const clusterCountMax = 2 ** 31 - 1;
const wordsPerChunk = clustersPerChunk / 32;
/** Shorter runs are taken only when there is no longer one: they cost the disks their sequential writes. */
const favouredRunClusters = 64;

export interface DiskSpaceSpec {
  readonly number: number;
  readonly firstCluster: number;
  readonly clusterCount: number;
}

export interface Run {
  readonly firstCluster: number;
  readonly count: number;
}

export class DiskSpace {
  used: Uint32Array;
  held: Uint32Array;
  readonly #dirtyChunks = new Set<number>();
  #free: number;
  /** Clusters of the checkpoint found at open. */
  readonly #adopted = new Set<number>();
  #usedCount = 0;
  /** Where the next run is looked for first, and the next cluster of a checkpoint. */
  #cursor: number;
  #topCursor: number;

  constructor(public spec: DiskSpaceSpec) {
    const words = wordsFor(spec.clusterCount);
    this.used = new Uint32Array(words);
    this.held = new Uint32Array(words);
    this.#free = spec.clusterCount - spec.firstCluster;
    this.#cursor = spec.firstCluster;
    this.#topCursor = spec.clusterCount - 1;
  }

  get freeCount(): number {
    return this.#free;
  }

  get usedCount(): number {
    return this.#usedCount;
  }

  get usableCount(): number {
    return this.spec.clusterCount - this.spec.firstCluster;
  }

  /** Pieces of the bitmap, as the index stores them. */
  get chunkCount(): number {
    return this.used.length / wordsPerChunk;
  }

  /** The disk has more clusters than before; the new ones are free. */
  grow(clusterCount: number): void {
    invariant(clusterCount >= this.spec.clusterCount, 'a disk only grows');
    this.used = longer(this.used, wordsFor(clusterCount));
    this.held = longer(this.held, wordsFor(clusterCount));
    this.#free += clusterCount - this.spec.clusterCount;
    this.spec = { ...this.spec, clusterCount };
    this.#topCursor = clusterCount - 1;
  }

  isUsable(cluster: number): boolean {
    return cluster >= this.spec.firstCluster && cluster < this.spec.clusterCount;
  }

  isUsed(cluster: number): boolean {
    return getBit(this.used, cluster);
  }

  isFree(cluster: number): boolean {
    return !getBit(this.used, cluster) && !getBit(this.held, cluster);
  }

  /** A layer owns the cluster. @returns 'repeated' when one did already; else where it came from */
  use(cluster: number): 'held' | 'free' | 'adopted' | 'repeated' {
    if (getBit(this.used, cluster)) return 'repeated';
    setBit(this.used, cluster);
    this.#usedCount += 1;
    this.#dirty(cluster);
    if (this.#adopted.has(cluster)) return 'adopted';
    if (getBit(this.held, cluster)) {
      clearBit(this.held, cluster);
      return 'held';
    }
    this.#free -= 1;
    return 'free';
  }

  /** No layer owns the cluster any more; it stays held or becomes free. @returns false when none did */
  unuse(cluster: number, then: 'held' | 'free'): boolean {
    if (!getBit(this.used, cluster)) return false;
    clearBit(this.used, cluster);
    this.#usedCount -= 1;
    this.#dirty(cluster);
    if (then === 'held') setBit(this.held, cluster);
    // A checkpoint may have taken the cluster already, see adopt.
    else if (!getBit(this.held, cluster)) this.#free += 1;
    return true;
  }

  /**
   * Holds a cluster of a checkpoint found at open, whatever the journal's tail says of it: between the state that the checkpoint
   * reflects and the writing of its chain, layers may have owned and released it. The tail ends with its release.
   */
  adopt(cluster: number): void {
    if (!getBit(this.used, cluster)) this.#free -= 1;
    setBit(this.held, cluster);
    this.#adopted.add(cluster);
  }

  hold(cluster: number): void {
    invariant(this.isFree(cluster), `cluster ${cluster} is free`);
    setBit(this.held, cluster);
    this.#free -= 1;
  }

  unhold(cluster: number): void {
    invariant(getBit(this.held, cluster), `cluster ${cluster} is held`);
    clearBit(this.held, cluster);
    this.#adopted.delete(cluster);
    this.#free += 1;
  }

  /** Holds up to `count` free clusters, in long ascending runs where there are any, going round the disk. */
  holdRuns(count: number): Run[] {
    const runs: Run[] = [];
    const left = this.#collect(runs, Math.min(count, this.#free), favouredRunClusters);
    if (left > 0) this.#collect(runs, left, 1);
    return runs;
  }

  /** Holds up to `count` free clusters from the disk's end downwards, away from where data grows. */
  holdTop(count: number): number[] {
    const clusters: number[] = [];
    const start = this.#topCursor;
    this.#holdDown(clusters, count, start, this.spec.firstCluster);
    this.#holdDown(clusters, count, this.spec.clusterCount - 1, start + 1);
    return clusters;
  }

  /** Takes a stored chunk of `used` over. @returns false when it marks clusters that cannot be used */
  loadChunk(chunk: number, bytes: Uint8Array): boolean {
    const at = chunk * wordsPerChunk;
    if (bytes.length !== chunkBytes || at >= this.used.length) return false;
    const view = viewOf(bytes);
    for (let word = 0; word < wordsPerChunk; word++) {
      const bits = view.getUint32(4 * word, true);
      this.used[at + word] = bits;
      this.#usedCount += popCount(bits);
      this.#free -= popCount(bits);
    }
    return this.#marksUsableOnly(chunk);
  }

  /** The chunks changed since the last call, as they are now. */
  takeDirtyChunks(): { readonly chunk: number; readonly bytes: Uint8Array | null }[] {
    const chunks = [...this.#dirtyChunks].sort((a, b) => a - b);
    this.#dirtyChunks.clear();
    return chunks.map((chunk) => ({ chunk, bytes: this.#chunkBytes(chunk) }));
  }

  #chunkBytes(chunk: number): Uint8Array | null {
    const words = this.used.subarray(chunk * wordsPerChunk, (chunk + 1) * wordsPerChunk);
    if (words.every((word) => word === 0)) return null;
    const bytes = new Uint8Array(chunkBytes);
    const view = viewOf(bytes);
    for (let word = 0; word < wordsPerChunk; word++) {
      view.setUint32(4 * word, words[word] as number, true);
    }
    return bytes;
  }

  #marksUsableOnly(chunk: number): boolean {
    const nothingHeld = { used: this.used, held: this.held };
    const start = chunk * clustersPerChunk;
    const end = start + clustersPerChunk;
    const { firstCluster, clusterCount } = this.spec;
    const before = Math.min(Math.max(firstCluster, start), end);
    const behind = Math.min(Math.max(clusterCount, start), end);
    return (
      findNext(nothingHeld, 'taken', start, before) === before &&
      findNext(nothingHeld, 'taken', behind, end) === end
    );
  }

  #collect(runs: Run[], count: number, runClustersMin: number): number {
    const { firstCluster, clusterCount } = this.spec;
    const start = this.#cursor;
    const left = this.#collectIn(runs, count, runClustersMin, start, clusterCount);
    return left === 0 ? 0 : this.#collectIn(runs, left, runClustersMin, firstCluster, start);
  }

  #collectIn(
    runs: Run[],
    count: number,
    runClustersMin: number,
    from: number,
    end: number,
  ): number {
    let left = count;
    let at = from;
    while (left > 0) {
      const first = findNext(this, 'free', at, end);
      if (first === end) break;
      at = findNext(this, 'taken', first, Math.min(end, first + left));
      if (at - first < Math.min(runClustersMin, left)) continue;
      runs.push({ firstCluster: first, count: at - first });
      for (let cluster = first; cluster < at; cluster++) setBit(this.held, cluster);
      this.#free -= at - first;
      left -= at - first;
      this.#cursor = at === this.spec.clusterCount ? this.spec.firstCluster : at;
    }
    return left;
  }

  #holdDown(clusters: number[], count: number, from: number, end: number): void {
    let at = from;
    while (at >= end && clusters.length < count) {
      const word = at >>> 5;
      const taken = (this.used[word] as number) | (this.held[word] as number);
      if (taken === -1) {
        at = 32 * word - 1;
        continue;
      }
      if (this.isFree(at)) {
        this.hold(at);
        clusters.push(at);
        this.#topCursor = at;
      }
      at -= 1;
    }
  }

  #dirty(cluster: number): void {
    this.#dirtyChunks.add(Math.floor(cluster / clustersPerChunk));
  }
}

function wordsFor(clusterCount: number): number {
  invariant(clusterCount <= clusterCountMax, 'a disk has less than 2^31 clusters');
  return Math.ceil(clusterCount / clustersPerChunk) * wordsPerChunk;
}

function longer(bits: Uint32Array, words: number): Uint32Array {
  const grown = new Uint32Array(words);
  grown.set(bits);
  return grown;
}
