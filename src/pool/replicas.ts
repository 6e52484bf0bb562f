/**
 * Replicas of journal and checkpoint that begin and end in mid-life.
 *
 *   begin   checkpoint → ring copied and synced, written from then on → checkpoint, and with it the label that says so
 *   end     label that says no more, in both copies → ring no longer written
 *   lose    labels of the other replicas that say no more → ring no longer written: the disk itself does not answer (lost-replicas.ts)
 *   regain  both copies of its own label say that it carries none → labels may forget that it was lost → begin
 *
 * So that a disk says that it carries a replica, and no newer label denies it, only while its ring holds every durable record: recovery
 * believes the labels alone. The first checkpoint makes the part of the ring that is copied short, because rounds wait for the copy.
 * A ring is begun only when nothing of an earlier time is on its way to it.
 */
import { StorageError } from '../base/errors.ts';
import { DataPlaneError, type PoolPlane } from '../dataplane/data-plane.ts';
import type { Allocator } from './allocator.ts';
import { type Checkpointer, denyRing, type OnTail } from './checkpoint.ts';
import { type DiskSet, explained, type PoolDisk } from './disk-set.ts';
import { hasRoomForRing, journalReplicasMax, labelAreaBytes } from './format/geometry.ts';
import type { Grants } from './grants.ts';

const ETIMEDOUT = 110;

export interface ReplicaParts {
  readonly disks: DiskSet;
  readonly allocator: Allocator;
  readonly checkpointer: Checkpointer;
  readonly plane: PoolPlane;
  readonly grants: Pick<Grants, 'takeBack'>;
  readonly onTail: OnTail;
}

export class Replicas {
  readonly #parts: ReplicaParts;
  /** What was on its way to rings that are no longer written. */
  readonly #ending = new Map<PoolDisk, Promise<void>>();

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  /**
   * Begins replicas until there are as many as there should be, or no disk is left that could carry one. The place of one that was lost is
   * kept as long as its disk may come back.
   *
   * @param leaving does not count, and gets none
   * @returns how many there are besides
   * @throws StorageError disk/io, pool/full
   */
  async complete(leaving?: PoolDisk): Promise<number> {
    const { disks } = this.#parts;
    for (;;) {
      const count = disks.journals.filter((disk) => disk !== leaving).length;
      const kept = disks.leftBehind.filter((disk) => disk !== leaving && !isGivenUp(disk)).length;
      const [next] = count + kept < journalReplicasMax ? this.candidates(leaving) : [];
      if (next === undefined) return count;
      await this.#begin(next);
    }
  }

  /**
   * Ends replicas until there are no more than there should be, those on the disks with the most data. A disk's leaving that is cut short
   * leaves its own besides the one that was to stand in for it.
   *
   * @throws StorageError disk/io
   */
  async endSurplus(): Promise<void> {
    const { disks } = this.#parts;
    const surplus = disks.journals.length - journalReplicasMax;
    if (surplus <= 0) return;
    const answering = disks.journals.filter((disk) => this.#isReady(disk));
    for (const disk of this.#byData(answering).slice(-surplus)) await this.end(disk);
  }

  /** Disks that could carry a replica and do not, the one with the least data first. */
  candidates(leaving?: PoolDisk): PoolDisk[] {
    const { disks, allocator } = this.#parts;
    const able = disks.all
      .filter((disk) => disk !== leaving && disk.label.journalBytes === 0)
      .filter((disk) => !disks.isLeftBehind(disk) && this.#isReady(disk))
      .filter(({ label }) => hasRoomForRing(label, disks.journalBytes))
      .filter(({ label }) => allocator.hasRoomForCheckpoint(label.diskNumber));
    return this.#byData(able);
  }

  /** @throws StorageError disk/io */
  async end(disk: PoolDisk): Promise<void> {
    const { checkpointer, allocator } = this.#parts;
    const number = disk.label.diskNumber;
    await checkpointer.leave(disk);
    allocator.setJournal(number, false);
    await this.#endRing(disk);
  }

  /**
   * The disk's ring is no longer written, and whoever waits for it goes on: the labels of all `journals` say durably that it was left behind.
   */
  lose(disk: PoolDisk): void {
    const { allocator, checkpointer } = this.#parts;
    checkpointer.forget(disk);
    allocator.setJournal(disk.label.diskNumber, false);
    void this.#endRing(disk);
  }

  /** Whether the ring of a disk that was left behind could be begun again now. */
  isBack(disk: PoolDisk): boolean {
    return this.#parts.disks.isLeftBehind(disk) && this.#isReady(disk);
  }

  /** A disk that was left behind may carry a replica again: there is none on it yet. @throws StorageError disk/io */
  async takeUp(disk: PoolDisk): Promise<void> {
    const { disks } = this.#parts;
    await denyRing(disks, disk);
    disks.takeUp(disk);
  }

  /** Nothing of journal or checkpoint is on its way to the disk, which carries no replica. */
  async settled(disk: PoolDisk): Promise<void> {
    await this.#ending.get(disk);
    await this.#parts.checkpointer.settled(disk);
  }

  async #copyRing(disk: PoolDisk, offset: number): Promise<void> {
    const { plane } = this.#parts;
    try {
      await explained(disk, () => plane.beginReplica(disk.label.diskNumber, offset));
    } catch (error) {
      // Some of the copy may be on its way still.
      if (isUnanswered(error)) void this.#endRing(disk);
      throw error;
    }
  }

  /** The one with the least data first. */
  #byData(disks: readonly PoolDisk[]): PoolDisk[] {
    const usedOn = ({ label }: PoolDisk) => this.#parts.allocator.usedCountOn(label.diskNumber);
    return [...disks].sort((a, b) => usedOn(a) - usedOn(b));
  }

  #isReady(disk: PoolDisk): boolean {
    return !this.#ending.has(disk) && disk.plane.condition.state === 'online';
  }

  #endRing(disk: PoolDisk): Promise<void> {
    const ending = this.#parts.plane.endReplica(disk.label.diskNumber).finally(() => {
      if (this.#ending.get(disk) === ending) this.#ending.delete(disk);
    });
    this.#ending.set(disk, ending);
    return ending;
  }

  async #begin(disk: PoolDisk): Promise<void> {
    const { disks, allocator, checkpointer, grants, onTail } = this.#parts;
    const number = disk.label.diskNumber;
    const ring = { journalOffset: labelAreaBytes, journalBytes: disks.journalBytes };
    await checkpointer.take(onTail);
    await this.#copyRing(disk, ring.journalOffset);
    try {
      // From here on it keeps a reserve, which may all be granted yet.
      allocator.setJournal(number, true);
      grants.takeBack(number);
      await checkpointer.take(onTail, { disk, ring });
      if (!disks.journals.includes(disk)) throw lostAtOnce(disk);
    } catch (error) {
      const isReplica = disks.journals.includes(disk);
      allocator.setJournal(number, isReplica);
      // What hangs on its way there is waited for when it is to begin again.
      if (!isReplica) void this.#endRing(disk);
      throw error;
    }
  }
}

function isGivenUp({ plane }: PoolDisk): boolean {
  return plane.condition.state === 'failed';
}

function isUnanswered(error: unknown): boolean {
  const cause = error instanceof StorageError ? error.cause : undefined;
  return cause instanceof DataPlaneError && cause.errno === ETIMEDOUT;
}

function lostAtOnce({ location }: PoolDisk): StorageError {
  return new StorageError('disk/io', `disk ${location.uri} stopped answering as its replica began`);
}
