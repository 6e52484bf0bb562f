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
  clusterBytes,
  type DiskContent,
  secondsOf,
  writeClusters,
} from './chain-disks.ts';
import type { Figures } from './chain-session.ts';
import { median } from './compare.ts';
import { cpuSeconds } from './cpu.ts';
import { measureReplay, measureStride } from './fio.ts';
import { readFirst } from './first-read.ts';
import { mapWhole } from './map-whole.ts';
import { writtenBytes } from './process-writes.ts';
import { writeReplayLog } from './replay-log.ts';
import type { RunningServer } from './servers.ts';

export const varveKinds: readonly ChainKind[] = [
  { name: 'varve', depthMax: 1000, create: (_, ...shape) => VarveChain.create('row', ...shape) },
  { name: 'varve cow', depthMax: 1, create: (_, ...shape) => VarveChain.create('cow', ...shape) },
];

const volume = 'disk';
const clones = 1000;
const clusterMiB = clusterBytes / 2 ** 20;
const freshMiB = 4096;
/** Behind it the index has what was written before (src/pool/maintenance.ts). */
const foldedMs = 8000;
const typescript = ['--import', 'tsx'];
const folder = (name: string) => join(import.meta.dirname, name);
const regionMiB = 256;
const idleMs = 500;
/** Nothing that is under way takes longer for a step: at 10 TiB a checkpoint holds it up for more than four seconds. */
const stillMs = 30_000;

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
    const service = await Service.start({ readyMs: 300_000 });
    try {
      await service.createPool(`${sizeMiB + Math.max(3 * 4096, sizeMiB / 8)}MiB`);
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
    this.#own.set('map through journal and index, s', await mapWhole(this.#service, volume));
    // What a service does for its first request of a kind it does once, whatever is mapped.
    const names = [`${volume}@warm`];
    const dry = () => this.#service.rest('POST', '/v1/snapshots?dry_run=true', { names });
    this.#own.set('the first request of its kind, s', await secondsOf(dry));
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
    const cpuBefore = cpuSeconds(this.#service.pid);
    const answered = await secondsOf(() => this.#deleteFirst());
    this.#own.set('until it is merged, s', answered + (await secondsOf(() => this.#idle())));
    this.#own.set('CPU of that, s', cpuSeconds(this.#service.pid) - cpuBefore);
    return answered;
  }

  async own(): Promise<Figures> {
    const figures = new Map([...this.#own, ["guest's pause, ms", median(this.#pausesMs)]]);
    await this.#deleteLast(figures);
    await this.#restartAfterKill(figures);
    await this.#misses(figures);
    // Before anything is frozen: what is, is sealed in the background, which is metadata as well.
    await this.#metadataOfFreshWrites(figures);
    await this.snapshot();
    figures.set('clone, s', await secondsOf(() => this.#clone(0)));
    figures.set(`${clones} clones, s`, await secondsOf(() => this.#cloneMany()));
    await this.#service.stop();
    const foldRate = [...typescript, folder('fold-rate.ts'), this.#service.state, volume];
    const rate = await run(process.execPath, foldRate, { timeoutMs: 600_000 });
    figures.set('fold of a scattered change, µs', Number(rate));
    return figures;
  }

  close(): Promise<void> {
    return this.#service.dispose();
  }

  get #uri(): string {
    return this.#service.uri(volume);
  }

  get #millionSlots(): number {
    return this.#sizeMiB / clusterMiB / 1e6;
  }

  /** The only snapshot: the head takes over every cluster, but for those of slots that have several. */
  async #deleteLast(figures: Map<string, number>): Promise<void> {
    const { pid } = this.#service;
    const began = performance.now();
    const cpuBefore = cpuSeconds(pid);
    await this.#deleteFirst();
    figures.set('delete that moves every slot, answered, s', (performance.now() - began) / 1000);
    let left: unknown;
    let [changed, cpu] = [began, cpuBefore];
    while (performance.now() - changed < stillMs) {
      const { shared_bytes } = await this.#service.rest('GET', `/v1/volumes/${volume}`);
      if (shared_bytes !== left) [changed, cpu] = [performance.now(), cpuSeconds(pid)];
      left = shared_bytes;
      await delay(idleMs / 5);
    }
    figures.set('… merged, s per million slots', (changed - began) / 1000 / this.#millionSlots);
    figures.set('… CPU of that, s per million slots', (cpu - cpuBefore) / this.#millionSlots);
  }

  async #deleteFirst(): Promise<void> {
    await this.#service.rest('DELETE', `/v1/snapshots/${volume}@s${this.#first++}`);
  }

  async #restartAfterKill(figures: Map<string, number>): Promise<void> {
    await this.#service.kill9();
    const last = this.#sizeMiB * 1024 * 1024 - 4096;
    const started = performance.now();
    this.#service.launch();
    await readFirst(this.#service.nbdSocket, volume, last);
    figures.set('kill -9 to first read, s', (performance.now() - started) / 1000);
    await this.#service.ready();
    figures.set('… to ready for operators, s', (performance.now() - started) / 1000);
  }

  async #misses(figures: Map<string, number>): Promise<void> {
    await this.#idle();
    const server = await this.serve();
    const miss = await measureStride(server, regionMiB, this.#sizeMiB);
    const mapBytes = await this.#service.metric('varve_volume_map_bytes');
    figures.set('memory of the map, MiB', mapBytes / 2 ** 20);
    figures.set('first read of a region, µs', miss.p50Us);
    const hit = await measureStride(server, regionMiB, this.#sizeMiB);
    figures.set('second read of it, µs', hit.p50Us);
  }

  async #clone(at: number): Promise<void> {
    const source = `${volume}@s${this.#next - 1}`;
    await this.#service.rest('POST', `/v1/volumes/clone${at}/actions/clone`, { source });
  }

  async #cloneMany(): Promise<void> {
    for (let at = 1; at <= clones; at++) await this.#clone(at);
  }

  /** Whatever the service writes beside the data, journal and index: a 4 KiB write into each of many fresh clusters, in random order. */
  async #metadataOfFreshWrites(figures: Map<string, number>): Promise<void> {
    const log = join(this.#service.folder, 'fresh.log');
    writeReplayLog(log, freshMiB);
    await this.#service.varve('volume', 'create', 'fresh', '--size', `${freshMiB}MiB`);
    await this.#service.varve('export', 'add', 'fresh');
    await this.#idle();
    const { pid } = this.#service;
    const before = writtenBytes(pid);
    const server = { uri: this.#service.uri('fresh'), pid, stop: () => this.close() };
    await measureReplay(server, log, freshMiB);
    await delay(foldedMs);
    const count = freshMiB / clusterMiB;
    const own = writtenBytes(pid) - before - 4096 * count;
    figures.set('journal and index per fresh cluster, bytes', own / count);
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
