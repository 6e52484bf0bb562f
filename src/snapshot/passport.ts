/**
 * What a snapshot is known by wherever its content is: in other pools, on other hosts, in a backup.
 *
 * A snapshot gets a uuid when it is taken, and keeps it: as a bookmark, when its volume moves, when it is received elsewhere. One that an
 * earlier version took is known by its pool and its id there; ids are never used twice.
 */
import { derivedUuid } from '../base/ids.ts';
import type { Pool } from '../pool/pool.ts';
import type { Found, FoundSnapshot } from './catalog.ts';
import type { BookmarkRecord, SnapshotRecord } from './types.ts';

/** A name may be anybody's; the uuid is not. */
export interface Identity {
  readonly uuid: string;
  readonly name: string;
}

/** With everything that is kept with it, but for what belongs to one place. */
export type SnapshotPassport = Identity &
  Pick<
    SnapshotRecord,
    'sizeBytes' | 'createdAt' | 'consistency' | 'note' | 'labels' | 'attachment'
  >;

export function snapshotUuid(
  pool: Pick<Pool, 'uuid'>,
  { id, uuid }: SnapshotRecord | BookmarkRecord,
): string {
  return uuid ?? derivedUuid(pool.uuid, `snapshot ${id}`);
}

export function identityOf({ pool, record }: Found): Identity {
  return { uuid: snapshotUuid(pool, record), name: record.name };
}

export function passportOf(found: FoundSnapshot): SnapshotPassport {
  const { sizeBytes, createdAt, consistency, note, labels, attachment } = found.record;
  return {
    ...identityOf(found),
    sizeBytes,
    createdAt,
    consistency,
    ...(note === undefined ? {} : { note }),
    ...(labels === undefined ? {} : { labels }),
    ...(attachment === undefined ? {} : { attachment }),
  };
}
