/**
 * AttentiveClock: runs what looks for changes often while there are any, and seldom when nothing has happened for a while.
 *
 *   quick: every interval ──ten looks without a change──▶ calm: every five seconds ──changed()──▶ quick
 *
 * Guarantees: a look comes within one and a half intervals of a change that was told, and of any other within eight seconds. Five seconds are the beat
 * of a pool's lease too (src/pool/lease.ts): what is calm makes nobody wake up for it alone (clock.ts).
 */
import type { Clock } from './clock.ts';

const calmIntervalMs = 5_000;
const quietLooksMax = 10;

interface Look {
  readonly intervalMs: number;
  readonly work: () => void;
  stopTimer: () => void;
  seenChanges: number;
  quietLooks: number;
  isEnded: boolean;
}

export class AttentiveClock implements Clock {
  readonly #clock: Clock;
  readonly #calm = new Set<Look>();
  #changes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** As Clock has it while things change; at least every five seconds otherwise. */
  every(intervalMs: number, work: () => void): () => void {
    const look: Look = {
      intervalMs,
      work,
      stopTimer: () => {},
      seenChanges: 0,
      quietLooks: 0,
      isEnded: false,
    };
    this.#hurry(look);
    return () => {
      look.isEnded = true;
      look.stopTimer();
      this.#calm.delete(look);
    };
  }

  /** Something that a look may be for has happened. */
  changed(): void {
    this.#changes += 1;
    for (const look of this.#calm) this.#hurry(look);
  }

  #hurry(look: Look): void {
    this.#calm.delete(look);
    look.stopTimer();
    look.seenChanges = this.#changes;
    look.quietLooks = 0;
    look.stopTimer = this.#clock.every(look.intervalMs, () => {
      look.work();
      this.#restIfQuiet(look);
    });
  }

  /** The work itself may have told of a change, or ended the looking. */
  #restIfQuiet(look: Look): void {
    if (look.isEnded) return;
    look.quietLooks = look.seenChanges === this.#changes ? look.quietLooks + 1 : 0;
    look.seenChanges = this.#changes;
    if (look.quietLooks < quietLooksMax) return;
    look.stopTimer();
    look.stopTimer = this.#clock.every(Math.max(calmIntervalMs, look.intervalMs), look.work);
    this.#calm.add(look);
  }
}
