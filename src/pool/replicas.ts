/**
 * Replicas of journal and checkpoint that begin and end in mid-life.
 *
 *   begin   checkpoint → ring copied and synced, written from then on → checkpoint, and with it the label that says so
 *   end     label that says no more, in both copies → ring no longer written
 *
 * So that a disk says that it carries a replica only while its ring holds every durable record: recovery believes the label
 * alone. The first checkpoint makes the part of the ring that is copied short, because rounds wait for the copy.
 */
import type { PoolPlane } from '../dataplane/data-plane.ts';
import type { Allocator } from './allocator.ts';
import type { Checkpointer, OnTail } from './checkpoint.ts';
import { type DiskSet, explained, type PoolDisk } from './disk-set.ts';
import { hasRoomForRing, journalReplicasMax, labelAreaBytes } from './format/geometry.ts';
import type { Grants } from './grants.ts';

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

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  /**
   * Begins replicas until there are as many as there should be, or no disk is left that could carry one.
   *
   * @param leaving does not count, and gets none
   * @returns how many there are besides
   * @throws StorageError disk/io, pool/full
   */
  async complete(leaving?: PoolDisk): Promise<number> {
    for (;;) {
      const count = this.#parts.disks.journals.filter((disk) => disk !== leaving).length;
      const [next] = count < journalReplicasMax ? this.candidates(leaving) : [];
      if (next === undefined) return count;
      await this.#begin(next);
    }
  }

  /** Disks that could carry a replica and do not, the one with the least data first. */
  candidates(leaving?: PoolDisk): PoolDisk[] {
    const { disks, allocator } = this.#parts;
    const usedOn = ({ label }: PoolDisk) => allocator.usedCountOn(label.diskNumber);
    return disks.all
      .filter((disk) => disk !== leaving && disk.label.journalBytes === 0)
      .filter(({ label }) => hasRoomForRing(label, disks.journalBytes))
      .filter(({ label }) => allocator.hasRoomForCheckpoint(label.diskNumber))
      .sort((a, b) => usedOn(a) - usedOn(b));
  }

  /** @throws StorageError disk/io */
  async end(disk: PoolDisk): Promise<void> {
    const { checkpointer, plane, allocator } = this.#parts;
    const number = disk.label.diskNumber;
    await checkpointer.leave(disk);
    allocator.setJournal(number, false);
    await plane.endReplica(number);
  }

  async #begin(disk: PoolDisk): Promise<void> {
    const { disks, allocator, checkpointer, plane, grants, onTail } = this.#parts;
    const number = disk.label.diskNumber;
    const ring = { journalOffset: labelAreaBytes, journalBytes: disks.journalBytes };
    await checkpointer.take(onTail);
    await explained(disk, () => plane.beginReplica(number, ring.journalOffset));
    try {
      // From here on it keeps a reserve, which may all be granted yet.
      allocator.setJournal(number, true);
      grants.takeBack(number);
      await checkpointer.take(onTail, { disk, ring });
    } catch (error) {
      allocator.setJournal(number, disk.label.journalBytes > 0);
      if (disk.label.journalBytes === 0) await plane.endReplica(number);
      throw error;
    }
  }
}
