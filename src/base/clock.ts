/**
 * Time as a dependency: whoever waits or stamps gets a Clock, so that tests decide what time it is.
 */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Runs `work` every `intervalMs` until the returned function is called; does not keep the process alive. */
  every(intervalMs: number, work: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  every(intervalMs, work) {
    const timer = setInterval(work, intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** RFC 3339 in UTC. */
export function isoTime(clock: Clock): string {
  return new Date(clock.nowMs()).toISOString();
}

/** Lets everything that waits for the event loop go first: long loops call it between bounded steps. */
export function yieldToOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
