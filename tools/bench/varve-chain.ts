/**
 * varve's side of the chain benchmarks: a volume in a pool of its own, its chain worked on online, through REST.
 */
import { Service } from '../lib/service.ts';
import { type ChainDisk, type ChainKind, secondsOf, writeClusters } from './chain-disks.ts';
import type { RunningServer } from './servers.ts';

export const varveKind: ChainKind = {
  name: 'varve',
  deepens: true,
  create: (_folder, sizeMiB) => VarveChain.create(sizeMiB),
};

const volume = 'disk';

class VarveChain implements ChainDisk {
  readonly #service: Service;
  readonly #uri: string;
  #first = 0;
  #next = 0;

  private constructor(service: Service, uri: string) {
    this.#service = service;
    this.#uri = uri;
  }

  static async create(sizeMiB: number): Promise<VarveChain> {
    const service = await Service.start();
    try {
      await service.createPool(`${3 * sizeMiB}MiB`);
      return new VarveChain(service, await service.createExportedVolume(volume, `${sizeMiB}MiB`));
    } catch (error) {
      await service.dispose();
      throw error;
    }
  }

  async serve(): Promise<RunningServer> {
    return { uri: this.#uri, pid: this.#service.pid, stop: () => this.close() };
  }

  snapshot(): Promise<number> {
    const names = [`${volume}@s${this.#next++}`];
    return secondsOf(() => this.#service.rest('POST', '/v1/snapshots', { names }));
  }

  write(clusters: readonly number[]): Promise<void> {
    return writeClusters(['-f', 'raw', this.#uri], clusters);
  }

  deleteOldest(): Promise<number> {
    const path = `/v1/snapshots/${volume}@s${this.#first++}`;
    return secondsOf(() => this.#service.rest('DELETE', path));
  }

  close(): Promise<void> {
    return this.#service.dispose();
  }
}
