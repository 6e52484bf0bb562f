/**
 * Passwords of network disks, for the next start of the service: a file per list of disks, readable by its owner alone
 * (`STATE/disk-secrets.json` of pools, `STATE/passthrough-secrets.json`).
 *
 * They are nowhere else: not in the lists, not on the disks, not in events or logs.
 */
import { readFileIfThere, writeFileAtomically } from '../base/atomic-file.ts';
import { StorageError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import type { DiskLocation } from './disk-set.ts';

type SecretsByUri = ReadonlyMap<string, Secret>;

/** @throws StorageError service/state-version */
export async function readSecrets(path: string): Promise<SecretsByUri> {
  const content = await readFileIfThere(path);
  if (content === undefined) return new Map();
  try {
    const kept = JSON.parse(content.toString('utf8')) as Record<string, string>;
    return new Map(Object.entries(kept).map(([uri, secret]) => [uri, new Secret(secret)]));
  } catch {
    // The parser's own message would quote what it read.
    throw new StorageError('service/state-version', `${path} cannot be read`, {
      actions: ['remove the file, then import the pools (pass the disks through) with passwords'],
    });
  }
}

/** Keeps the passwords of exactly these disks; without any, no file is made. */
export async function writeSecrets(path: string, disks: readonly DiskLocation[]): Promise<void> {
  const kept = disks.flatMap(({ uri, secret }) =>
    secret === undefined ? [] : [[uri, secret.reveal()] as const],
  );
  if (kept.length === 0 && (await readFileIfThere(path)) === undefined) return;
  await writeFileAtomically(path, JSON.stringify(Object.fromEntries(kept), null, 2));
}

/** The disk with its password, if it has one. */
export function withSecret(disk: DiskLocation, secrets: SecretsByUri): DiskLocation {
  const secret = secrets.get(disk.uri);
  return secret === undefined ? disk : { ...disk, secret };
}
