/**
 * A pool that is known by its disks only: it could not be opened, or is about to be imported.
 */
import type { StorageError } from '../base/errors.ts';
import type { PoolEntry } from './pool-list.ts';
import type { PoolInfo, PoolWarning } from './types.ts';

export interface UnopenedPool {
  readonly entry: PoolEntry;
  /** Why; null when nobody tried yet. */
  readonly error: StorageError | null;
}

/** Its sizes are not known and read zero. */
export function describeUnopened({ entry, error }: UnopenedPool): PoolInfo {
  return {
    uuid: entry.uuid,
    name: entry.name,
    state: error === null ? 'online' : 'failed',
    readOnly: false,
    warnings: error === null ? [] : [warningOf(error)],
    clusterBytes: 0,
    capacityBytes: 0,
    usedBytes: 0,
    freeBytes: 0,
    promisedBytes: 0,
    reserveBytes: 0,
    disks: [],
    journalBytes: 0,
    journalUsedBytes: 0,
    patienceSeconds: 0,
    createdAt: '',
  };
}

function warningOf(error: StorageError): PoolWarning {
  return {
    level: 'critical',
    code: error.code,
    message: error.message,
    actions: error.actions,
  };
}
