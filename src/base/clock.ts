/**
 * Time as a dependency: whoever waits or stamps gets a Clock, so that tests decide what time it is.
 */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /**
   * Runs `work` every `intervalMs` until the returned function is called, the first time within one and a half of them; does not keep the process
   * alive.
   */
  every(intervalMs: number, work: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  every: (intervalMs, work) => {
    const beat = beats.get(intervalMs) ?? new Beat(intervalMs);
    beats.set(intervalMs, beat);
    return beat.join(work);
  },
};

const beats = new Map<number, Beat>();

/** All that is done at one interval, done at one moment: a service that idles wakes up once for it, however many pools it has. */
class Beat {
  readonly #intervalMs: number;
  readonly #works = new Set<{ readonly run: () => void }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  join(run: () => void): () => void {
    const work = { run };
    this.#works.add(work);
    this.#timer ??= this.#arm();
    return () => {
      this.#works.delete(work);
      if (this.#works.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** For the next whole interval but the one that is nearest: at these, beats of different intervals meet. */
  #arm(): NodeJS.Timeout {
    const now = performance.now();
    const at = (Math.round(now / this.#intervalMs) + 1) * this.#intervalMs;
    return setTimeout(() => this.#strike(), at - now).unref();
  }

  #strike(): void {
    this.#timer = this.#arm();
    // As of now: who joins waits for the next one, who left is not asked.
    for (const work of [...this.#works]) if (this.#works.has(work)) work.run();
  }
}

/** RFC 3339 in UTC. */
export function isoTime(clock: Clock): string {
  return new Date(clock.nowMs()).toISOString();
}

/** Lets everything that waits for the event loop go first: long loops call it between bounded steps. */
export function yieldToOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
