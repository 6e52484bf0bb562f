/**
 * Operations: long work that can be watched, waited for and cancelled, and that is remembered.
 *
 *   running ──▶ succeeded | failed | cancelled      each is final
 *
 * Guarantees: every change of state is in STATE/operations.jsonl before it is told; ids grow and are never
 * reused; the newest `operationsKept` are remembered. What ran when the process died is `failed` after the
 * restart and says so; what it had done by then stays.
 */
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import { JsonLines } from './json-lines.ts';
import { toStorageError } from './problem.ts';
import type { OperationItem } from './schemas.ts';

const operationsKept = 1000;

/** What the work of an operation is given. */
export interface OperationContext {
  readonly signal: AbortSignal;
  readonly report: ReportProgress;
}

export interface OperationSpec {
  /** For instance `volume-create`. */
  readonly operation: string;
  readonly target: string;
  readonly phase: string;
}

interface Running {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

export class Operations {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #emit: EmitEvent;
  readonly #file: JsonLines<OperationItem>;
  readonly #items = new Map<string, OperationItem>();
  readonly #running = new Map<string, Running>();
  #lastNumber = 0;

  /** @param path made if absent */
  constructor(clock: Clock, log: Log, emit: EmitEvent, path: string) {
    const { file, lines } = JsonLines.open<OperationItem>(path);
    this.#clock = clock;
    this.#log = log;
    this.#emit = emit;
    this.#file = file;
    for (const line of lines) this.#items.set(line.id, line);
    for (const item of this.#items.values()) {
      this.#lastNumber = Math.max(this.#lastNumber, numberOf(item.id));
      if (!isEnded(item)) this.#endInterrupted(item);
    }
  }

  /** Newest first. */
  list(): OperationItem[] {
    return [...this.#items.values()].sort((a, b) => numberOf(b.id) - numberOf(a.id));
  }

  /** @throws StorageError op/not-found */
  get(id: string): OperationItem {
    const item = this.#items.get(id);
    if (item !== undefined) return item;
    throw new StorageError('op/not-found', `there is no operation ${id}`, {
      actions: ['varve op list'],
    });
  }

  /** The running operation of that kind on that target, if there is one. */
  find(operation: string, target: string): OperationItem | undefined {
    return this.list().find(
      (item) => !isEnded(item) && item.operation === operation && item.target === target,
    );
  }

  /** Begins the work and returns at once; how it ends is told by `get`. */
  start(spec: OperationSpec, work: (context: OperationContext) => Promise<void>): OperationItem {
    this.#lastNumber += 1;
    const item: OperationItem = {
      id: `op-${this.#lastNumber}`,
      ...spec,
      state: 'running',
      progress: { done_bytes: 0, total_bytes: 0 },
      error: null,
      created_at: this.#now(),
      finished_at: null,
    };
    this.#save(item);
    const abort = new AbortController();
    this.#running.set(item.id, { abort, ended: this.#run(item.id, abort.signal, work) });
    return item;
  }

  /**
   * Asks the work to stop; `get` tells when it has.
   *
   * @throws StorageError op/not-found
   * @throws StorageError op/state it has ended
   */
  cancel(id: string): OperationItem {
    const item = this.get(id);
    const running = this.#running.get(id);
    if (running === undefined) {
      throw new StorageError('op/state', `operation ${id} has ended: ${item.state}`);
    }
    running.abort.abort(new StorageError('op/state', 'cancelled on request'));
    return item;
  }

  /** Stops what runs as a kill would, but waits for it. */
  async close(): Promise<void> {
    const reason = interrupted();
    for (const { abort } of this.#running.values()) abort.abort(reason);
    await Promise.all([...this.#running.values()].map((running) => running.ended));
    this.#file.close();
  }

  async #run(
    id: string,
    signal: AbortSignal,
    work: (context: OperationContext) => Promise<void>,
  ): Promise<void> {
    const report: ReportProgress = (doneBytes, totalBytes) => {
      const progress = { done_bytes: doneBytes, total_bytes: totalBytes };
      this.#items.set(id, { ...this.get(id), progress });
    };
    try {
      await work({ signal, report });
      this.#end(id, { state: 'succeeded', error: null });
    } catch (thrown) {
      this.#endBadly(id, signal, thrown);
    } finally {
      this.#running.delete(id);
    }
  }

  #endBadly(id: string, signal: AbortSignal, thrown: unknown): void {
    const reason: unknown = signal.aborted ? signal.reason : thrown;
    const error = toStorageError(reason);
    if (error.code === 'service/internal') this.#log.error({ err: thrown, id }, 'operation failed');
    const state = error.code === 'op/state' ? 'cancelled' : 'failed';
    const told = { code: error.code, detail: error.message, actions: [...error.actions] };
    this.#end(id, { state, error: told });
  }

  #endInterrupted(item: OperationItem): void {
    const { code, message, actions } = interrupted();
    this.#end(item.id, {
      state: 'failed',
      error: { code, detail: message, actions: [...actions] },
    });
  }

  #end(id: string, end: Pick<OperationItem, 'state' | 'error'>): void {
    const item: OperationItem = { ...this.get(id), ...end, finished_at: this.#now() };
    this.#save(item);
    this.#emit({
      kind: `operation/${item.state}`,
      level: item.state === 'failed' ? 'error' : 'info',
      subject: item.id,
      message: `${item.operation} of ${item.target} ${item.state}${because(item)}`,
    });
  }

  #save(item: OperationItem): void {
    this.#items.set(item.id, item);
    try {
      this.#file.append(item);
      if (this.#file.lineCount >= 4 * operationsKept) this.#shorten();
    } catch (error) {
      this.#log.warn({ err: error }, 'an operation could not be written to the state folder');
    }
  }

  #shorten(): void {
    for (const old of this.list().slice(operationsKept)) {
      if (isEnded(old)) this.#items.delete(old.id);
    }
    this.#file.rewrite(this.list().reverse());
  }

  #now(): string {
    return new Date(this.#clock.nowMs()).toISOString();
  }
}

export function isEnded(item: Pick<OperationItem, 'state'>): boolean {
  return item.state === 'succeeded' || item.state === 'failed' || item.state === 'cancelled';
}

function interrupted(): StorageError {
  return new StorageError('service/stopping', 'interrupted by a restart of the service', {
    actions: ['look at what it left, then decide whether to repeat it'],
  });
}

function because(item: OperationItem): string {
  return item.error === null ? '' : `: ${item.error.detail}`;
}

function numberOf(id: string): number {
  return Number(id.slice('op-'.length));
}
