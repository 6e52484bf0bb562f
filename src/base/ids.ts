/**
 * Identities that are made, not counted: pools, disks and hosts; and those that follow from others.
 */
import { createHash, randomUUID } from 'node:crypto';

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether it is one in lower case with dashes. */
export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

/** A random uuid in lower case with dashes. */
export function newUuid(): string {
  return randomUUID();
}

/** The uuid that follows from these texts, the same on every host: of version 8 (RFC 9562), by SHA-256. */
export function derivedUuid(...from: readonly string[]): string {
  const digest = createHash('sha256').update(from.join('/')).digest('hex');
  const variant = '89ab'[Number.parseInt(digest.charAt(16), 16) % 4];
  const groups = [
    digest.slice(0, 8),
    digest.slice(8, 12),
    `8${digest.slice(13, 16)}`,
    `${variant}${digest.slice(17, 20)}`,
    digest.slice(20, 32),
  ];
  return groups.join('-');
}
