/**
 * PoolHealth: whether a pool may still be used, and what its operator should know.
 *
 * Failing is final. Warnings hold until their cause is gone.
 */
import { StorageError } from '../base/errors.ts';
import type { EmitEvent, PoolWarning } from './types.ts';

export class PoolHealth {
  readonly #pool: string;
  readonly #emit: EmitEvent;
  readonly #onFailure: (cause: unknown) => void;
  readonly #warnings = new Map<string, PoolWarning>();
  #failure: string | undefined;

  /** @param onFailure told once */
  constructor(pool: string, emit: EmitEvent, onFailure: (cause: unknown) => void) {
    this.#pool = pool;
    this.#emit = emit;
    this.#onFailure = onFailure;
  }

  /** Why the pool stopped, if it did. */
  get failure(): string | undefined {
    return this.#failure;
  }

  get warnings(): readonly PoolWarning[] {
    return [...this.#warnings.values()];
  }

  /** @param why shown to people, unless the cause says enough */
  fail(cause: unknown, why = messageOf(cause)): void {
    if (this.#failure !== undefined) return;
    this.#failure = why;
    this.tell('error', 'pool/failed', `pool ${this.#pool} stopped: ${why}`);
    this.#onFailure(cause);
  }

  /** What callers get once the pool has failed, or because of `cause`. */
  failedError(cause?: unknown): StorageError {
    const why = this.#failure ?? messageOf(cause);
    return new StorageError('pool/failed', `pool ${this.#pool} stopped: ${why}`, { cause });
  }

  /** @returns false when the warning holds already */
  warn(code: string, message: string, action: string): boolean {
    const known = this.#warnings.has(code);
    this.#warnings.set(code, { level: 'critical', code, message, actions: [action] });
    return !known;
  }

  clear(code: string): void {
    this.#warnings.delete(code);
  }

  tell(level: 'info' | 'warning' | 'error', kind: string, message: string): void {
    this.#emit({ kind, level, subject: this.#pool, message });
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
