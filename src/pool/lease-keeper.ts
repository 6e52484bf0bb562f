/**
 * LeaseKeeper: keeps the pool ours by heartbeats on every disk, and the data plane told until when it is.
 *
 *   held ⇄ run out        any disk's durable beat holds it again
 *     └───┴→ lost         another host has the pool; final
 *
 * Each disk is beaten by itself: one that hangs or is gone neither delays the others nor gathers beats. A beat reads the label
 * first and never writes over a higher epoch: that is how a takeover is noticed. A lease that had run out counts again
 * only after nobody else claimed the pool for settleMs behind the beat: a host that takes over does the same, so that of the two the
 * later one finds the other.
 */
import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { isDiskIo, StorageError } from '../base/errors.ts';
import type { DataPlane, LeasePlane } from '../dataplane/data-plane.ts';
import type { DiskSet, PoolDisk } from './disk-set.ts';
import type { LeaseTimes } from './lease.ts';

export interface LeaseListener {
  /** The pool is another's, or its labels are not ours any more; nothing is beaten from now on. */
  lost(error: unknown): void;
  /** No disk took a beat for so long that the data plane holds everything back. */
  ranOut(): void;
  heldAgain(): void;
  /** Told once for each time that it begins to fail. */
  beatFailed(disk: PoolDisk, error: unknown): void;
}

export interface LeaseKeeperParts {
  readonly disks: DiskSet;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly times: LeaseTimes;
}

/** What an open pool needs of whoever looks after its claim. */
export type PoolLease = Pick<LeaseKeeper, 'listen' | 'cover' | 'end' | 'hurry' | 'stop' | 'close'>;

export class LeaseKeeper {
  readonly #parts: LeaseKeeperParts;
  readonly #plane: LeasePlane;
  readonly #beating = new Map<PoolDisk, Promise<void>>();
  readonly #failing = new Set<PoolDisk>();
  readonly #stopTicking: () => void;
  #listener: LeaseListener | undefined;
  #untilMs: number;
  #lost: { readonly error: unknown } | undefined;
  #isRunOut = false;
  #patient = true;
  #stopped = false;

  private constructor(parts: LeaseKeeperParts, untilMs: number) {
    this.#parts = parts;
    this.#untilMs = untilMs;
    this.#plane = parts.dataPlane.openLease(untilMs);
    // Below the patience: what it tries again is looked at again.
    for (const disk of parts.disks.all) this.#plane.cover(disk.plane.inner);
    parts.disks.setLeaseEnd(() => this.#untilMs);
    this.#stopTicking = parts.clock.every(parts.times.heartbeatMs, () => this.#tick());
  }

  /**
   * Begins to beat.
   *
   * @param claimedMs of bootTimeMs, before the labels that claim the pool were written
   */
  static start(parts: LeaseKeeperParts, claimedMs: number): LeaseKeeper {
    return new LeaseKeeper(parts, claimedMs + parts.times.validMs);
  }

  /** One listener; told at once of a loss that it missed. */
  listen(listener: LeaseListener): void {
    this.#listener = listener;
    if (this.#lost !== undefined) listener.lost(this.#lost.error);
  }

  /** A disk has joined. */
  cover(disk: PoolDisk): void {
    this.#plane.cover(disk.plane.inner);
  }

  /** The pool writes nothing any more: whatever is held back fails. */
  end(options: { readonly fenced: boolean }): void {
    this.#stop();
    this.#plane.end(options);
  }

  /** From now on nobody waits for a lease that has run out: the pool is to be closed. */
  hurry(): void {
    this.#patient = false;
    if (this.#isRunOut) this.#tick();
  }

  /** No beat is written any more when it resolves. */
  async stop(): Promise<void> {
    this.#stop();
    await Promise.all(this.#beating.values());
  }

  close(): void {
    this.#stop();
    this.#plane.close();
  }

  get #now(): number {
    return this.#parts.dataPlane.bootTimeMs();
  }

  #stop(): void {
    this.#stopped = true;
    this.#stopTicking();
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#lookAtClock();
    if (this.#stopped) return;
    for (const disk of this.#parts.disks.all) {
      if (this.#beating.has(disk)) continue;
      const beat = this.#beat(disk).finally(() => this.#beating.delete(disk));
      this.#beating.set(disk, beat);
    }
  }

  #lookAtClock(): void {
    const overMs = this.#now - this.#untilMs;
    if (overMs < 0) return;
    if (!this.#isRunOut) this.#listener?.ranOut();
    this.#isRunOut = true;
    if (this.#patient || overMs < this.#parts.times.heartbeatMs) return;
    this.#lose(new StorageError('disk/io', 'no disk of the pool takes a heartbeat'));
  }

  async #beat(disk: PoolDisk): Promise<void> {
    const { disks, clock, times } = this.#parts;
    const startedMs = this.#now;
    const held = startedMs < this.#untilMs;
    try {
      await disks.writeLabel(disk, () => ({ heartbeatMs: clock.nowMs() }));
      if (!held) {
        await setTimeout(times.settleMs);
        await disks.expectOwnedNow(disk);
      }
      this.#failing.delete(disk);
      this.#renew(startedMs + times.validMs);
    } catch (error) {
      this.#beatFailed(disk, error);
    }
  }

  #renew(untilMs: number): void {
    if (this.#stopped || untilMs <= this.#untilMs) return;
    this.#untilMs = untilMs;
    this.#plane.renew(untilMs);
    if (!this.#isRunOut) return;
    this.#isRunOut = false;
    this.#listener?.heldAgain();
  }

  /** A disk that does not answer is no reason to let go; one whose label is not ours is. */
  #beatFailed(disk: PoolDisk, error: unknown): void {
    const hasLeft = !this.#parts.disks.all.includes(disk);
    if (hasLeft) return;
    if (!isDiskIo(error)) return this.#lose(error);
    if (this.#failing.has(disk)) return;
    this.#failing.add(disk);
    this.#listener?.beatFailed(disk, error);
  }

  #lose(error: unknown): void {
    if (this.#lost !== undefined) return;
    this.#lost = { error };
    this.#stop();
    this.#listener?.lost(error);
  }
}
