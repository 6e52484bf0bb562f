/**
 * Governor: lets the background work of one pool go as fast as its guests bear, and freely when they are idle.
 *
 *   run ──▶ waits for its turn ──▶ (a rest is due: all work ends, is made durable; guests are watched alone) ──▶ work ──▶ counted
 *
 * All work of the pool shares one limit. It never stops for good: the limit has a floor, and a rest an end.
 * Invariant: whoever waits for a turn holds nothing that work under way may wait for; else a rest would wait for ever.
 * Elsewhere: how the limit comes about (background-limit.ts), what is moved (src/migration, src/snapshot).
 */
import { setTimeout } from 'node:timers/promises';
import { BackgroundLimit, type Observation } from './background-limit.ts';
import { since } from './latency-histogram.ts';

/** Monotonic. */
export interface Timing {
  nowMs(): number;
  sleep(ms: number): Promise<void>;
}

export const systemTiming: Timing = {
  nowMs: () => performance.now(),
  sleep: async (ms) => {
    await setTimeout(ms);
  },
};

/** Of what only grows. */
interface Reading {
  readonly atMs: number;
  readonly latencies: Float64Array;
  readonly movedBytes: number;
}

export interface GovernorParts {
  /** What guests waited for so far, all requests together; only grows. */
  readonly latencies: () => Float64Array;
  /** Of the latencies' buckets. */
  readonly bounds: Float64Array;
  /** Makes durable what was moved, so that nothing of it is left to do in a rest. */
  readonly settle: () => Promise<void>;
  /** From now on guests are there, or no longer: large copies would be in their way. */
  readonly onHeld: (isHeld: boolean) => void;
  readonly timing: Timing;
}

/** What background work may do to guests' 99th percentile: they are promised 2 (docs/architecture.md), and it is overshot when they change. */
const factor = 1.5;
const lookMs = 100;
const restMs = 200;
/** Requests that met the work are answered, and the disks idle again. */
const settledMs = 50;
/** Before anything is moved, to see whether there are guests. */
const firstLookMs = 50;
/** After so long without work what was known of the guests is old. */
const forgottenMs = 1000;
/** One piece of work is to take about so long, so that guests meet little at a time. */
const turnSeconds = 0.03;

export class Governor {
  readonly #parts: GovernorParts;
  #limit: BackgroundLimit;
  #isHeld = false;
  /** Nothing is known of the guests. */
  #isNew = true;
  #running = 0;
  /** By all that has ended. */
  #movedBytes = 0;
  #seen: Reading;
  #owedBytes = 0;
  #paidAtMs = 0;
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #onQuiet = () => {};

  constructor(parts: GovernorParts) {
    this.#parts = parts;
    this.#limit = this.#newLimit();
    this.#seen = this.#now();
  }

  /**
   * Does the work when its turn has come.
   *
   * @param work resolves to the bytes that it moved, whoever comes next waits for them
   * @throws what `work` throws; StorageError pool/failed
   */
  async run(work: () => Promise<number>): Promise<number> {
    this.#forgetIfOld();
    await this.#turn();
    this.#running += 1;
    try {
      const bytes = await work();
      this.#movedBytes += bytes;
      this.#owedBytes += bytes;
      return bytes;
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#onQuiet();
    }
  }

  /** Infinity: not held back. */
  get bytesPerSecond(): number {
    return this.#limit.bytesPerSecond;
  }

  get isHeldBack(): boolean {
    return !this.#limit.isFree;
  }

  /** By all work since the pool was opened. */
  get movedBytes(): number {
    return this.#movedBytes;
  }

  /** How much one piece of work had better move, at most; Infinity: as much as it likes. */
  get bytesPerTurn(): number {
    return this.#limit.bytesPerSecond * turnSeconds;
  }

  /** One after the other. */
  async #turn(): Promise<void> {
    const turn = this.#queue.then(() => this.#wait());
    this.#queue = turn.catch(() => {});
    this.#waiting += 1;
    try {
      await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  async #wait(): Promise<void> {
    if (this.#isNew) await this.#lookFirst();
    for (;;) {
      this.#look();
      if (this.#limit.wantsRest) await this.#rest();
      this.#pay();
      // A fraction of a byte is what rounding leaves.
      if (this.#owedBytes < 1) return;
      // Guests may leave meanwhile.
      const leftMs = (1000 * this.#owedBytes) / this.#limit.bytesPerSecond;
      await this.#parts.timing.sleep(Math.min(leftMs, lookMs));
    }
  }

  /** What was moved is paid for by time, at the present rate. */
  #pay(): void {
    const nowMs = this.#parts.timing.nowMs();
    const paidBytes = ((nowMs - this.#paidAtMs) / 1000) * this.#limit.bytesPerSecond;
    this.#owedBytes = this.#limit.isFree ? 0 : Math.max(0, this.#owedBytes - paidBytes);
    this.#paidAtMs = nowMs;
  }

  async #lookFirst(): Promise<void> {
    this.#isNew = false;
    const begin = this.#now();
    await this.#parts.timing.sleep(firstLookMs);
    this.#limit.worked(this.#since(begin));
    this.#seen = this.#now();
    this.#tellHeld();
  }

  #look(): void {
    const seen = this.#since(this.#seen);
    if (1000 * seen.seconds < lookMs) return;
    this.#seen = this.#now();
    this.#limit.worked(seen);
    this.#tellHeld();
  }

  async #rest(): Promise<void> {
    await this.#quiet();
    const { settle, timing } = this.#parts;
    await settle();
    await timing.sleep(settledMs);
    const begin = this.#now();
    let seen: Observation;
    do {
      await timing.sleep(restMs);
      seen = this.#since(begin);
    } while (!BackgroundLimit.tellsEnough(seen));
    this.#limit.rested(seen);
    this.#seen = this.#now();
  }

  async #quiet(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
    });
  }

  #forgetIfOld(): void {
    const isAtWork = this.#running > 0 || this.#waiting > 0;
    if (isAtWork || this.#parts.timing.nowMs() - this.#seen.atMs < forgottenMs) return;
    this.#limit = this.#newLimit();
    this.#isNew = true;
  }

  #tellHeld(): void {
    if (this.#isHeld === this.isHeldBack) return;
    this.#isHeld = this.isHeldBack;
    this.#parts.onHeld(this.#isHeld);
  }

  #newLimit(): BackgroundLimit {
    return new BackgroundLimit({ factor, bounds: this.#parts.bounds });
  }

  #now(): Reading {
    const { timing, latencies } = this.#parts;
    return { atMs: timing.nowMs(), latencies: latencies(), movedBytes: this.#movedBytes };
  }

  #since(earlier: Reading): Observation {
    const now = this.#now();
    return {
      seconds: (now.atMs - earlier.atMs) / 1000,
      latencies: since(now.latencies, earlier.latencies),
      movedBytes: now.movedBytes - earlier.movedBytes,
    };
  }
}
