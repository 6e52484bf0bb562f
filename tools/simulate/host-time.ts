/**
 * The time of this process, taken over: `Date.now`, `performance.now`, timers and immediates are a simulation's from `takeOver` to
 * `giveBack`. Time stands still unless it is advanced; what is due runs when the simulation says so, one at a time.
 *
 * Node's own inside (files, streams, promises, nextTick) is not touched: see rest.ts. `new Date()` still tells the real time.
 */
import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';

interface HostTimer {
  readonly id: number;
  readonly work: () => void;
  /** Null: once. */
  readonly everyMs: number | null;
  dueMs: number;
}

/** What `setTimeout` and `setInterval` give back. */
class TimerHandle {
  constructor(readonly id: number) {}
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return false;
  }
  [Symbol.toPrimitive](): number {
    return this.id;
  }
}

const real = {
  setTimeout: globalThis.setTimeout,
  setInterval: globalThis.setInterval,
  setImmediate: globalThis.setImmediate,
  clearTimeout: globalThis.clearTimeout,
  clearInterval: globalThis.clearInterval,
  clearImmediate: globalThis.clearImmediate,
};
const realNow = Date.now;
const realPerformanceNow = performance.now;
const realDelay = timersPromises.setTimeout;

/** Resolves when this turn of the real event loop is over, and every microtask with it. */
export function realTurn(): Promise<void> {
  return new Promise((resolve) => real.setImmediate(resolve));
}

const beginningMs = Date.parse('2026-01-01T00:00:00Z');

export class HostTime {
  /** Since the beginning of the simulation. */
  passedMs = 0;
  readonly #timers = new Map<number, HostTimer>();
  readonly #immediates = new Map<number, () => void>();
  #nextId = 1;

  takeOver(): void {
    const clear = (handle: unknown) => this.#clear(handle);
    Object.assign(globalThis, {
      setTimeout: (work: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        this.#arm(() => work(...args), ms, null),
      setInterval: (work: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        this.#arm(() => work(...args), ms, ms),
      setImmediate: (work: (...args: unknown[]) => void, ...args: unknown[]) => {
        const handle = new TimerHandle(this.#nextId++);
        this.#immediates.set(handle.id, () => work(...args));
        return handle;
      },
      clearTimeout: clear,
      clearInterval: clear,
      clearImmediate: clear,
    });
    Date.now = () => beginningMs + Math.floor(this.passedMs);
    performance.now = () => this.passedMs;
    Object.assign(timersPromises, {
      setTimeout: (ms = 0, value?: unknown, options: { signal?: AbortSignal } = {}) =>
        this.#delay(ms, value, options.signal),
    });
    syncBuiltinESMExports();
  }

  giveBack(): void {
    Object.assign(globalThis, real);
    Date.now = realNow;
    performance.now = realPerformanceNow;
    Object.assign(timersPromises, { setTimeout: realDelay });
    syncBuiltinESMExports();
  }

  get hasImmediate(): boolean {
    return this.#immediates.size > 0;
  }

  /** Of `passedMs`. */
  get nextDueMs(): number | undefined {
    return this.#next()?.dueMs;
  }

  get hasDue(): boolean {
    return (this.nextDueMs ?? Number.POSITIVE_INFINITY) <= this.passedMs;
  }

  runImmediate(): void {
    const [first] = this.#immediates;
    if (first === undefined) return;
    const [id, work] = first;
    this.#immediates.delete(id);
    work();
  }

  /** The one that is due first, whether its time has come or not. */
  runNext(): void {
    const timer = this.#next();
    if (timer === undefined) return;
    if (timer.everyMs === null) this.#timers.delete(timer.id);
    else timer.dueMs = this.passedMs + Math.max(timer.everyMs, 1);
    timer.work();
  }

  #next(): HostTimer | undefined {
    let first: HostTimer | undefined;
    for (const timer of this.#timers.values()) {
      if (first === undefined || timer.dueMs < first.dueMs) first = timer;
    }
    return first;
  }

  #arm(work: () => void, ms: number, everyMs: number | null): TimerHandle {
    const id = this.#nextId++;
    this.#timers.set(id, { id, work, everyMs, dueMs: this.passedMs + Math.max(ms, 1) });
    return new TimerHandle(id);
  }

  #clear(handle: unknown): void {
    const id = handle instanceof TimerHandle ? handle.id : Number(handle);
    this.#timers.delete(id);
    this.#immediates.delete(id);
  }

  #delay(ms: number, value: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const handle = this.#arm(() => resolve(value), ms, null);
      const stop = () => {
        this.#clear(handle);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', stop, { once: true });
    });
  }
}
