/**
 * A time limit as an AbortSignal: one for many waits, ended early by another signal.
 */

/** The reason of a signal whose time is over. */
export class TimeOver extends Error {
  override readonly name = 'TimeOver';
}

export class TimeLimit {
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** Aborts with TimeOver, or as `outer` does and with its reason. */
  readonly signal: AbortSignal;

  constructor(timeoutMs: number, outer?: AbortSignal) {
    const over = new TimeOver(`no answer within ${timeoutMs / 1000} s`);
    this.#timer = setTimeout(() => this.#stop.abort(over), timeoutMs);
    const own = this.#stop.signal;
    this.signal = outer === undefined ? own : AbortSignal.any([own, outer]);
  }

  /** Nothing waits any more; the signal stays as it is. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
