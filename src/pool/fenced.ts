/**
 * Fenced: another host has taken the pool; nothing of it may be written here any more.
 */
import { StorageError } from '../base/errors.ts';
import type { Label } from './format/label.ts';

/** Who has it now. */
export interface NewOwner {
  /** Host uuid; null when it has let go since. */
  readonly host: string | null;
  readonly epoch: number;
}

export class FencedError extends StorageError {
  readonly by: NewOwner;

  /** @param found the label of a higher epoch */
  constructor(found: Label) {
    const { owner, epoch, poolName } = found;
    const who = owner === null ? 'another host, which has let go of it since' : `host ${owner}`;
    super('pool/held', `${who} took pool ${poolName} over (epoch ${epoch})`, {
      actions: [
        `varve pool export ${poolName} forgets it here; varve pool import takes it back once it is free`,
      ],
    });
    this.by = { host: owner, epoch };
  }
}

export function isFenced(error: unknown): error is FencedError {
  return error instanceof FencedError;
}
