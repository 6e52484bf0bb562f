/**
 * Allocator: which cluster of which disk is free, granted to the data plane, owned, or on its way back.
 *
 * Ownership follows the journal: `use` and `release` are called for durable records, in their order, and again for the same
 * records after a crash; doing either twice changes nothing. What was granted, or released but not yet
 * safe to reuse, lives in memory only: after a crash nobody can reach it, so it is free.
 * Elsewhere: when to grant (grants.ts), one disk's bitmaps (disk-space.ts).
 */
import { invariant, StorageError } from '../base/errors.ts';
import { DiskSpace, type DiskSpaceSpec } from './disk-space.ts';
import type { ClusterRun } from './format/batch.ts';
import { allocatorKey } from './format/index-keys.ts';
import type { IndexChange } from './index-store.ts';

export interface AllocatorDiskSpec extends DiskSpaceSpec {
  /** Carries a checkpoint, so keeps a reserve for it. */
  readonly journal: boolean;
}

/** One grant to one disk at a time: larger pieces would let a disk fall behind the others. */
const spreadClusters = 1024;

export interface ClusterPlace {
  readonly disk: number;
  readonly cluster: number;
}

/** Where clusters may come from; nothing said: any disk that takes new data. */
export interface Target {
  readonly disk?: number;
  readonly class?: string;
}

/** What the operator says of a disk. */
export interface Placement {
  /** A free label, for instance `ssd`; null: none. */
  readonly class: string | null;
  /** Takes no new data. */
  readonly cordoned: boolean;
}

const plain: Placement = { class: null, cordoned: false };

interface Released extends ClusterPlace {
  readonly sequence: number;
}

export class Allocator {
  readonly #disks = new Map<number, DiskSpace>();
  /** Disks that are only read: slots own their clusters, nothing is ever handed out or given back. */
  readonly #foreign = new Map<number, DiskSpace>();
  /** Bitmaps of foreign disks that are gone, to be taken out of the index. */
  #goneChunks: IndexChange[] = [];
  readonly #journalDisks = new Set<number>();
  readonly #placements = new Map<number, Placement>();
  /** Clusters held by each journal disk's checkpoints. */
  readonly #checkpointHeld = new Map<number, number>();
  readonly #reserveClusters: (totalClusters: number) => number;
  /** Released, in the order of their records. */
  #released: Released[] = [];
  /** Released and not free yet, by disk. */
  readonly #returning = new Map<number, number>();
  #granted = 0;
  /** Of these nothing is granted: they are joining the pool, or leaving it. */
  readonly #withheld = new Set<number>();
  #avoided: ReadonlySet<number> = new Set();

  /** @param reserveClusters how many clusters a journal disk keeps for checkpoints of a pool of that many */
  constructor(
    disks: readonly AllocatorDiskSpec[],
    reserveClusters: (totalClusters: number) => number,
  ) {
    this.#reserveClusters = reserveClusters;
    for (const disk of disks) this.addDisk(disk);
  }

  addDisk(spec: AllocatorDiskSpec): void {
    invariant(!this.#disks.has(spec.number), `disk ${spec.number} is new`);
    this.#disks.set(spec.number, new DiskSpace(spec));
    this.setJournal(spec.number, spec.journal);
  }

  /** Nobody has anything on the disk. */
  removeDisk(number: number): void {
    invariant(this.occupiedCountOn(number) === 0, `nothing lies on disk ${number}`);
    invariant(this.checkpointCountOn(number) === 0, `disk ${number} carries no checkpoint`);
    this.#disks.delete(number);
    this.#journalDisks.delete(number);
    this.#withheld.delete(number);
    this.#placements.delete(number);
    this.#checkpointHeld.delete(number);
    this.#returning.delete(number);
  }

  /** Whether the disk carries a checkpoint, so keeps a reserve for it. */
  setJournal(number: number, journal: boolean): void {
    if (journal) this.#journalDisks.add(number);
    else this.#journalDisks.delete(number);
  }

  /** Whether nothing of the disk is to be granted; what is granted already stays granted. */
  withhold(number: number, withheld: boolean): void {
    if (withheld) this.#withheld.add(number);
    else this.#withheld.delete(number);
  }

  /** Whether the disk could take a checkpoint and the one that replaces it, when nothing of it was granted. */
  hasRoomForCheckpoint(number: number): boolean {
    const owned = this.usedCountOn(number) + this.checkpointCountOn(number);
    return this.disk(number).usableCount - owned >= this.#reserveClusters(this.usableCount);
  }

  /** A disk that layers own clusters of, and that is no space of the pool's. */
  addForeign(spec: DiskSpaceSpec): void {
    invariant(!this.#disks.has(spec.number), `disk ${spec.number} is not the pool's own`);
    if (!this.#foreign.has(spec.number)) this.#foreign.set(spec.number, new DiskSpace(spec));
  }

  /** Nothing points to it any more. */
  removeForeign(number: number): void {
    const disk = this.#foreign.get(number);
    if (disk === undefined) return;
    for (let chunk = 0; chunk < disk.chunkCount; chunk++) {
      this.#goneChunks.push({ key: allocatorKey(number, chunk), value: null });
    }
    this.#foreign.delete(number);
  }

  /** Clusters of a foreign disk that layers own. */
  foreignUsedCount(number: number): number {
    return this.#foreign.get(number)?.usedCount ?? 0;
  }

  /** See DiskSpace.grow. */
  growDisk(number: number, clusterCount: number): void {
    this.disk(number).grow(clusterCount);
  }

  /** Disks on which nothing is put as long as others have room. */
  avoid(numbers: readonly number[]): void {
    this.#avoided = new Set(numbers);
  }

  get disks(): readonly DiskSpace[] {
    return [...this.#disks.values()];
  }

  disk(number: number): DiskSpace {
    const disk = this.#disks.get(number);
    invariant(disk !== undefined, `disk ${number} belongs to the pool`);
    return disk;
  }

  /** Clusters that the data plane may still use of its grants. */
  get grantedCount(): number {
    return this.#granted;
  }

  get usableCount(): number {
    return this.disks.reduce((sum, disk) => sum + disk.usableCount, 0);
  }

  /** Clusters of layers, and those on their way back from them: nobody can have these yet. */
  get usedCount(): number {
    return this.disks.reduce((sum, disk) => sum + this.usedCountOn(disk.spec.number), 0);
  }

  usedCountOn(number: number): number {
    return this.disk(number).usedCount + (this.#returning.get(number) ?? 0);
  }

  /** Clusters held by checkpoints. */
  get checkpointCount(): number {
    return [...this.#checkpointHeld.values()].reduce((sum, count) => sum + count, 0);
  }

  checkpointCountOn(disk: number): number {
    return this.#checkpointHeld.get(disk) ?? 0;
  }

  /** Clusters kept back for future checkpoints. */
  get reserveCount(): number {
    return this.disks.reduce((sum, disk) => sum + this.#reserveLeft(disk), 0);
  }

  /** Free clusters that may be granted to data. */
  get grantableCount(): number {
    return this.grantableOf({});
  }

  grantableOf(target: Target): number {
    return this.#disksOf(target).reduce((sum, disk) => sum + this.#grantable(disk), 0);
  }

  /** Numbers of the disks that the target's clusters may come from. */
  disksOf(target: Target): number[] {
    return this.#disksOf(target).map(({ spec }) => spec.number);
  }

  placement(number: number): Placement {
    return this.#placements.get(number) ?? plain;
  }

  /** What is granted already stays granted. */
  place(number: number, placement: Placement): void {
    this.#placements.set(number, placement);
  }

  /** Free clusters of cordoned disks. */
  get cordonedCount(): number {
    return this.disks
      .filter(({ spec }) => this.placement(spec.number).cordoned)
      .reduce((sum, disk) => sum + this.#grantable(disk), 0);
  }

  /** Clusters of that disk that are not free: of layers, granted, or on their way back; checkpoints are not counted. */
  occupiedCountOn(number: number): number {
    const disk = this.disk(number);
    return disk.usableCount - disk.freeCount - this.checkpointCountOn(number);
  }

  /** Clusters that a target's disks can give to data, those among them that are granted already. */
  roomOf(target: Target): number {
    return this.#disksOf(target).reduce((sum, disk) => sum + this.#room(disk), 0);
  }

  /** The same of the other disks. */
  roomBeside(number: number): number {
    const others = this.#disksOf({}).filter(({ spec }) => spec.number !== number);
    return others.reduce((sum, disk) => sum + this.#room(disk), 0);
  }

  /**
   * A layer owns the cluster from now on.
   *
   * @returns false when it was owned already, as in a replay or a change of the slot's mask
   * @throws StorageError pool/damaged no disk of the pool has such a cluster
   */
  use(disk: number, cluster: number): boolean {
    const from = this.#usable(disk, cluster).use(cluster);
    if (from === 'held') this.#granted -= 1;
    return from !== 'repeated';
  }

  /**
   * The record `sequence` gave the cluster up; it becomes free with `settleReleased`.
   *
   * @returns false when nobody owned it, as in a replay
   * @throws StorageError pool/damaged no disk of the pool has such a cluster
   */
  release(disk: number, cluster: number, sequence: number): boolean {
    // Nobody else ever gets a foreign cluster, so there is nothing to wait for, and nothing to punch.
    if (this.#foreign.has(disk)) return this.releaseNow(disk, cluster);
    if (!this.#usable(disk, cluster).unuse(cluster, 'held')) return false;
    this.#released.push({ sequence, disk, cluster });
    this.#returning.set(disk, (this.#returning.get(disk) ?? 0) + 1);
    return true;
  }

  /** As `release`, in a replay: no request can reach the cluster, so that it is free at once. */
  releaseNow(disk: number, cluster: number): boolean {
    return this.#usable(disk, cluster).unuse(cluster, 'free');
  }

  /** Takes the runs released by records up to `sequence`, coalesced; they stay held until `free` is called with them. */
  takeReleased(sequence: number): ClusterRun[] {
    const first = this.#released.findIndex((released) => released.sequence > sequence);
    const count = first === -1 ? this.#released.length : first;
    return coalesce(this.#released.splice(0, count));
  }

  /** What `takeReleased` gave becomes free. */
  free(runs: readonly ClusterRun[]): void {
    for (const run of runs) {
      const disk = this.disk(run.disk);
      for (let at = 0; at < run.count; at++) disk.unhold(run.firstCluster + at);
      this.#returning.set(run.disk, (this.#returning.get(run.disk) ?? 0) - run.count);
    }
  }

  /** Of those clusters the ones that are free, coalesced: a replay may have used others again. */
  stillFree(clusters: readonly ClusterPlace[]): ClusterRun[] {
    return coalesce(
      clusters.filter(({ disk, cluster }) => this.#disks.get(disk)?.isFree(cluster) ?? false),
    );
  }

  /** Holds up to `count` clusters for the data plane, on the target's disks in proportion to what they can give. */
  grant(count: number, target: Target = {}): ClusterRun[] {
    const runs: ClusterRun[] = [];
    const disks = this.#disksOf(target);
    let left = Math.min(count, this.grantableOf(target));
    while (left > 0) {
      const disk = this.#roomiest(disks);
      const share = Math.min(left, spreadClusters, this.#grantable(disk));
      for (const run of disk.holdRuns(share)) runs.push({ disk: disk.spec.number, ...run });
      left -= share;
      this.#granted += share;
    }
    return runs;
  }

  /** Of what `grant` gave: nobody uses these. */
  ungrant(runs: readonly ClusterRun[]): void {
    for (const run of runs) {
      const disk = this.disk(run.disk);
      for (let at = 0; at < run.count; at++) disk.unhold(run.firstCluster + at);
      this.#granted -= run.count;
    }
  }

  /**
   * Holds up to `count` clusters for a checkpoint on a journal disk, from the reserve or whatever is free.
   *
   * @throws StorageError pool/full there is none
   */
  holdForCheckpoint(number: number, count: number): number[] {
    const clusters = this.disk(number).holdTop(count);
    if (clusters.length === 0) {
      throw new StorageError('pool/full', `disk ${number} has no room for a checkpoint`);
    }
    this.#checkpointHeld.set(number, this.checkpointCountOn(number) + clusters.length);
    return clusters;
  }

  /** The clusters of a checkpoint found on the disk at open. */
  adoptCheckpoint(number: number, clusters: readonly number[]): void {
    const disk = this.disk(number);
    for (const cluster of clusters) disk.adopt(cluster);
    this.#checkpointHeld.set(number, this.checkpointCountOn(number) + clusters.length);
  }

  freeCheckpoint(number: number, clusters: readonly number[]): void {
    const disk = this.disk(number);
    for (const cluster of clusters) disk.unhold(cluster);
    this.#checkpointHeld.set(number, this.checkpointCountOn(number) - clusters.length);
  }

  /** @returns false when the chunk is not one of the disk's */
  loadChunk(disk: number, chunk: number, bytes: Uint8Array): boolean {
    return this.#any(disk)?.loadChunk(chunk, bytes) ?? false;
  }

  /** Bitmap chunks changed since the last call, as the index stores them. */
  takeChanges(): IndexChange[] {
    const gone = this.#goneChunks;
    this.#goneChunks = [];
    const changed = [...this.disks, ...this.#foreign.values()].flatMap((disk) =>
      disk.takeDirtyChunks().map(({ chunk, bytes }) => ({
        key: allocatorKey(disk.spec.number, chunk),
        value: bytes,
      })),
    );
    return [...gone, ...changed];
  }

  #any(number: number): DiskSpace | undefined {
    return this.#disks.get(number) ?? this.#foreign.get(number);
  }

  #usable(number: number, cluster: number): DiskSpace {
    const disk = this.#any(number);
    if (disk?.isUsable(cluster)) return disk;
    throw new StorageError('pool/damaged', `cluster ${cluster} of disk ${number} does not exist`);
  }

  #reserveLeft(disk: DiskSpace): number {
    const { number } = disk.spec;
    if (!this.#journalDisks.has(number)) return 0;
    const held = this.checkpointCountOn(number);
    const left = Math.max(0, this.#reserveClusters(this.usableCount) - held);
    return Math.min(left, disk.freeCount);
  }

  #room(disk: DiskSpace): number {
    const { number } = disk.spec;
    const taken = this.usedCountOn(number) + this.checkpointCountOn(number);
    return Math.max(0, disk.usableCount - taken - this.#reserveLeft(disk));
  }

  #grantable(disk: DiskSpace): number {
    if (this.#withheld.has(disk.spec.number)) return 0;
    return disk.freeCount - this.#reserveLeft(disk);
  }

  #roomiest(disks: readonly DiskSpace[]): DiskSpace {
    const share = (disk: DiskSpace) => this.#grantable(disk) / disk.usableCount;
    const answering = disks.filter(
      (disk) => !this.#avoided.has(disk.spec.number) && this.#grantable(disk) > 0,
    );
    // A writer that has to wait for a disk waits; that there is no space would be untrue.
    return (answering.length > 0 ? answering : disks).reduce((best, disk) =>
      share(disk) > share(best) ? disk : best,
    );
  }

  #disksOf(target: Target): DiskSpace[] {
    return this.disks.filter(({ spec: { number } }) => {
      const { class: itsClass, cordoned } = this.placement(number);
      const isWanted = target.disk === undefined || target.disk === number;
      return !cordoned && isWanted && (target.class === undefined || target.class === itsClass);
    });
  }
}

/** The clusters of a run. */
export function placesOf({ disk, firstCluster, count }: ClusterRun): ClusterPlace[] {
  return Array.from({ length: count }, (_, at) => ({ disk, cluster: firstCluster + at }));
}

/** Clusters as ascending runs, disk by disk. */
export function coalesce(clusters: readonly ClusterPlace[]): ClusterRun[] {
  const sorted = [...clusters].sort((a, b) => a.disk - b.disk || a.cluster - b.cluster);
  const runs: { disk: number; firstCluster: number; count: number }[] = [];
  for (const { disk, cluster } of sorted) {
    const last = runs.at(-1);
    const follows = last?.disk === disk && last.firstCluster + last.count === cluster;
    if (follows) last.count += 1;
    else runs.push({ disk, firstCluster: cluster, count: 1 });
  }
  return runs;
}
