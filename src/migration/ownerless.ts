/**
 * Ownerless clusters: a damaged pool counts them as used though no map names them, so that nothing moves them and nobody gives them up.
 *
 * Guarantee: a movement that empties a disk ends with an error about them, where it would wait for ever for the disk to be empty.
 */
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { countOwnerless } from '../pool/online-check.ts';
import type { Pool } from '../pool/pool.ts';

/**
 * Walks over the whole map: for a round that left as much on the disk as it found.
 *
 * @throws StorageError pool/damaged there are such clusters on the disk
 */
export async function expectNoneOwnerless(pool: Pool, disk: number, uri: string): Promise<void> {
  const count = await countOwnerless(pool, disk);
  if (count === 0) return;
  const bytes = formatSize(count * pool.clusterBytes);
  throw new StorageError(
    'pool/damaged',
    `${bytes} of disk ${uri} are marked used, but no volume or snapshot of pool ${pool.name} names them; all else was moved`,
    { actions: [`varve pool check ${pool.name} lists these clusters`] },
  );
}
