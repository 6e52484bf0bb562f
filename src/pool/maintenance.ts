/**
 * Maintenance: when the overlay goes into the index, and when the index goes onto the disks.
 *
 *   fold        many leaves pending, much journal since the last one, or nothing new for five seconds
 *   checkpoint  the ring is over half full, or full
 */
import type { Clock } from '../base/clock.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { PoolIndex } from './pool-index.ts';

/** About 10 MiB of overlay. */
const pendingLeavesMax = 16 * 1024;
const unfoldedBytesMax = 8 * 1024 * 1024;
const idleMs = 5_000;
const lookIntervalMs = 1_000;

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
  #work: Promise<void> | undefined;
  #foldDue = false;
  #checkpointDue = false;
  #stopped = false;
  #changedAtMs = 0;

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
    this.#stopLooking = parts.clock.every(lookIntervalMs, () => this.#look());
  }

  /** A record was applied. */
  recordApplied(): void {
    const { clock, index } = this.#parts;
    this.#changedAtMs = clock.nowMs();
    const { state } = index;
    const pending = state.overlay.current.leafCount;
    if (this.#isRingHalfFull) this.checkpoint();
    else if (pending > pendingLeavesMax || state.unfoldedBytes > unfoldedBytesMax) this.#fold();
  }

  /** Starts a checkpoint, or leaves it to follow what is being written. */
  checkpoint(): void {
    this.#checkpointDue = true;
    this.#start();
  }

  /** Starts nothing more, and waits for what was started. */
  async stop(): Promise<void> {
    this.#stopLooking();
    this.#stopped = true;
    await this.#work;
  }

  get #isRingHalfFull(): boolean {
    const { index, tail, journalBytes } = this.#parts;
    return index.state.applied.position - tail() > journalBytes / 2;
  }

  /** Also comes back to a checkpoint that failed: a full ring brings no more records that would ask for one. */
  #look(): void {
    const idle = this.#parts.clock.nowMs() - this.#changedAtMs >= idleMs;
    if (this.#isRingHalfFull) this.checkpoint();
    else if (idle && this.#parts.index.state.unfoldedBytes > 0) this.#fold();
  }

  #fold(): void {
    this.#foldDue = true;
    this.#start();
  }

  #start(): void {
    if (this.#stopped) return;
    this.#work ??= this.#workOff().finally(() => {
      this.#work = undefined;
    });
  }

  async #workOff(): Promise<void> {
    while ((this.#checkpointDue || this.#foldDue) && !this.#stopped) {
      if (this.#checkpointDue) await this.#try('checkpoint');
      else await this.#try('fold');
    }
  }

  async #try(name: 'fold' | 'checkpoint'): Promise<void> {
    const { index, checkpointer, onTail, onError } = this.#parts;
    this.#foldDue = false;
    try {
      if (name === 'fold') {
        await index.fold();
        return;
      }
      this.#checkpointDue = false;
      await checkpointer.take(onTail);
    } catch (error) {
      onError(name, error);
    }
  }
}
