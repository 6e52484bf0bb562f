/** ProgressRate: how fast work goes on now, from what it reports. Told the time, so that tests decide it. */

/** Shorter spans jump with the size of single steps. */
const spanMs = 1000;

export class ProgressRate {
  #begin: { readonly atMs: number; readonly doneBytes: number } | undefined;
  #bytesPerSecond = 0;

  /** Work has done so much by now. @returns bytes per second over the last second or more; 0 until that has passed */
  note(doneBytes: number, nowMs: number): number {
    this.#begin ??= { atMs: nowMs, doneBytes };
    const elapsedMs = nowMs - this.#begin.atMs;
    if (elapsedMs < spanMs) return this.#bytesPerSecond;
    const grown = Math.max(0, doneBytes - this.#begin.doneBytes);
    this.#bytesPerSecond = Math.round((1000 * grown) / elapsedMs);
    this.#begin = { atMs: nowMs, doneBytes };
    return this.#bytesPerSecond;
  }
}
