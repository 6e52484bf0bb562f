/**
 * ETag and If-Match: a changing call that was decided on an older version is refused.
 *
 * A tag covers what operators set (names, sizes, addresses), not counters: a guest's write must not make every
 * change fail. Pure.
 */
import { createHash } from 'node:crypto';
import { StorageError } from '../base/errors.ts';

/** A strong tag of the configuration's values. */
export function etagOf(configuration: object): string {
  const digest = createHash('sha256').update(JSON.stringify(configuration)).digest('base64url');
  return `"${digest.slice(0, 22)}"`;
}

/**
 * @param ifMatch the header as sent, if it was: a list of tags, or `*`
 * @throws StorageError request/precondition none of them is the present one
 */
export function checkIfMatch(ifMatch: string | undefined, configuration: object): void {
  if (ifMatch === undefined || ifMatch.trim() === '*') return;
  const present = etagOf(configuration);
  if (ifMatch.split(',').some((tag) => tag.trim() === present)) return;
  throw new StorageError('request/precondition', 'it has changed since it was read', {
    actions: ['read it again, decide again, then repeat with its new ETag'],
  });
}
