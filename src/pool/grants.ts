/**
 * Grants: keeps the data plane supplied with free clusters, and brings released ones back.
 *
 *   free → granted → (written) → … → released → safe → punched out of the disk → free
 *
 * Volumes take from groups of the grant, one for each target that they are placed on. Where a target has nothing left, its volumes get
 * clusters of any other disk rather than none; before a group is told that there is nothing, whatever volumes and other groups set aside is taken back.
 * A cluster is punched before it is free, never after: a punch must not hit its next owner.
 * Elsewhere: how long writers wait when there is nothing (space-patience.ts).
 */

import { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { grantGroups, type PoolPlane } from '../dataplane/data-plane.ts';
import type { Allocator, Target } from './allocator.ts';
import type { DiskSet } from './disk-set.ts';
import type { ClusterRun } from './format/batch.ts';

/** At 50,000 new clusters a second the data plane can do without JavaScript for a second. */
const grantClustersMax = 65536;
const grantClustersMin = 16;

export class Grants {
  readonly #allocator: Allocator;
  readonly #disks: DiskSet;
  readonly #plane: PoolPlane;
  readonly #log: Log;
  readonly #discarding = new Set<Promise<void>>();
  /** Of each group. */
  readonly #targets: Target[] = [{}];
  /** Groups that were told that there is nothing. */
  readonly #exhausted = new Set<number>();
  readonly #onSpill: (target: Target) => void;
  readonly #holdsWriters: () => boolean;
  readonly #onExhausted: () => void;
  readonly #onRelief: () => void;
  #halted = false;
  #closed = false;

  constructor(parts: {
    allocator: Allocator;
    disks: DiskSet;
    plane: PoolPlane;
    log: Log;
    /** A target has nothing left: its volumes get what there is elsewhere. */
    onSpill: (target: Target) => void;
    /** Whether guests' writes wait, rather than fail, when there is nothing. */
    holdsWriters: () => boolean;
    /** Some are about to be told that there is nothing. */
    onExhausted: () => void;
    /** There is space again for those who were told that there is none. */
    onRelief: () => void;
  }) {
    this.#onSpill = parts.onSpill;
    this.#holdsWriters = parts.holdsWriters;
    this.#onExhausted = parts.onExhausted;
    this.#onRelief = parts.onRelief;
    this.#allocator = parts.allocator;
    this.#disks = parts.disks;
    this.#plane = parts.plane;
    this.#log = parts.log;
  }

  /**
   * Tops up what the data plane holds; `left` of what it was given is unused.
   *
   * Gives something whenever there is anything: it asks once per top-up, and waits without end for one that never comes.
   */
  replenish(group: number, left: number): void {
    if (this.#closed) return;
    const target = this.#targets[group] ?? {};
    const free = this.#allocator.grantableOf(target) + left;
    const wanted = Math.min(Math.floor(free / 2), grantClustersMax) - left;
    const runs = this.#take(target, Math.max(wanted, grantClustersMin), group);
    if (runs.length > 0) {
      if (this.#exhausted.delete(group)) this.#onRelief();
      this.#plane.grant(runs.flatMap(toTriple), group);
    } else {
      this.#exhausted.add(group);
      this.#onExhausted();
      this.#plane.grantExhausted(group, { hold: this.#holdsWriters() });
    }
  }

  /** Whether someone was told that there is nothing. */
  get isExhausted(): boolean {
    return this.#exhausted.size > 0;
  }

  /** The group of the grant for that target; that of no target when there are too many. */
  groupOf(target: Target): number {
    const same = this.#targets.findIndex(
      (known) => known.disk === target.disk && known.class === target.class,
    );
    if (same >= 0) return same;
    if (this.#targets.length === grantGroups) return 0;
    return this.#targets.push(target) - 1;
  }

  /** Of the target, also what others have there and do not use; else of any disk. */
  #take(target: Target, count: number, group: number): ClusterRun[] {
    const own = this.#allocator.grant(count, target);
    if (own.length > 0) return own;
    this.#takeBackOf(target);
    const others = this.#allocator.grant(grantClustersMin, target);
    if (others.length > 0 || group === 0) return others;
    this.#takeBackOf({});
    const any = this.#allocator.grant(grantClustersMin);
    if (any.length > 0) this.#onSpill(target);
    return any;
  }

  /** Nothing of the target's disks is granted any more; who runs out asks again. */
  #takeBackOf(target: Target): void {
    for (const number of this.#allocator.disksOf(target)) this.takeBack(number);
  }

  /**
   * Free clusters for the control plane itself, also those that the data plane has no use for yet: of the first target that has so many.
   *
   * @throws StorageError pool/full none has
   */
  hold(count: number, targets: readonly Target[]): ClusterRun[] {
    const target = targets.find((each) => this.#hasRoom(each, count));
    const held = target === undefined ? [] : this.#allocator.grant(count, target);
    // What was taken back and is not needed here.
    this.spaceFreed();
    if (target !== undefined) return held;
    // Writers who wait for the control plane to take some had better wait for these.
    for (const group of this.#targets.keys()) this.replenish(group, 0);
    throw new StorageError('pool/full', `the pool has no ${count} free clusters left`);
  }

  #hasRoom(target: Target, count: number): boolean {
    if (this.#allocator.grantableOf(target) < count) this.#takeBackOf(target);
    return this.#allocator.grantableOf(target) >= count;
  }

  /** What `hold` gave and nobody owns. */
  giveBack(runs: readonly ClusterRun[]): void {
    this.#allocator.ungrant(runs);
    this.spaceFreed();
  }

  /** From now on nothing is put on those disks as long as others have room; what the data plane has of them and does not use is chosen anew. */
  avoid(disks: readonly number[]): void {
    if (this.#closed) return;
    this.#allocator.avoid(disks);
    for (const disk of disks) this.takeBack(disk);
    for (const group of this.#targets.keys()) this.replenish(group, 0);
  }

  /** There may be more space than before, or another patience: who was told that there is nothing is told anew. */
  spaceFreed(): void {
    for (const group of [...this.#exhausted]) this.replenish(group, 0);
  }

  /** Records up to `sequence` released clusters that nobody reaches any more. */
  reclaim(sequence: number): void {
    if (this.#halted) return;
    const runs = this.#allocator.takeReleased(sequence);
    if (runs.length === 0) return;
    const work = this.discard(runs).then(() => {
      this.#allocator.free(runs);
      this.spaceFreed();
    });
    this.#discarding.add(work);
    void work.finally(() => this.#discarding.delete(work));
  }

  /** Gives the space of clusters back to whatever the disks lie on. A disk that cannot keeps it: no harm is done. */
  async discard(runs: readonly ClusterRun[]): Promise<void> {
    await Promise.all(
      this.#disks.all.map(async ({ label, plane, location }) => {
        const ours = runs.filter((run) => run.disk === label.diskNumber);
        if (ours.length === 0) return;
        const ranges = ours.flatMap((run) => [
          run.firstCluster * label.clusterBytes,
          run.count * label.clusterBytes,
        ]);
        try {
          await plane.discard(ranges);
        } catch (error) {
          this.#log.warn({ disk: location.uri, error }, 'freed space could not be given back');
        }
      }),
    );
  }

  /** Nobody has clusters of that disk any more but whoever is just writing to them. */
  takeBack(disk: number): void {
    this.#allocator.ungrant(runsOf(this.#plane.takeBackDisk(disk)));
  }

  /** Resolves when the discards begun have ended, and their clusters are free. */
  async settled(): Promise<void> {
    await Promise.all(this.#discarding);
  }

  /** The pool has failed: nothing is punched out of its disks any more. */
  halt(): void {
    this.#halted = true;
  }

  /** The data plane has closed the pool: gives it nothing more, and waits for the discards begun. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.settled();
  }
}

function toTriple(run: ClusterRun): [number, number, number] {
  return [run.disk, run.firstCluster, run.count];
}

function runsOf(triples: readonly number[]): ClusterRun[] {
  return Array.from({ length: triples.length / 3 }, (_, at) => {
    const [disk, firstCluster, count] = triples.slice(3 * at, 3 * at + 3) as [
      number,
      number,
      number,
    ];
    return { disk, firstCluster, count };
  });
}
