/** Waits for what nobody announces, by asking again and again; a time limit turns a hang into an error that says what was awaited. */
import { setTimeout as delay } from 'node:timers/promises';

export interface Patience {
  /** For the error: what did not come. */
  readonly what: string;
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/** Resolves when `holds` says so. @throws Error it did not in time, or what `holds` throws */
export async function until(
  holds: () => boolean | Promise<boolean>,
  { what, timeoutMs = 60_000, intervalMs = 5 }: Patience,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(intervalMs);
  }
}
