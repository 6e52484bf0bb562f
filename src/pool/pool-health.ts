/**
 * PoolHealth: whether a pool may still be used, and what its operator should know.
 *
 * Failing is final. Warnings hold until their cause is gone.
 */
import { isDiskIo, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { isFenced, type NewOwner } from './fenced.ts';
import type { RecoveredPool } from './recovery.ts';
import type { EmitEvent, PoolWarning } from './types.ts';

type Recovery = Pick<RecoveredPool, 'rebuilt' | 'recoveredDeltas' | 'left'>;

export interface PoolHealthParts {
  readonly pool: string;
  readonly log: Log;
  readonly emit: EmitEvent;
  /** Told once. */
  readonly onFailure: (cause: unknown) => void;
  /** Told once. */
  readonly onIndexDamage: () => void;
}

export class PoolHealth {
  readonly #parts: PoolHealthParts;
  readonly #warnings = new Map<string, PoolWarning>();
  #failure: string | undefined;
  #fencedBy: NewOwner | undefined;

  constructor(parts: PoolHealthParts) {
    this.#parts = parts;
  }

  /** Why the pool stopped, if it did. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Who has the pool now, if it was taken over. */
  get fencedBy(): NewOwner | undefined {
    return this.#fencedBy;
  }

  get warnings(): readonly PoolWarning[] {
    return [...this.#warnings.values()];
  }

  /** @param why shown to people, unless the cause says enough */
  fail(cause: unknown, why = messageOf(cause)): void {
    if (this.#failure !== undefined) return;
    this.#failure = why;
    if (isFenced(cause)) this.#fencedBy = cause.by;
    const kind = this.#fencedBy === undefined ? 'pool/failed' : 'pool/fenced';
    this.tell('error', kind, `pool ${this.#parts.pool} stopped: ${why}`);
    this.#parts.onFailure(cause);
  }

  /** What callers get once the pool has failed, or because of `cause`. */
  failedError(cause?: unknown): StorageError {
    const why = this.#failure ?? messageOf(cause);
    return new StorageError('pool/failed', `pool ${this.#parts.pool} stopped: ${why}`, { cause });
  }

  /** Work of the background did not end well: what a disk has to do with is final, the rest is tried again. */
  maintenanceFailed(work: 'fold' | 'checkpoint', error: unknown): void {
    if (this.#failure !== undefined) return;
    const { log, pool } = this.#parts;
    const message = `${work} of pool ${pool} failed: ${messageOf(error)}`;
    log.error({ pool, error }, message);
    const action = 'add space or delete volumes: with a full journal no new space can be written';
    if (isFatal(error)) this.fail(error, message);
    else if (work === 'fold') this.indexDamaged(error);
    else this.#warn('pool/checkpoint', message, action);
  }

  /** The index is only a copy: what it cannot answer fails, the next opening builds a new one. */
  indexDamaged(error: unknown): void {
    const { pool, onIndexDamage } = this.#parts;
    const message = `the index of pool ${pool} is damaged: ${messageOf(error)}`;
    const action = 'restart the service: it builds a new index from the disks';
    if (!this.#warn('pool/index', message, action)) return;
    this.tell('error', 'pool/index-damaged', message);
    onIndexDamage();
  }

  tellRecovery({ rebuilt, recoveredDeltas, left }: Recovery): void {
    if (rebuilt !== undefined) {
      const message = `the index of pool ${this.#parts.pool} was built from its disks: ${rebuilt}`;
      this.tell('warning', 'pool/index-rebuilt', message);
    }
    if (recoveredDeltas > 0) {
      const message = `${recoveredDeltas} changes of a killed service were recovered`;
      this.tell('info', 'pool/recovered', message);
    }
    for (const { uri } of left) {
      const message = `disk ${uri} was removed from pool ${this.#parts.pool}, as was begun before`;
      this.tell('info', 'disk/removed', message);
    }
  }

  /** No disk takes heartbeats: guests wait. */
  leaseRanOut(): void {
    const { pool } = this.#parts;
    const message = `pool ${pool} holds everything back: no disk takes a heartbeat`;
    if (!this.#warn('pool/lease', message, 'look at the disks and at the way to them')) return;
    this.tell('error', 'pool/lease-ran-out', message);
  }

  leaseHeldAgain(): void {
    this.clear('pool/lease');
    this.tell('info', 'pool/lease-held', `pool ${this.#parts.pool} goes on`);
  }

  /** @returns false when the warning holds already */
  #warn(code: string, message: string, action: string): boolean {
    const known = this.#warnings.has(code);
    this.#warnings.set(code, { level: 'critical', code, message, actions: [action] });
    return !known;
  }

  clear(code: string): void {
    this.#warnings.delete(code);
  }

  tell(level: 'info' | 'warning' | 'error', kind: string, message: string): void {
    const { emit, pool } = this.#parts;
    emit({ kind, level, subject: pool, message });
  }
}

/** A disk may have lost what was written to it, or is not ours any more. */
function isFatal(error: unknown): boolean {
  return isFenced(error) || isDiskIo(error);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
