/**
 * Operations: long work that can be watched, waited for and cancelled, and that is remembered.
 *
 *   running ⇄ paused        a kind that goes on after a restart can be paused
 *      └───────┴──▶ succeeded | failed | cancelled      each is final
 *
 * Guarantees: every change of state is in STATE/operations.jsonl before it is told; ids grow and are never
 * reused; the newest `operationsKept` are remembered. What ran when the process died goes on after the restart under its id if its kind
 * can; else it is `failed` and says so, and what it had done by then stays.
 */
import type { Clock } from '../base/clock.ts';
import { InvariantError, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import { Gate } from './gate.ts';
import { JsonLines } from './json-lines.ts';
import { toStorageError } from './problem.ts';
import { ProgressRate } from './progress-rate.ts';
import type { OperationItem } from './schemas.ts';

const operationsKept = 1000;

/** What the work of an operation is given. */
export interface OperationContext {
  readonly signal: AbortSignal;
  readonly report: ReportProgress;
  readonly setPhase: (phase: string) => void;
  /** Changes what the work is told it was asked for when it goes on after a restart: where it is. */
  readonly remember: (parameters: Parameters) => void;
  /** What it found; kept with it. */
  readonly tellFindings: (findings: OperationFindings) => void;
  /** Resolves when the operation is not paused. @throws StorageError why it is to end */
  readonly whileRunning: () => Promise<void>;
}

/** What an operation was asked for, besides its target. */
export type Parameters = Readonly<Record<string, string | number | boolean>>;

export interface OperationSpec {
  /** For instance `volume-create`. */
  readonly operation: string;
  readonly target: string;
  readonly phase: string;
  readonly parameters?: Parameters;
}

type OperationFindings = NonNullable<OperationItem['findings']>;

type Work = (context: OperationContext) => Promise<void>;

/** Work of a kind that goes on where it was after a restart: begun anew, it does what is left. */
export type ResumableWork = (
  asked: { readonly target: string; readonly parameters: Parameters },
  context: OperationContext,
) => Promise<void>;

interface Running {
  readonly abort: AbortController;
  readonly gate: Gate;
  readonly ended: Promise<void>;
}

export class Operations {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #emit: EmitEvent;
  readonly #file: JsonLines<OperationItem>;
  readonly #items = new Map<string, OperationItem>();
  readonly #running = new Map<string, Running>();
  readonly #kinds: Readonly<Record<string, ResumableWork>>;
  #lastNumber = 0;
  #isClosing = false;

  /**
   * @param path made if absent
   * @param kinds what goes on after a restart, by `operation`
   */
  constructor(
    clock: Clock,
    log: Log,
    emit: EmitEvent,
    path: string,
    kinds: Readonly<Record<string, ResumableWork>> = {},
  ) {
    const { file, lines } = JsonLines.open(path, isOperation);
    this.#clock = clock;
    this.#log = log;
    this.#emit = emit;
    this.#file = file;
    this.#kinds = kinds;
    // Those of an earlier version have no parameters.
    for (const line of lines)
      this.#items.set(line.id, { ...line, parameters: line.parameters ?? {} });
    for (const item of [...this.#items.values()]) {
      this.#lastNumber = Math.max(this.#lastNumber, numberOf(item.id));
      if (!isEnded(item)) this.#resumeInterrupted(item);
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

  /** Whether one that has not ended was asked for all of that. */
  isAskedFor(wanted: Parameters): boolean {
    const asked = Object.entries(wanted);
    return this.list().some(
      (item) => !isEnded(item) && asked.every(([key, value]) => item.parameters[key] === value),
    );
  }

  /**
   * Begins work of a kind that goes on after a restart; asked again while it runs, names the one that runs.
   *
   * @param apart names the parameter by which work on one target is told from other work on it
   * @throws StorageError volume/busy other work runs on the target
   */
  begin(spec: OperationSpec, apart?: string): OperationItem {
    const work = this.#kinds[spec.operation];
    if (work === undefined) throw new InvariantError(`${spec.operation} is a kind of operation`);
    const parameters = spec.parameters ?? {};
    const running = this.find(spec.operation, spec.target);
    if (running !== undefined && apart !== undefined) expectSame(running, parameters, apart);
    return (
      running ?? this.start(spec, (context) => work({ target: spec.target, parameters }, context))
    );
  }

  /** Begins the work and returns at once; how it ends is told by `get`. */
  start(spec: OperationSpec, work: Work): OperationItem {
    this.#lastNumber += 1;
    const item: OperationItem = {
      id: `op-${this.#lastNumber}`,
      ...spec,
      parameters: { ...spec.parameters },
      state: 'running',
      progress: { done_bytes: 0, total_bytes: 0 },
      error: null,
      created_at: this.#now(),
      finished_at: null,
    };
    this.#save(item);
    this.#launch(item, work);
    return item;
  }

  /** The work stops at its next step, until `resume`. @throws StorageError op/not-found; op/state it has ended, or cannot be paused */
  pause(id: string): OperationItem {
    return this.#setPaused(id, true);
  }

  /** @throws StorageError op/not-found; op/state it has ended, or cannot be paused */
  resume(id: string): OperationItem {
    return this.#setPaused(id, false);
  }

  /**
   * Asks the work to stop; `get` tells when it has.
   *
   * @throws StorageError op/not-found
   * @throws StorageError op/state it has ended
   */
  cancel(id: string): OperationItem {
    this.#runningOf(id).abort.abort(new StorageError('op/state', 'cancelled on request'));
    return this.get(id);
  }

  /** Stops what runs as a kill would, but waits for it. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const reason = interrupted();
    for (const { abort } of this.#running.values()) abort.abort(reason);
    await Promise.all([...this.#running.values()].map((running) => running.ended));
    this.#file.close();
  }

  #runningOf(id: string): Running {
    const item = this.get(id);
    const running = this.#running.get(id);
    if (running !== undefined) return running;
    throw new StorageError('op/state', `operation ${id} has ended: ${item.state}`);
  }

  #setPaused(id: string, isPaused: boolean): OperationItem {
    const { gate } = this.#runningOf(id);
    const item = this.get(id);
    if (this.#kinds[item.operation] === undefined) {
      throw new StorageError('op/state', `operation ${id} cannot be paused: ${item.operation}`, {
        actions: [`varve op cancel ${id}`],
      });
    }
    gate.setClosed(isPaused);
    const state = isPaused ? 'paused' : 'running';
    if (item.state !== state) this.#save({ ...item, state });
    return this.get(id);
  }

  #launch({ id, state }: OperationItem, work: Work): void {
    const abort = new AbortController();
    const gate = new Gate(abort.signal);
    gate.setClosed(state === 'paused');
    this.#running.set(id, { abort, gate, ended: this.#run(id, { abort, gate }, work) });
  }

  async #run(id: string, { abort, gate }: Omit<Running, 'ended'>, work: Work): Promise<void> {
    const { signal } = abort;
    const change = (changes: Partial<OperationItem>) => {
      this.#items.set(id, { ...this.get(id), ...changes });
    };
    const rate = new ProgressRate();
    const report: ReportProgress = (doneBytes, totalBytes, pace) =>
      change({
        progress: {
          done_bytes: doneBytes,
          total_bytes: totalBytes,
          bytes_per_second: rate.note(doneBytes, this.#clock.nowMs()),
          held_back_by: pace?.isHeldBack ? 'guests' : null,
        },
      });
    const setPhase = (phase: string) => change({ phase });
    const remember = (parameters: Parameters) => {
      const item = this.get(id);
      this.#save({ ...item, parameters: { ...item.parameters, ...parameters } });
    };
    const tellFindings = (findings: OperationFindings) => change({ findings });
    const whileRunning = () => gate.passed();
    try {
      await work({ signal, report, setPhase, remember, tellFindings, whileRunning });
      this.#end(id, { state: 'succeeded', error: null });
    } catch (thrown) {
      const goesOn = this.#isClosing && this.#kinds[this.get(id).operation] !== undefined;
      if (!goesOn) this.#endBadly(id, signal, thrown);
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

  #resumeInterrupted(item: OperationItem): void {
    const work = this.#kinds[item.operation];
    if (work !== undefined) {
      this.#launch(item, (context) => work(item, context));
      return;
    }
    const { code, message, actions } = interrupted();
    this.#end(item.id, {
      state: 'failed',
      error: { code, detail: message, actions: [...actions] },
    });
  }

  #end(id: string, end: Pick<OperationItem, 'state' | 'error'>): void {
    const running = this.get(id);
    const { done_bytes, total_bytes } = running.progress;
    const progress = { done_bytes, total_bytes };
    const item: OperationItem = { ...running, ...end, progress, finished_at: this.#now() };
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

/** As far as others rely on it; earlier versions wrote less. */
function isOperation(value: object): value is OperationItem {
  const { id, operation, target, state, progress, created_at } = value as Partial<OperationItem>;
  const texts = [id, operation, target, state, created_at];
  const isWhole = texts.every((text) => typeof text === 'string') && /^op-\d{1,15}$/.test(id ?? '');
  return (
    isWhole && typeof progress?.done_bytes === 'number' && typeof progress.total_bytes === 'number'
  );
}

function expectSame(running: OperationItem, asked: Parameters, apart: string): void {
  const there = running.parameters[apart];
  if (there === asked[apart]) return;
  const { id, operation, target } = running;
  const message = `${operation} of ${target} is running already, with ${apart} ${there}`;
  const actions = [`varve op wait ${id}, then repeat`];
  throw new StorageError('volume/busy', message, { actions });
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
