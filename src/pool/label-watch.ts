/**
 * LabelWatch: stands in place of the lease where a pool is only read: notices when somebody writes to it.
 *
 * Who only reads claims nothing, so that nobody would wait for him. What is read is whole as long as no label changes: an owner that
 * lives beats every few seconds, and one that takes the pool writes every label first. From then on places may hold other data, and
 * everything here fails. What was answered in the seconds before it was noticed may be of the new owner's.
 */
import type { Clock } from '../base/clock.ts';
import { isDiskIo, StorageError } from '../base/errors.ts';
import { labelNow, type PoolDisk } from './disk-set.ts';
import { FencedError } from './fenced.ts';
import type { LeaseListener, PoolLease } from './lease-keeper.ts';

export class LabelWatch implements PoolLease {
  readonly #disks: readonly PoolDisk[];
  readonly #stopTicking: () => void;
  #listener: Pick<LeaseListener, 'lost'> | undefined;
  #looking: Promise<void> | undefined;
  #stopped = false;

  /** @param disks those that are there, with the labels that were read */
  constructor(disks: readonly PoolDisk[], clock: Clock, everyMs: number) {
    this.#disks = disks;
    this.#stopTicking = clock.every(everyMs, () => this.#tick());
  }

  listen(listener: LeaseListener): void {
    this.#listener = listener;
  }

  /** @throws StorageError pool/held somebody wrote a label */
  async expectUnchanged(): Promise<void> {
    for (const { plane, location, label } of this.#disks) {
      const found = await labelNow(plane.inner, location.uri);
      if (found.epoch > label.epoch) throw new FencedError(found);
      if (found.generation !== label.generation) throw inUse(found.poolName);
    }
  }

  cover(): void {}

  hurry(): void {}

  end(): void {
    this.close();
  }

  async stop(): Promise<void> {
    this.close();
    await this.#looking;
  }

  close(): void {
    this.#stopped = true;
    this.#stopTicking();
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
  }

  /** A disk that does not answer says nothing. */
  async #look(): Promise<void> {
    try {
      await this.expectUnchanged();
    } catch (error) {
      if (!isDiskIo(error) && !this.#stopped) this.#listener?.lost(error);
    }
  }
}

function inUse(pool: string): StorageError {
  return new StorageError('pool/held', `pool ${pool} is written to by its owner`, {
    actions: [`varve pool export ${pool} forgets it here`],
  });
}
