/**
 * What a soak takes place on: a service whose pool lies on three files and a LUN of a real iSCSI target, and volumes of both snapshot modes.
 *
 * The pool is small, so that it can be filled soon, and large enough for volumes that are written in scattered sub-blocks between snapshots: each of these may hold a cluster. Its patience is longer than any outage here: nothing may fail.
 */
import { join } from 'node:path';
import { Tgt } from '../../test/servers/tgt.ts';
import { Service } from '../lib/service.ts';
import { readyMs } from '../torture/restarts.ts';

const MiB = 1024 * 1024;
const diskBytes = 384 * MiB;
const patienceSeconds = 600;

/** Clients write on these, which exist from the beginning to the end. */
export const volumes = ['row', 'cow', 'third'] as const;
export const volumeBytes = 16 * MiB;

export interface Stage {
  readonly service: Service;
  readonly target: Tgt;
  /** What the disks that stay lie in, for whoever reads them without the service: behind a target the LUN's own file. */
  readonly disks: readonly string[];
  /** Of the one behind the target. */
  readonly remoteDisk: string;
  dispose(): Promise<void>;
}

export async function makeStage(): Promise<Stage> {
  const target = await Tgt.start();
  const service = await Service.start({ readyMs });
  const dispose = async () => {
    await service.dispose();
    await target.close();
  };
  try {
    const lun = await target.addLun({ sizeBytes: diskBytes, thin: true });
    const remoteDisk = target.uri(lun);
    const files = [0, 1, 2].map((index) => `file:${join(service.folder, `disk${index}.img`)}`);
    await service.rest('PUT', '/v1/pools/main', {
      disks: [...files.map((file) => `${file}?size=${diskBytes}`), remoteDisk],
      patience_seconds: patienceSeconds,
    });
    for (const volume of volumes) {
      const mode = { snapshot_mode: volume === 'cow' ? 'cow' : 'row' };
      const shape = { size_bytes: volumeBytes, pool: 'main', ...mode };
      await service.rest('PUT', `/v1/volumes/${volume}`, shape);
      await service.rest('PUT', `/v1/exports/${volume}`, { volume });
    }
    const disks = [...files, target.backingFile(lun)];
    return { service, target, disks, remoteDisk, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
