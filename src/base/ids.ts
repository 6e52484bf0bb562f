/**
 * Identities that are made, not counted: pools, disks and hosts.
 */
import { randomUUID } from 'node:crypto';

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether it is one in lower case with dashes. */
export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

/** A random uuid in lower case with dashes. */
export function newUuid(): string {
  return randomUUID();
}
