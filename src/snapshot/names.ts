/**
 * VOLUME@SNAPSHOT, as people and scripts write it.
 */
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import type { SnapshotName } from './types.ts';

/** @throws StorageError request/invalid */
export function parseSnapshotName(text: string): SnapshotName {
  const at = text.indexOf('@');
  if (at < 0) {
    throw new StorageError('request/invalid', `"${text}" names a volume, not a snapshot`, {
      actions: ['name the snapshot as VOLUME@SNAPSHOT'],
    });
  }
  const [volume, snapshot] = [text.slice(0, at), text.slice(at + 1)];
  expectName('volume', volume);
  expectName('snapshot', snapshot);
  return { volume, snapshot };
}

export function formatSnapshotName({ volume, snapshot }: SnapshotName): string {
  return `${volume}@${snapshot}`;
}
