/**
 * Maintenance: when the overlay goes into the index, and when the index goes onto the disks.
 *
 *   fold        many leaves pending, much journal since the last one, or nothing new for five seconds
 *   checkpoint  the ring is over half full, or full
 *
 * Work that can wait leaves the ring's last quarter to guests: while a checkpoint of a large map is written, they would wait for its end.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Chore } from '../base/chore.ts';
import type { Clock } from '../base/clock.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { PoolIndex } from './pool-index.ts';

/** About 10 MiB of overlay. */
const pendingLeavesMax = 16 * 1024;
const unfoldedBytesMax = 8 * 1024 * 1024;
const idleMs = 5_000;
const lookIntervalMs = 1_000;
const roomLookMs = 100;

export interface MaintenanceParts {
  readonly clock: Clock;
  readonly index: PoolIndex;
  readonly checkpointer: Checkpointer;
  readonly journalBytes: number;
  /** Ring position of the tail, and who is told that it moved. */
  readonly tail: () => number;
  readonly onTail: (position: number) => void;
  readonly onError: (work: 'fold' | 'checkpoint', error: unknown) => void;
}

export class Maintenance {
  readonly #parts: MaintenanceParts;
  readonly #stopLooking: () => void;
  /** Beside each other: what a kill leaves to be replayed does not grow while a large index is written out. */
  readonly #folds: Chore;
  readonly #checkpoints: Chore;
  #isCheckpointDemanded = false;
  #changedAtMs = 0;

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
    this.#folds = new Chore(() => this.#foldNow());
    this.#checkpoints = new Chore(() => this.#checkpointIfDue());
    this.#stopLooking = parts.clock.every(lookIntervalMs, () => this.#look());
  }

  /** A record was applied. */
  recordApplied(): void {
    const { clock, index } = this.#parts;
    this.#changedAtMs = clock.nowMs();
    const { state } = index;
    const pending = state.overlay.current.leafCount;
    if (this.#isRingHalfFull) void this.#checkpoints.wake();
    if (pending > pendingLeavesMax || state.unfoldedBytes > unfoldedBytesMax) {
      void this.#folds.wake();
    }
  }

  /** Starts a checkpoint, or leaves it to follow what is being written. */
  checkpoint(): void {
    this.#isCheckpointDemanded = true;
    void this.#checkpoints.wake();
  }

  /** Resolves when the ring has room for what can wait; ends early with the signal, or when nothing makes room any more. */
  async roomToSpare(signal: AbortSignal): Promise<void> {
    const isOver = () => signal.aborted || this.#checkpoints.isStopped;
    while (this.#ringBytes > (3 / 4) * this.#parts.journalBytes && !isOver()) {
      await delay(roomLookMs);
    }
  }

  /** Starts nothing more, and waits for what was started. */
  async stop(): Promise<void> {
    this.#stopLooking();
    await Promise.all([this.#folds.stop(), this.#checkpoints.stop()]);
  }

  get #isRingHalfFull(): boolean {
    return this.#ringBytes > this.#parts.journalBytes / 2;
  }

  /** Taken up by records that the index on the disks does not have. */
  get #ringBytes(): number {
    const { index, tail } = this.#parts;
    return index.state.applied.position - tail();
  }

  /** Also comes back to a checkpoint that failed: a full ring brings no more records that would ask for one. */
  #look(): void {
    const idle = this.#parts.clock.nowMs() - this.#changedAtMs >= idleMs;
    if (this.#isRingHalfFull) void this.#checkpoints.wake();
    else if (idle && this.#parts.index.state.unfoldedBytes > 0) void this.#folds.wake();
  }

  async #foldNow(): Promise<void> {
    if (this.#folds.isStopped) return;
    await this.#try('fold', () => this.#parts.index.fold());
  }

  /** Woken while one was written, it may not be due any more. */
  async #checkpointIfDue(): Promise<void> {
    const isDue = this.#isCheckpointDemanded || this.#isRingHalfFull;
    if (!isDue || this.#checkpoints.isStopped) return;
    this.#isCheckpointDemanded = false;
    const { checkpointer, onTail } = this.#parts;
    await this.#try('checkpoint', () => checkpointer.take(onTail));
  }

  async #try(name: 'fold' | 'checkpoint', work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#parts.onError(name, error);
    }
  }
}
