/**
 * Members: disks that join and leave a pool while it serves.
 *
 *   join    label of the new disk → pools.json → its record → labels of all → data, replica
 *   leave   nothing more is put on it → nothing is on it → no replica → checkpoint → labels of the others → record → label wiped
 *
 * The labels of the others decide: from the first one that names one disk more, it is asked for; from the first one that names one
 * less, it is not. Before a disk is named by all nothing is put on it; before one is named no more, nothing is on it, and no record of
 * the journal's tail speaks of it, so that its number may be used again. Killed in between, the next opening ends or undoes it.
 */
import { invariant, StorageError } from '../base/errors.ts';
import { Mutex } from '../base/mutex.ts';
import { formatSize } from '../base/size.ts';
import type { DiskLocation, PoolDisk } from './disk-set.ts';
import type { BatchOp } from './format/batch.ts';
import type { Label } from './format/label.ts';
import type { Grants } from './grants.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { deleteRecord, diskRecordName, diskRecordOp } from './pool-records.ts';
import type { ReplicaParts, Replicas } from './replicas.ts';

export interface MembersParts extends ReplicaParts {
  readonly replicas: Replicas;
  readonly lease: Pick<LeaseKeeper, 'cover'>;
  readonly grants: Grants;
  readonly commit: (ops: readonly BatchOp[]) => Promise<unknown>;
  /** Everything written so far is durable. */
  readonly flush: () => Promise<void>;
  /** A disk did its part, and something about it was left undone that does no harm. */
  readonly onUndone: (kind: string, message: string) => void;
}

/** What is on its way to the disk, or from it, ends within a few rounds. */
const settleRoundsMax = 8;

export class Members {
  readonly #parts: MembersParts;
  readonly #replicas: Replicas;
  /** Some label may name it no more: nothing is put on these in this life. */
  readonly #leaving = new Set<PoolDisk>();
  /** Of whoever begins replicas: a disk on its way out gets none. */
  readonly #turn = new Mutex();

  constructor(parts: MembersParts) {
    this.#parts = parts;
    this.#replicas = parts.replicas;
  }

  /** What the label of a disk says that joins next: a number that no disk has, and the members with it among them. */
  get next(): Pick<Label, 'diskNumber' | 'diskCount' | 'membership'> {
    const taken = this.#numbers;
    const free = taken.findIndex((number, at) => number !== at);
    const diskNumber = free < 0 ? taken.length : free;
    return { diskNumber, ...this.#membersWith([...taken, diskNumber]) };
  }

  /**
   * Takes a labelled disk in. Its record is durable before a label names it, and all name it before anything is put on it.
   *
   * @throws StorageError disk/io, pool/failed
   */
  async add(disk: PoolDisk): Promise<void> {
    const { disks, allocator, plane, lease, grants, commit } = this.#parts;
    const { diskNumber: number, diskCount, membership } = disk.label;
    lease.cover(disk);
    plane.addDisk(disk.plane, number);
    disks.add(disk);
    allocator.addDisk({ ...disk.label, number, journal: false });
    allocator.withhold(number, true);
    await commit([diskRecordOp(disk)]);
    await disks.writeLabels(() => ({ diskCount, membership }));
    allocator.withhold(number, false);
    grants.spaceFreed();
    await this.completeReplicas();
  }

  /** Makes up for replicas that are missing, where that can be done, and ends those too many. @param back were left behind, and may carry one again */
  completeReplicas(back: readonly PoolDisk[] = []): Promise<void> {
    return this.#turn.run(async () => {
      try {
        for (const disk of back) await this.#replicas.takeUp(disk);
        await this.#replicas.complete();
        await this.#replicas.endSurplus();
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        const message = `no replica of the journal was begun or ended: ${error.message}`;
        this.#parts.onUndone('pool/replica', message);
      }
    });
  }

  /**
   * What removing the disk needs, as far as it can be told without doing anything.
   *
   * @throws StorageError disk/not-empty, disk/needed; pool/failed
   */
  async expectRemovable(disk: PoolDisk): Promise<void> {
    const { disks, flush } = this.#parts;
    const { uri } = disk.location;
    if (disks.all.length === 1) {
      throw new StorageError('disk/needed', `disk ${uri} is the only one of its pool`, {
        actions: [`varve pool delete ${disk.label.poolName}`],
      });
    }
    // What was given up a moment ago counts as given up.
    await flush();
    this.#expectUnused(disk);
    const others = disks.journals.filter((other) => other !== disk);
    if (others.length > 0 || this.#replicas.candidates(disk).length > 0) return;
    const away = disks.all.filter((other) => other !== disk && this.#isAway(other));
    if (away.length > 0) throw onlyJournal(disk, away);
    throw new StorageError(
      'disk/needed',
      `disk ${uri} carries the only journal of its pool, and no other disk has room for one`,
      { actions: [`varve disk add ${disk.label.poolName} DISK-URI, then repeat`] },
    );
  }

  /**
   * Gives an empty disk up: it belongs to nobody afterwards, and is closed.
   *
   * @returns where it is
   * @throws StorageError disk/not-empty, disk/needed; disk/io, pool/failed it may be repeated
   */
  remove(disk: PoolDisk): Promise<DiskLocation> {
    return this.#turn.run(() => this.#remove(disk));
  }

  async #remove(disk: PoolDisk): Promise<DiskLocation> {
    const { allocator, grants } = this.#parts;
    const number = disk.label.diskNumber;
    await this.expectRemovable(disk);
    allocator.withhold(number, true);
    try {
      await this.#prepare(disk);
    } catch (error) {
      allocator.withhold(number, this.#leaving.has(disk));
      grants.spaceFreed();
      throw error;
    }
    await this.#leave(disk);
    return disk.location;
  }

  /** Up to the last step that can be taken back. */
  async #prepare(disk: PoolDisk): Promise<void> {
    const { disks, checkpointer, onTail } = this.#parts;
    await this.#settle(disk);
    if (disks.journals.includes(disk)) {
      const others = await this.#replicas.complete(disk);
      invariant(others > 0, 'a journal remains');
      await this.#replicas.end(disk);
    }
    // Behind it no record speaks of the disk.
    await checkpointer.take(onTail);
    await this.#replicas.settled(disk);
  }

  async #leave(disk: PoolDisk): Promise<void> {
    const { disks, allocator, plane, checkpointer, commit } = this.#parts;
    const number = disk.label.diskNumber;
    this.#leaving.add(disk);
    const others = disks.all.filter((other) => other !== disk);
    const members = this.#membersWith(this.#numbers.filter((member) => member !== number));
    await disks.writeLabels(() => members, others);
    // Its number may be another disk's from now on, and its own label counts no more.
    disks.takeUp(disk);
    checkpointer.forget(disk);
    await commit([deleteRecord(diskRecordName(number))]);
    await plane.removeDisk(number);
    allocator.removeDisk(number);
    this.#leaving.delete(disk);
    await this.#expel(disk);
  }

  async #expel(disk: PoolDisk): Promise<void> {
    try {
      await this.#parts.disks.expel(disk);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      const message = `disk ${disk.location.uri} is out of its pool, but still carries its label: ${error.message}`;
      this.#parts.onUndone('disk/not-wiped', message);
    }
  }

  /** Takes back what is granted on the disk, and waits for what is on its way back. @throws StorageError disk/not-empty */
  async #settle(disk: PoolDisk): Promise<void> {
    const { plane, grants, flush } = this.#parts;
    for (let round = 0; round < settleRoundsMax && this.#isHeld(disk); round++) {
      grants.takeBack(disk.label.diskNumber);
      await flush();
      await plane.grace();
      await grants.settled();
    }
    this.#expectUnused(disk);
    if (!this.#isHeld(disk)) return;
    throw notEmpty(disk, 'clusters of it are in the hands of an operation');
  }

  /** It may carry a journal later: it does not answer, or was given up a moment ago. */
  #isAway(disk: PoolDisk): boolean {
    const { state } = disk.plane.condition;
    return state !== 'online' || this.#parts.disks.isLeftBehind(disk);
  }

  #expectUnused(disk: PoolDisk): void {
    const { usedCount } = this.#parts.allocator.disk(disk.label.diskNumber);
    if (usedCount === 0) return;
    throw notEmpty(disk, `${formatSize(usedCount * disk.label.clusterBytes)} of volumes lie on it`);
  }

  /** By more than owners of clusters, of whom `expectUnused` tells. */
  #isHeld({ label }: PoolDisk): boolean {
    const { allocator } = this.#parts;
    const number = label.diskNumber;
    return allocator.occupiedCountOn(number) > allocator.disk(number).usedCount;
  }

  get #numbers(): readonly number[] {
    return this.#parts.disks.all.map(({ label }) => label.diskNumber).sort((a, b) => a - b);
  }

  #membersWith(numbers: readonly number[]): Pick<Label, 'diskCount' | 'membership'> {
    const known = this.#parts.disks.all.map(({ label }) => label.membership?.generation ?? 0);
    const generation = 1 + Math.max(...known);
    const ascending = [...numbers].sort((a, b) => a - b);
    return { diskCount: numbers.length, membership: { generation, numbers: ascending } };
  }
}

function onlyJournal({ location }: PoolDisk, away: readonly PoolDisk[]): StorageError {
  const others = away.map((disk) => disk.location.uri).join(', ');
  return new StorageError(
    'disk/io',
    `disk ${location.uri} carries the only journal of its pool as long as ${others} cannot carry one`,
    { actions: ['varve status says what they lack; repeat when they have a journal again'] },
  );
}

function notEmpty({ location }: PoolDisk, why: string): StorageError {
  return new StorageError('disk/not-empty', `disk ${location.uri} is not empty: ${why}`, {
    actions: [`varve disk drain ${location.uri}`],
  });
}
