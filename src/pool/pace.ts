/**
 * Pace: how fast background work may go: paused, at a rate, cancelled.
 */
import { setTimeout } from 'node:timers/promises';

export interface PaceOptions {
  /** Resolves when the work is not paused. @throws why it is to end */
  readonly whileRunning: () => Promise<void>;
  /** Bytes per second at most. */
  readonly rateBytes?: number | undefined;
  /** Ends a wait early; `whileRunning` says why. */
  readonly signal?: AbortSignal;
}

export class Pace {
  readonly #options: PaceOptions;
  /** When the bytes let through so far are paid for, on performance.now()'s clock. */
  #paidAtMs = 0;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Resolves when so many bytes may be moved; none: when it is not paused. @throws the reason to stop */
  async before(bytes: number): Promise<void> {
    const { rateBytes, whileRunning, signal } = this.#options;
    await whileRunning();
    if (rateBytes === undefined || bytes === 0) return;
    const startMs = Math.max(performance.now(), this.#paidAtMs);
    this.#paidAtMs = startMs + (1000 * bytes) / rateBytes;
    const ended = setTimeout(startMs - performance.now(), undefined, signal && { signal });
    await ended.catch(() => undefined);
    await whileRunning();
  }
}
