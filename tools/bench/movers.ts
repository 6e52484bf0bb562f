/**
 * Who moves a disk's content from one file to another, each in its own way: what a benchmark of moves does to every one of them.
 *
 * A move has ended when everything is durable where it came to. All go through the page cache.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { QmpChannel } from '../../src/export/qmp-channel.ts';
import { run } from '../lib/command.ts';
import { Service } from '../lib/service.ts';
import { secondsOf } from './chain-disks.ts';
import type { RunningServer } from './servers.ts';
import { startStorageDaemon } from './storage-daemon.ts';

export interface MovableDisk {
  /** Serves it to a guest, before, during and after its moves. */
  readonly server: RunningServer;
  /** @returns seconds */
  move(): Promise<number>;
  close(): Promise<void>;
}

export interface Mover {
  readonly name: string;
  /** Whether a guest goes on meanwhile. */
  readonly isOnline: boolean;
  /** @param folder an existing, empty one */
  create(folder: string, sizeMiB: number): Promise<MovableDisk>;
}

const timeoutMs = 600_000;
const pollMs = 10;

export const movers: readonly Mover[] = [
  {
    name: 'varve disk drain',
    isOnline: true,
    create: (_, sizeMiB) => VarveDisk.create('drain', sizeMiB),
  },
  {
    name: 'varve volume move',
    isOnline: true,
    create: (_, sizeMiB) => VarveDisk.create('move', sizeMiB),
  },
  { name: 'cp', isOnline: false, create: (...place) => FileDisk.create('cp', ...place) },
  {
    name: 'qemu-img convert',
    isOnline: false,
    create: (...place) => FileDisk.create('convert', ...place),
  },
  { name: 'blockdev-mirror', isOnline: true, create: (...place) => MirroredDisk.create(...place) },
];

/** A pool of two disks; everything goes from one to the other and back. */
class VarveDisk implements MovableDisk {
  readonly #service: Service;
  readonly #how: 'drain' | 'move';
  readonly #disks: readonly string[];
  readonly server: RunningServer;
  #moves = 0;

  private constructor(service: Service, how: 'drain' | 'move', disks: readonly string[]) {
    this.#service = service;
    this.#how = how;
    this.#disks = disks;
    this.server = { uri: service.uri('disk'), pid: service.pid, stop: () => this.close() };
  }

  static async create(how: 'drain' | 'move', sizeMiB: number): Promise<VarveDisk> {
    const service = await Service.start();
    try {
      await service.createPool(`${2 * sizeMiB}MiB`, 2);
      const { items = [] } = await service.varve('disk', 'list');
      const disks = items.map(({ uuid }) => String(uuid));
      for (const [at, disk] of disks.entries()) {
        await service.varve('disk', 'set-class', disk, `class${at}`);
      }
      const shape = ['--size', `${sizeMiB}MiB`, '--pool', 'main', '--class', 'class0'];
      await service.varve('volume', 'create', 'disk', ...shape);
      await service.varve('export', 'add', 'disk');
      return new VarveDisk(service, how, disks);
    } catch (error) {
      await service.dispose();
      throw error;
    }
  }

  async move(): Promise<number> {
    const from = this.#moves++ % 2;
    const path = await this.#prepare(from);
    const body = this.#how === 'drain' ? {} : { to: `class${1 - from}` };
    return secondsOf(async () => {
      const { id } = await this.#service.rest('POST', path, body);
      for (;;) {
        const { state, error } = await this.#service.rest('GET', `/v1/operations/${id}`);
        if (state === 'succeeded') return;
        if (state !== 'running') throw new Error(`${path}: ${JSON.stringify(error)}`);
        await delay(pollMs);
      }
    });
  }

  close(): Promise<void> {
    return this.#service.dispose();
  }

  async #prepare(from: number): Promise<string> {
    if (this.#how === 'move') return '/v1/volumes/disk/actions/move';
    await this.#service.varve('disk', 'uncordon', this.#disks[1 - from] as string);
    return `/v1/disks/${this.#disks[from]}/actions/drain`;
  }
}

/** A raw file that a program copies while nobody writes. */
class FileDisk implements MovableDisk {
  readonly #how: 'cp' | 'convert';
  readonly #folder: string;
  readonly server: RunningServer;
  #moves = 0;

  private constructor(how: 'cp' | 'convert', folder: string, server: RunningServer) {
    this.#how = how;
    this.#folder = folder;
    this.server = server;
  }

  static async create(how: 'cp' | 'convert', folder: string, sizeMiB: number): Promise<FileDisk> {
    await run('truncate', ['-s', `${sizeMiB}M`, imageIn(folder, 0)]);
    return new FileDisk(how, folder, await startStorageDaemon(folder, 'raw', imageIn(folder, 0)));
  }

  /** Always the same source: what serves it has it open. */
  async move(): Promise<number> {
    const [source, target] = [imageIn(this.#folder, 0), imageIn(this.#folder, ++this.#moves)];
    const seconds = await secondsOf(async () => {
      if (this.#how === 'cp') await run('cp', ['--reflink=never', source, target], { timeoutMs });
      else await run('qemu-img', ['convert', '-U', ...raw, source, target], { timeoutMs });
      await run('sync', [target], { timeoutMs });
    });
    await run('rm', [target]);
    return seconds;
  }

  close(): Promise<void> {
    return this.server.stop();
  }
}

const raw = ['-f', 'raw', '-O', 'raw'];

/** A raw file that QEMU's storage daemon serves and mirrors; guests write to both until it has switched over. */
class MirroredDisk implements MovableDisk {
  readonly #folder: string;
  readonly #sizeMiB: number;
  readonly #qmp: QmpChannel;
  readonly server: RunningServer;
  #moves = 0;
  #node = 'disk';

  private constructor(folder: string, sizeMiB: number, server: RunningServer, qmp: QmpChannel) {
    this.#folder = folder;
    this.#sizeMiB = sizeMiB;
    this.server = server;
    this.#qmp = qmp;
  }

  static async create(folder: string, sizeMiB: number): Promise<MirroredDisk> {
    const monitor = join(folder, 'qmp.sock');
    await run('truncate', ['-s', `${sizeMiB}M`, imageIn(folder, 0)]);
    const flags = [
      ...['--chardev', `socket,id=monitor,path=${monitor},server=on,wait=off`],
      ...['--monitor', 'chardev=monitor'],
    ];
    const server = await startStorageDaemon(folder, 'raw', imageIn(folder, 0), flags);
    return new MirroredDisk(
      folder,
      sizeMiB,
      server,
      await QmpChannel.open(monitor, AbortSignal.timeout(timeoutMs)),
    );
  }

  async move(): Promise<number> {
    const path = imageIn(this.#folder, ++this.#moves);
    const target = `disk${this.#moves}`;
    await run('truncate', ['-s', `${this.#sizeMiB}M`, path]);
    const file = { driver: 'file', filename: path, discard: 'unmap' };
    await this.#qmp.command('blockdev-add', { driver: 'raw', 'node-name': target, file });
    const job = { 'job-id': 'move', device: this.#node, target, sync: 'full' };
    const seconds = await secondsOf(async () => {
      await this.#qmp.command('blockdev-mirror', job);
      await this.#qmp.event(({ event }) => event === 'BLOCK_JOB_READY');
      await this.#qmp.command('job-complete', { id: 'move' });
      await this.#qmp.event(({ event }) => event === 'BLOCK_JOB_COMPLETED');
      await run('sync', [path], { timeoutMs });
    });
    await this.#qmp.command('blockdev-del', { 'node-name': this.#node });
    await run('rm', [imageIn(this.#folder, this.#moves - 1)]);
    this.#node = target;
    return seconds;
  }

  async close(): Promise<void> {
    this.#qmp.close();
    await this.server.stop();
  }
}

function imageIn(folder: string, number: number): string {
  return join(folder, `disk${number}.raw`);
}
