/**
 * SpacePatience: what becomes of guests' writes that need space when a pool has none, and what is told of it.
 *
 *   roomy ──a write is held──▶ holding ──patience──▶ refusing (ENOSPC at once)
 *     ▲                        │     ▲                    │
 *     └──none held for 5 s── calming ◀── space comes ─────┘          with no patience: roomy ──nothing is left──▶ refusing
 *
 * The patience begins anew whenever space comes: as long as some does, writes go on one after the other, and none fails. Reads, overwrites in place,
 * trims and everything that only deletes never wait here. One alarm per shortage, not per write.
 * Elsewhere: who is held (native/volume/grants.h), where space comes from (grants.ts), warnings before it is too late (space-alarms.ts).
 */
import type { Clock } from '../base/clock.ts';
import type { EmitEvent, PoolWarning } from './types.ts';

const lookIntervalMs = 1_000;
/** As a disk that failed has to be calm before it is believed. */
const calmMs = 5_000;

export interface SpacePatienceParts {
  /** The pool's name. */
  readonly subject: string;
  readonly clock: Clock;
  readonly emit: EmitEvent;
  readonly patienceSeconds: () => number;
  /** Guests' writes that are held. */
  readonly heldWriters: () => number;
  /** Held writes are to fail, and others that find nothing; see `holdsWriters`. */
  readonly onRefuse: () => void;
}

type State =
  | { readonly kind: 'roomy' | 'refusing' }
  | { readonly kind: 'holding' | 'calming'; readonly sinceMs: number };

export class SpacePatience {
  readonly #parts: SpacePatienceParts;
  #state: State = { kind: 'roomy' };
  #stopLooking: () => void = () => {};
  #stopped = false;

  constructor(parts: SpacePatienceParts) {
    this.#parts = parts;
  }

  /** Whether a write that finds nothing waits rather than fails. */
  get holdsWriters(): boolean {
    return this.#state.kind !== 'refusing' && this.#parts.patienceSeconds() > 0;
  }

  /** Whoever needs space now finds nothing. */
  nothingLeft(): void {
    const { kind } = this.#state;
    if (this.#stopped || kind === 'refusing' || this.#parts.patienceSeconds() > 0) return;
    if (kind === 'roomy') this.#startLooking();
    this.#refuse();
  }

  /** A write is held; may be told more than once. */
  writerHeld(): void {
    const { kind } = this.#state;
    if (this.#stopped || kind === 'holding' || kind === 'refusing') return;
    this.#enter('holding');
    if (kind === 'calming') return;
    this.#startLooking();
    this.#tell(
      'error',
      'pool/full',
      `is full: writes that need space wait for up to ${this.#parts.patienceSeconds()} s, everything else goes on`,
    );
  }

  /** There is space again for some at least. */
  spaceCame(): void {
    const { kind } = this.#state;
    if (kind === 'holding') this.#enter('holding');
    else if (kind === 'refusing') this.#enter('calming');
  }

  /** What an operator should know now. */
  get warnings(): readonly PoolWarning[] {
    const { subject, patienceSeconds, heldWriters } = this.#parts;
    const full = (what: string): PoolWarning[] => [
      {
        level: 'critical',
        code: 'pool/full',
        message: `pool ${subject} is full: ${what}`,
        actions: [
          `varve disk add ${subject} DISK-URI: what waits goes on by itself`,
          'delete snapshots or volumes, or trim in the guests',
        ],
      },
    ];
    const state = this.#state;
    if (state.kind === 'refusing') return full('writes that need space fail');
    if (state.kind !== 'holding') return [];
    const left = Math.max(0, Math.ceil(patienceSeconds() - this.#secondsSince(state.sinceMs)));
    return full(`${heldWriters()} writes wait for space, for ${left} s more`);
  }

  /** Looks no more: nobody is held any more, or soon. */
  stop(): void {
    this.#stopLooking();
    this.#stopped = true;
    this.#state = { kind: 'roomy' };
  }

  #startLooking(): void {
    this.#stopLooking = this.#parts.clock.every(lookIntervalMs, () => this.#look());
  }

  #look(): void {
    const { patienceSeconds, heldWriters } = this.#parts;
    const state = this.#state;
    if (state.kind === 'calming') {
      if (1000 * this.#secondsSince(state.sinceMs) >= calmMs) this.#end();
    } else if (state.kind === 'holding') {
      if (heldWriters() === 0) this.#enter('calming');
      else if (this.#secondsSince(state.sinceMs) >= patienceSeconds()) this.#refuse();
    }
  }

  #refuse(): void {
    this.#state = { kind: 'refusing' };
    this.#tell('error', 'pool/out-of-space', 'is full: writes that need space fail');
    this.#parts.onRefuse();
  }

  #end(): void {
    this.#state = { kind: 'roomy' };
    this.#stopLooking();
    this.#tell('info', 'pool/has-space', 'has space for those who write');
  }

  #enter(kind: 'holding' | 'calming'): void {
    this.#state = { kind, sinceMs: this.#parts.clock.nowMs() };
  }

  #secondsSince(ms: number): number {
    return (this.#parts.clock.nowMs() - ms) / 1000;
  }

  #tell(level: 'info' | 'error', kind: string, what: string): void {
    const { subject, emit } = this.#parts;
    emit({ kind, level, subject, message: `pool ${subject} ${what}` });
  }
}
