/**
 * The offline check, together with the index that this host keeps of the pool.
 *
 * LevelDB has no way to open without tidying its own files, so the host's folder, never a disk, may be written to.
 */
import { stat } from 'node:fs/promises';
import { StorageError } from '../../base/errors.ts';
import { hostKey } from '../format/index-keys.ts';
import { IndexStore } from '../index-store.ts';
import type { CheckReport } from '../types.ts';
import { checkOffline } from './check-offline.ts';

async function appliedSequence(store: IndexStore, folder: string): Promise<number> {
  const value = await store.get(hostKey('applied'));
  if (value !== undefined) {
    const { sequence } = JSON.parse(Buffer.from(value).toString('utf8')) as { sequence?: unknown };
    if (typeof sequence === 'number') return sequence;
  }
  throw new StorageError('pool/damaged', `the index in ${folder} does not say what it reflects`);
}

/**
 * Checks a pool's disks and that the index in `folder` agrees with them.
 *
 * @throws StorageError request/invalid there is no such folder
 * @throws StorageError pool/damaged the index cannot be read; the next opening of the pool builds a new one
 */
export async function checkOfflineWithIndex(
  paths: readonly string[],
  folder: string,
): Promise<CheckReport> {
  const there = await stat(folder).catch(() => null);
  if (there === null || !there.isDirectory()) {
    throw new StorageError('request/invalid', `there is no index in ${folder}`);
  }
  const store = await IndexStore.open(folder);
  try {
    const index = {
      appliedSequence: await appliedSequence(store, folder),
      entries: store.entries(),
    };
    return await checkOffline(paths, { index });
  } finally {
    await store.close();
  }
}
