/**
 * Pace: how fast background work may go: paused, at a rate, cancelled.
 */
import { setTimeout } from 'node:timers/promises';
import type { MovementContext } from './types.ts';

type PaceOptions = Pick<MovementContext, 'rateBytes' | 'whileRunning'>;

export class Pace {
  readonly #options: PaceOptions;
  /** When the bytes let through so far are paid for, on performance.now()'s clock. */
  #paidAtMs = 0;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Resolves when so many bytes may be moved. @throws the reason to stop */
  async before(bytes: number): Promise<void> {
    const { rateBytes, whileRunning } = this.#options;
    await whileRunning();
    if (rateBytes === undefined) return;
    const startMs = Math.max(performance.now(), this.#paidAtMs);
    this.#paidAtMs = startMs + (1000 * bytes) / rateBytes;
    await setTimeout(startMs - performance.now());
    await whileRunning();
  }
}
