/**
 * Scheduler: what happens next in a simulation, one step at a time, chosen by the seed among everything that could.
 *
 *   step:  a loop turns │ events are told │ an operation reaches its disk, or its answer comes back │ an immediate or a timer runs │
 *          time passes      ─▶ at rest (rest.ts) ─▶ next step
 *
 * Each life has its own weights and a slow disk of its own, so that lives differ in what comes late. Time passes in small
 * steps now and then, and to the next timer when nothing else can happen.
 */
import type { GatedOperation, SimulationState } from '../../src/dataplane/binding.ts';
import type { Random } from '../explore/random.ts';
import type { Faults } from './faults.ts';
import type { HostTime } from './host-time.ts';
import type { Rest } from './rest.ts';
import type { SimulatedPlane } from './simulated-plane.ts';
import type { Trace } from './trace.ts';

/** What was begun does not end. */
export class FrozenError extends Error {
  override readonly name = 'FrozenError';
}

interface Move {
  readonly weight: number;
  readonly go: () => string;
}

/** Simulated; longer than any patience and every retry of a step together. */
const frozenMs = 15 * 60_000;
const smallStepMsMax = 12;
const weightChoices = [1, 2, 8, 32] as const;

export interface SchedulerParts {
  readonly plane: SimulatedPlane;
  readonly time: HostTime;
  readonly rest: Rest;
  readonly random: Random;
  readonly faults: Faults;
  readonly trace: Trace;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #weights: { turn: number; tell: number; disk: number; host: number };
  /** Time passes at one step in so many, though there is something to do. */
  readonly #timePasses: number;
  /** Its operations come late: URI of it, if any. */
  #slowDisk: string | undefined;
  /** Operations that hang, until then. */
  readonly #hanging = new Map<number, number>();
  /** Looks at the world at rest, before each step. */
  onRest: () => void = () => {};

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    const weight = () => parts.random.pick(weightChoices) as number;
    this.#weights = { turn: weight(), tell: weight(), disk: weight(), host: weight() };
    this.#timePasses = 10 + parts.random.below(400);
  }

  /**
   * Steps until what `work` has begun is over.
   *
   * @throws FrozenError it does not end; whatever it throws
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { time, rest } = this.#parts;
    const giveUpMs = time.passedMs + frozenMs;
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    const result = work();
    result.then(over, over);
    for (;;) {
      await rest.reach();
      if (isOver) return result;
      if (time.passedMs > giveUpMs) throw new FrozenError(`not over after ${frozenMs} ms`);
      this.onRest();
      this.#step();
    }
  }

  #step(): void {
    const { plane, random, trace } = this.#parts;
    const state = plane.addon.simulationState();
    const moves = this.#moves(state);
    const passes = moves.length === 0 || random.chance(this.#timePasses);
    trace.note(passes ? this.#passTime(state, moves.length === 0) : this.#choose(moves).go());
  }

  #choose(moves: readonly Move[]): Move {
    let left = this.#parts.random.below(moves.reduce((sum, { weight }) => sum + weight, 0));
    const chosen = moves.find(({ weight }) => {
      left -= weight;
      return left < 0;
    });
    return chosen as Move;
  }

  #moves({ busyLoops, events, operations }: SimulationState): Move[] {
    const { time } = this.#parts;
    const { turn, tell, host } = this.#weights;
    const moves: Move[] = busyLoops.map((loop) => ({ weight: turn, go: () => this.#turn(loop) }));
    if (events > 0) moves.push({ weight: tell, go: () => this.#tell(events) });
    for (const operation of operations) {
      if (this.#hangs(operation)) continue;
      moves.push({ weight: this.#weightOf(operation), go: () => this.#letGo(operation) });
    }
    if (time.hasImmediate) moves.push({ weight: host, go: () => this.#immediate() });
    if (time.hasDue) moves.push({ weight: host, go: () => this.#timer() });
    return moves;
  }

  #weightOf({ disk }: GatedOperation): number {
    const { plane, random } = this.#parts;
    const uri = plane.uriOf(disk);
    this.#slowDisk ??= random.chance(3) ? uri : 'none';
    return uri === this.#slowDisk ? 1 : 4 * this.#weights.disk;
  }

  #hangs({ id }: GatedOperation): boolean {
    const until = this.#hanging.get(id);
    if (until === undefined) return false;
    if (until > this.#parts.time.passedMs) return true;
    return false;
  }

  #turn(loop: number): string {
    this.#parts.plane.addon.simulationTurn(loop);
    return `loop ${loop}`;
  }

  #tell(events: number): string {
    const { plane, random } = this.#parts;
    const count = 1 + random.below(events);
    plane.addon.simulationTell(count);
    return `tell ${count} of ${events}`;
  }

  #letGo(operation: GatedOperation): string {
    const { plane, faults, time } = this.#parts;
    const { id, disk, op, performed, offset, bytes } = operation;
    const uri = plane.uriOf(disk);
    const what = `${performed ? 'answer' : op} ${uri} ${offset} ${bytes}`;
    const hung = this.#hanging.delete(id);
    const fault = performed || hung ? undefined : faults.meet(operation, uri);
    if (fault?.kind === 'hang') {
      this.#hanging.set(id, time.passedMs + fault.forMs);
      return `${what}: hangs ${fault.forMs}`;
    }
    plane.letGo(operation, fault);
    return fault === undefined ? what : `${what}: ${fault.kind} ${fault.error}`;
  }

  #immediate(): string {
    this.#parts.time.runImmediate();
    return 'immediate';
  }

  #timer(): string {
    this.#parts.time.runNext();
    return 'timer';
  }

  #passTime(state: SimulationState, isIdle: boolean): string {
    const { random } = this.#parts;
    const ms = isIdle ? this.#untilNext(state) : 1 + random.below(smallStepMsMax);
    this.#advance(ms);
    return `time ${ms}`;
  }

  #advance(ms: number): void {
    const { plane, time } = this.#parts;
    plane.addon.simulationAdvance(ms);
    time.passedMs += ms;
  }

  /** @throws FrozenError nothing will ever happen */
  #untilNext({ nextTimerMs }: SimulationState): number {
    const { plane, time } = this.#parts;
    const dues = [...this.#hanging.values()].map((until) => until - time.passedMs);
    if (time.nextDueMs !== undefined) dues.push(time.nextDueMs - time.passedMs);
    if (nextTimerMs !== null) dues.push(nextTimerMs - plane.bootTimeMs());
    if (dues.length === 0) throw new FrozenError('nothing is under way, and nothing will be');
    return Math.max(1, Math.ceil(Math.min(...dues)));
  }
}
