/**
 * Where a volume's data is to lie: on disks of a class, on one disk, or anywhere.
 */
import { StorageError } from '../base/errors.ts';
import type { Target } from '../pool/allocator.ts';
import type { Pool } from '../pool/pool.ts';

/** As stored with the volume; one of the two. */
export interface VolumePlacement {
  readonly class?: string;
  /** Its uuid: another disk may get its number. */
  readonly disk?: string;
}

/** @throws StorageError request/invalid no disk of the pool is of that class */
export function expectClass(pool: Pick<Pool, 'name' | 'info'>, name: string): void {
  const classes = new Set(pool.info().disks.flatMap((disk) => disk.class ?? []));
  if (classes.has(name)) return;
  const known = classes.size === 0 ? 'its disks have none' : `there are ${[...classes].join(', ')}`;
  throw new StorageError(
    'request/invalid',
    `pool ${pool.name} has no disk of class ${name}: ${known}`,
    {
      actions: [`varve disk set-class DISK ${name}`],
    },
  );
}

/** A disk that the pool has not any more is no target. */
export function targetOf(pool: Pick<Pool, 'disks'>, placement: VolumePlacement = {}): Target {
  if (placement.class !== undefined) return { class: placement.class };
  const disk = pool.disks.find(({ label }) => label.diskUuid === placement.disk);
  return disk === undefined ? {} : { disk: disk.label.diskNumber };
}
