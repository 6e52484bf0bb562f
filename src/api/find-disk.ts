/**
 * Which disk is meant by a uuid, the beginning of one, a path, a URI, or by its number in its pool (`gold/0`).
 */
import { StorageError } from '../base/errors.ts';
import type { PassthroughInfo } from '../export/types.ts';
import type { DiskInfo } from '../pool/types.ts';
import type { PoolsPort } from './ports.ts';

/** Shorter beginnings of a uuid are too easily another's. */
const uuidPrefixCharsMin = 4;

interface NamedDisk extends Pick<DiskInfo, 'uuid' | 'uri' | 'path'> {
  /** null: of no pool. */
  readonly pool: string | null;
  readonly number: number | null;
}

function namesOf({ uuid, uri, path, pool, number }: NamedDisk): string[] {
  return [uuid, uri, path, ...(pool === null ? [] : [`${pool}/${number}`])];
}

/** @throws StorageError disk/not-found none, or more than one by that beginning */
export function findDisk<D extends NamedDisk>(disks: readonly D[], wanted: string): D {
  const exact = disks.find((disk) => namesOf(disk).includes(wanted));
  if (exact !== undefined) return exact;
  const long = wanted.length >= uuidPrefixCharsMin;
  const alike = long ? disks.filter((disk) => disk.uuid.startsWith(wanted)) : [];
  const [only] = alike;
  if (only !== undefined && alike.length === 1) return only;
  const why = alike.length > 1 ? `${alike.length} disks begin with` : 'there is no disk';
  throw new StorageError('disk/not-found', `${why} ${wanted}`, { actions: ['varve disk list'] });
}

/** @throws StorageError disk/in-use it is passed through, so that it is of no pool */
export function expectNotPassedThrough(
  passthroughs: readonly PassthroughInfo[],
  wanted: string,
): void {
  const found = passthroughs.find(({ uuid, disk }) => [uuid, disk.uri, disk.path].includes(wanted));
  if (found === undefined) return;
  throw new StorageError(
    'disk/in-use',
    `disk ${found.disk.uri} is of no pool: it is passed through as export ${found.export}`,
    { actions: [`varve export remove ${found.export} lets go of it`] },
  );
}

/**
 * Of those that hold clusters of a pool.
 *
 * @throws StorageError disk/not-found; disk/in-use it is an adopted one, that is only read
 */
export function findPoolDisk(pools: Pick<PoolsPort, 'list'>, wanted: string): DiskInfo {
  const disks = pools.list().flatMap((pool) => pool.disks);
  const disk = findDisk(disks, wanted);
  if (disk.role !== 'adopted') return disk;
  throw new StorageError(
    'disk/in-use',
    `disk ${disk.uri} was adopted: it is only read, by the volume adopted from it, and goes when nothing reads it any more`,
    { actions: ['varve volume list -o wide names the volume', 'varve volume absorb VOLUME'] },
  );
}
