/** The pool of behind.test.ts and of the process it kills: the volume `far` lies on a disk of its own that carries no replica of the journal. */
import { join } from 'node:path';
import type { VolumePlane } from '../../src/dataplane/data-plane.ts';
import type { Pools } from '../../src/pool/pools.ts';
import type { VolumeService } from '../../src/volume/volume-service.ts';
import type { FaultyPlane } from './faulty-plane.ts';

const names = ['a', 'b', 'c', 'far'];

export async function createPool(
  pools: Pools,
  volumes: VolumeService,
  folder: string,
): Promise<void> {
  const uris = names.map((name) => `file:${join(folder, name)}?size=64MiB`);
  const { pool } = await pools.create('gold', uris, { patienceSeconds: 86_400 });
  for (const { number } of pool.disks) {
    const label = number === pool.disks.at(-1)?.number ? 'far' : 'near';
    await pools.get('gold').placeDisk(number, { class: label, cordoned: false });
  }
  await volumes.create({ name: 'far', sizeBytes: 2 ** 25, class: 'far' });
  await volumes.create({ name: 'near', sizeBytes: 2 ** 25, class: 'near' });
}

export function hangSyncs(plane: FaultyPlane, folder: string): void {
  plane.setFaults(join(folder, 'far'), [{ op: 'sync', kind: 'hang' }]);
}

export function blockOf(block: number): Uint8Array {
  return new Uint8Array(65536).fill(1 + (block % 250));
}

/** So many blocks, each flushed. */
export async function writeNear(near: VolumePlane, blocks: number): Promise<void> {
  for (let block = 0; block < blocks; block++) {
    await near.write(block * 65536, blockOf(block));
    await near.flush();
  }
}
