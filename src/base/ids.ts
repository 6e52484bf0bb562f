/**
 * Identities that are made, not counted: pools, disks and hosts.
 */
import { randomUUID } from 'node:crypto';

/** A random uuid in lower case with dashes. */
export function newUuid(): string {
  return randomUUID();
}
