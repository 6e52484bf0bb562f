/**
 * Disks with chains, as their makers build them: what a chain benchmark does to every one of them.
 *
 * qcow2's chains are worked on offline, by qemu-img, as its internal snapshots have to be; a running QEMU would open
 * the same files. Its server is restarted after each such step and never part of a time.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import type { Figures } from './chain-session.ts';
import { qcow2 } from './peers.ts';
import type { RunningServer } from './servers.ts';
import { startStorageDaemon } from './storage-daemon.ts';

export const clusterBytes = 64 * 1024;

export interface ChainDisk {
  /** The server of the head, started when it does not run. */
  serve(): Promise<RunningServer>;
  /** Freezes the head; writes go above it from then on. @returns seconds */
  snapshot(): Promise<number>;
  /** Writes whole clusters into the head. */
  write(clusters: readonly number[]): Promise<void>;
  /** Removes the oldest snapshot of several: what is needed of it moves. @returns seconds */
  deleteOldest(): Promise<number>;
  /** Figures that no other kind has, as the disk is at the end. */
  own?(): Promise<Figures>;
  close(): Promise<void>;
}

export interface ChainKind {
  readonly name: string;
  /** How many snapshots in a row it is asked for; 1 where they do not make reads go through many images. */
  readonly depthMax: number;
  /** @param folder an existing, empty one */
  create(folder: string, sizeMiB: number, content: DiskContent): Promise<ChainDisk>;
}

/** `mapped`: every cluster has a place and nothing in it, so that the maps are as large as they become. */
export type DiskContent = 'empty' | 'mapped';

/** The peers: every form of a qcow2 snapshot, with and without sub-clusters. */
export const qcow2Kinds: readonly ChainKind[] = [false, true].flatMap((extendedL2) => {
  const suffix = extendedL2 ? ' extended_l2' : '';
  const options = `${qcow2},extended_l2=${extendedL2 ? 'on' : 'off'}`;
  return [
    {
      name: `qcow2${suffix}, external`,
      depthMax: 300,
      create: (...place) => ExternalChain.create(options, ...place),
    },
    {
      name: `qcow2${suffix}, internal`,
      depthMax: 1,
      create: (...place) => InternalChain.create(options, ...place),
    },
  ] satisfies ChainKind[];
});

/** What both forms share: one image that is written, by a server or by qemu-io. */
abstract class Qcow2Disk implements ChainDisk {
  readonly #folder: string;
  #server: RunningServer | undefined;
  #starts = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The image that is written. */
  protected abstract get head(): string;
  abstract snapshot(): Promise<number>;
  abstract deleteOldest(): Promise<number>;

  async serve(): Promise<RunningServer> {
    if (this.#server === undefined) {
      // A folder of its own: a killed server leaves its socket behind.
      const place = join(this.#folder, `server${++this.#starts}`);
      mkdirSync(place);
      this.#server = await startStorageDaemon(place, 'qcow2', this.head);
    }
    return this.#server;
  }

  async write(clusters: readonly number[]): Promise<void> {
    await this.close();
    await writeClusters(['-t', 'unsafe', '-f', 'qcow2', this.head], clusters);
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    // It is killed, and its map is in its memory until somebody flushes.
    await run('qemu-io', ['-f', 'raw', '-c', 'flush', server.uri], { timeoutMs: 300_000 });
    await server.stop();
  }

  protected image(name: string): string {
    return join(this.#folder, name);
  }

  /** Runs qemu-img while nothing else has the images open. @returns seconds */
  protected async timed(...commands: (readonly string[])[]): Promise<number> {
    await this.close();
    return secondsOf(async () => {
      for (const command of commands) await run('qemu-img', command, { timeoutMs: 600_000 });
    });
  }
}

/** One image per layer, each naming the one below: `layer0 ← layer1 ← …`. */
class ExternalChain extends Qcow2Disk {
  readonly #options: string;
  /** Oldest first; the last one is the head. */
  readonly #layers: string[];

  private constructor(folder: string, options: string) {
    super(folder);
    this.#options = options;
    this.#layers = [this.image('layer0')];
  }

  static async create(options: string, folder: string, ...shape: Shape): Promise<ExternalChain> {
    const disk = new ExternalChain(folder, options);
    await createImage(disk.head, options, ...shape);
    return disk;
  }

  protected get head(): string {
    return this.#layers.at(-1) as string;
  }

  async snapshot(): Promise<number> {
    const above = this.image(`layer${this.#layers.length}`);
    const below = ['-b', this.head, '-F', 'qcow2'];
    const command = ['create', '-q', '-f', 'qcow2', '-o', this.#options, ...below, above];
    const seconds = await this.timed(command);
    this.#layers.push(above);
    return seconds;
  }

  /** What the second layer has overrides the oldest one, which then takes its place. */
  async deleteOldest(): Promise<number> {
    const [oldest, second, third] = this.#layers;
    if (oldest === undefined || second === undefined || third === undefined) {
      throw new Error('a chain of two images has one snapshot only');
    }
    const seconds = await this.timed(
      ['commit', '-q', '-d', '-f', 'qcow2', second],
      ['rebase', '-q', '-u', '-f', 'qcow2', '-b', oldest, '-F', 'qcow2', third],
    );
    this.#layers.splice(1, 1);
    return seconds;
  }
}

/** Snapshots inside of one image. */
class InternalChain extends Qcow2Disk {
  #first = 0;
  #next = 0;

  static async create(options: string, folder: string, ...shape: Shape): Promise<InternalChain> {
    const disk = new InternalChain(folder);
    await createImage(disk.head, options, ...shape);
    return disk;
  }

  protected get head(): string {
    return this.image('disk.qcow2');
  }

  snapshot(): Promise<number> {
    return this.timed(['snapshot', '-q', '-c', `s${this.#next++}`, this.head]);
  }

  deleteOldest(): Promise<number> {
    return this.timed(['snapshot', '-q', '-d', `s${this.#first++}`, this.head]);
  }
}

/** Writes clusters by qemu-io. @param target its arguments that name the disk */
export async function writeClusters(
  target: readonly string[],
  clusters: readonly number[],
): Promise<void> {
  const commands = clusters.flatMap((cluster) => [
    '-c',
    `write -q -P ${cluster % 256} ${cluster * clusterBytes} ${clusterBytes}`,
  ]);
  if (commands.length > 0) await run('qemu-io', [...commands, ...target], { timeoutMs: 300_000 });
}

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

type Shape = [sizeMiB: number, content: DiskContent];

async function createImage(path: string, options: string, ...[sizeMiB, content]: Shape) {
  const preallocation = content === 'mapped' ? 'metadata' : 'off';
  const all = `${options},preallocation=${preallocation}`;
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', all, path, `${sizeMiB}M`], {
    timeoutMs: 600_000,
  });
}
