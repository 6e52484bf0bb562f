/**
 * What a life of kills takes place on: a service with pool `main` on two or three files and volumes of both snapshot modes, in a shape that the
 * seed chooses: backend, size of the clusters, a thick volume.
 */
import { join } from 'node:path';
import { Service } from '../lib/service.ts';
import { ended } from './operations.ts';
import { type Choice, readyMs } from './restarts.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
export const volumeBytes = 16 * MiB;

export interface Scene {
  readonly service: Service;
  readonly disks: readonly string[];
}

/** Names of the volumes; each is exported under its name. */
export const volumes = ['row', 'cow', 'third'] as const;

export async function makeScene(random: Choice): Promise<Scene> {
  const backend = random(0, 4) === 0 ? 'backend = "epoll"\n' : '';
  const service = await Service.start({ settings: backend, readyMs });
  try {
    const count = random(2, 4);
    const disks = Array.from(
      { length: count },
      (_, index) => `file:${join(service.folder, `disk${index}.img`)}`,
    );
    await service.rest('PUT', '/v1/pools/main', {
      disks: disks.map((disk) => `${disk}?size=1GiB`),
      // Larger ones have sub-blocks larger than what the stamped clients trim, of which nothing is promised then.
      cluster_size_bytes: (random(0, 3) === 0 ? 16 : 64) * KiB,
    });
    await makeVolumes(service, random);
    return { service, disks };
  } catch (error) {
    await service.dispose();
    throw error;
  }
}

async function makeVolumes(service: Service, random: Choice): Promise<void> {
  const shapes = [
    { snapshot_mode: 'row' },
    { snapshot_mode: 'cow' },
    { snapshot_mode: random(0, 2) === 0 ? 'row' : 'cow', thick: random(0, 2) === 0 },
  ];
  for (const [index, volume] of volumes.entries()) {
    const shape = { size_bytes: volumeBytes, pool: 'main', ...shapes[index] };
    await ended(service, await service.rest('PUT', `/v1/volumes/${volume}`, shape));
    await service.rest('PUT', `/v1/exports/${volume}`, { volume });
  }
}
