/**
 * Serials: what a guest knows a disk by, as in /dev/disk/by-id/virtio-SERIAL. Pure.
 *
 * The first 20 characters of a uuid, dashes included, because virtio-blk has no more; the same on every bus. They stay through restarts, renames and
 * moves, of the volume as of its export. 60 bits of a digest: no two disks of an installation share them.
 */
import { derivedUuid } from '../base/ids.ts';
import type { SnapshotInfo } from '../snapshot/types.ts';
import type { VolumeInfo } from '../volume/types.ts';
import type { DiskExportRecord, VolumeExportRecord } from './types.ts';

const serialChars = 20;

export function serialOfVolume({ uuid }: Pick<VolumeInfo, 'uuid'>): string {
  return uuid.slice(0, serialChars);
}

/** Other than its volume's, so that a guest may have both; what is written to a scratch export makes it another disk. */
export function serialOfSnapshot(
  { uuid }: Pick<VolumeInfo, 'uuid'>,
  { createdAt }: Pick<SnapshotInfo, 'createdAt'>,
  record: Pick<VolumeExportRecord, 'scratch' | 'createdAt'>,
): string {
  const scratch = record.scratch ? [`scratch ${record.createdAt}`] : [];
  return derivedUuid(uuid, `snapshot ${createdAt}`, ...scratch).slice(0, serialChars);
}

export function serialOfDisk({ uuid }: Pick<DiskExportRecord, 'uuid'>): string {
  return uuid.slice(0, serialChars);
}
