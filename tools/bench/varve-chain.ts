/**
 * varve's side of the chain benchmarks: a volume in a pool of its own, its chain worked on online, through REST.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../lib/command.ts';
import { Service } from '../lib/service.ts';
import {
  type ChainDisk,
  type ChainKind,
  type DiskContent,
  secondsOf,
  writeClusters,
} from './chain-disks.ts';
import type { Figures } from './chain-session.ts';
import { median } from './compare.ts';
import { cpuSeconds } from './cpu.ts';
import { measureStride } from './fio.ts';
import { residentMiB } from './process-memory.ts';
import type { RunningServer } from './servers.ts';

export const varveKinds: readonly ChainKind[] = [
  { name: 'varve', depthMax: 1000, create: (_, ...shape) => VarveChain.create('row', ...shape) },
  { name: 'varve cow', depthMax: 1, create: (_, ...shape) => VarveChain.create('cow', ...shape) },
];

const synthesizer = join(import.meta.dirname, 'synthetic-map.ts');
const volume = 'disk';
const clones = 1000;
const regionMiB = 256;
const idleMs = 500;
const synthesisMs = 3_600_000;

class VarveChain implements ChainDisk {
  readonly #service: Service;
  readonly #sizeMiB: number;
  readonly #own = new Map<string, number>();
  readonly #pausesMs: number[] = [];
  #first = 0;
  #next = 0;

  private constructor(service: Service, sizeMiB: number) {
    this.#service = service;
    this.#sizeMiB = sizeMiB;
  }

  static async create(
    mode: 'row' | 'cow',
    sizeMiB: number,
    content: DiskContent,
  ): Promise<VarveChain> {
    const service = await Service.start();
    try {
      await service.createPool(`${3 * sizeMiB}MiB`);
      const shape = ['--size', `${sizeMiB}MiB`, '--pool', 'main', '--snapshot-mode', mode];
      await service.varve('volume', 'create', volume, ...shape);
      await service.varve('export', 'add', volume);
      const chain = new VarveChain(service, sizeMiB);
      if (content === 'mapped') await chain.#mapWhole();
      return chain;
    } catch (error) {
      await service.dispose();
      throw error;
    }
  }

  async #mapWhole(): Promise<void> {
    await this.#service.stop();
    const program = ['--import', 'tsx', synthesizer, this.#service.state, volume];
    const made = secondsOf(() => run(process.execPath, program, { timeoutMs: synthesisMs }));
    this.#own.set('map through journal and index, s', await made);
    await this.#service.restart();
  }

  async serve(): Promise<RunningServer> {
    return { uri: this.#uri, pid: this.#service.pid, stop: () => this.close() };
  }

  async snapshot(): Promise<number> {
    const names = [`${volume}@s${this.#next++}`];
    return secondsOf(async () => {
      const { pause_seconds } = await this.#service.rest('POST', '/v1/snapshots', { names });
      this.#pausesMs.push(1000 * Number(pause_seconds));
    });
  }

  write(clusters: readonly number[]): Promise<void> {
    return writeClusters(['-f', 'raw', this.#uri], clusters);
  }

  /** The answer comes at once; what it takes until the layers are merged is among the kind's own figures. */
  async deleteOldest(): Promise<number> {
    const path = `/v1/snapshots/${volume}@s${this.#first++}`;
    const cpuBefore = cpuSeconds(this.#service.pid);
    const answered = await secondsOf(() => this.#service.rest('DELETE', path));
    const merged = await secondsOf(() => this.#idle());
    this.#own.set('until it is merged, s', answered + merged);
    this.#own.set('CPU of that, s', cpuSeconds(this.#service.pid) - cpuBefore);
    return answered;
  }

  async own(): Promise<Figures> {
    const figures = new Map([...this.#own, ["guest's pause, ms", median(this.#pausesMs)]]);
    const kill = async () => {
      await this.#service.kill9();
      await this.#service.restart();
      await this.#readFirst();
    };
    figures.set('kill -9 to first read, s', await secondsOf(kill));
    await this.#idle();
    const before = residentMiB(this.#service.pid);
    const server = await this.serve();
    const miss = await measureStride(server, regionMiB, this.#sizeMiB);
    figures.set('memory of the map, MiB', residentMiB(this.#service.pid) - before);
    figures.set('first read of a region, µs', miss.p50Us);
    const hit = await measureStride(server, regionMiB, this.#sizeMiB);
    figures.set('second read of it, µs', hit.p50Us);
    figures.set(`${clones} clones, s`, await secondsOf(() => this.#clone()));
    return figures;
  }

  close(): Promise<void> {
    return this.#service.dispose();
  }

  get #uri(): string {
    return this.#service.uri(volume);
  }

  async #clone(): Promise<void> {
    const source = `${volume}@s${this.#next - 1}`;
    for (let at = 0; at < clones; at++) {
      await this.#service.rest('POST', `/v1/volumes/clone${at}/actions/clone`, { source });
    }
  }

  async #readFirst(): Promise<void> {
    await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -q 0 4k', this.#uri]);
  }

  /** Waits until the service has nothing to do any more. */
  async #idle(): Promise<void> {
    for (;;) {
      const before = cpuSeconds(this.#service.pid);
      await delay(idleMs);
      if (cpuSeconds(this.#service.pid) - before < 0.02) return;
    }
  }
}
