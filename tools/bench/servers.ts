/**
 * The servers that are compared, each with an empty volume on a unix socket in a folder of its own.
 *
 * All serve buffered (through the page cache), so all have the same promise: a flush is an fdatasync.
 * qemu-storage-daemon runs without an iothread: with one, version 7.2 aborts when a client disconnects.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { Daemon } from '../lib/daemon.ts';
import { Service } from '../lib/service.ts';

export interface RunningServer {
  readonly uri: string;
  /** The process whose CPU time counts. */
  readonly pid: number;
  stop(): Promise<void>;
}

export interface ServerKind {
  readonly name: string;
  /** `thin` allocates on first write, `raw` does not, the `ceiling` has no disk at all. */
  readonly role: 'varve' | 'thin' | 'raw' | 'ceiling';
  /** @param folder an existing, empty one */
  start(folder: string, sizeMiB: number): Promise<RunningServer>;
}

/** Options of every qcow2 image that takes part. */
export const qcow2 = 'cluster_size=64k,lazy_refcounts=off';

export const serverKinds: readonly ServerKind[] = [
  { name: 'varve', role: 'varve', start: (_folder, sizeMiB) => startVarve(sizeMiB) },
  {
    name: 'qsd qcow2',
    role: 'thin',
    start: async (folder, sizeMiB) => {
      await createImage(folder, 'qcow2', sizeMiB, qcow2);
      return startStorageDaemon(folder, 'qcow2');
    },
  },
  {
    name: 'qsd qcow2 extended_l2',
    role: 'thin',
    start: async (folder, sizeMiB) => {
      await createImage(folder, 'qcow2', sizeMiB, `${qcow2},extended_l2=on`);
      return startStorageDaemon(folder, 'qcow2');
    },
  },
  {
    name: 'qemu-nbd qcow2',
    role: 'thin',
    start: async (folder, sizeMiB) => {
      await createImage(folder, 'qcow2', sizeMiB, qcow2);
      const flags = ['-t', '-e', '16', '-f', 'qcow2', '-x', 'disk', '--discard=unmap'];
      const daemon = new Daemon('qemu-nbd', [...flags, '-k', socketIn(folder), imageIn(folder)]);
      return listening(daemon, folder);
    },
  },
  {
    name: 'qsd raw',
    role: 'raw',
    start: async (folder, sizeMiB) => {
      await createImage(folder, 'raw', sizeMiB);
      return startStorageDaemon(folder, 'raw');
    },
  },
  {
    name: 'nbdkit file',
    role: 'raw',
    start: async (folder, sizeMiB) => {
      await createImage(folder, 'raw', sizeMiB);
      return startNbdkit(folder, ['file', imageIn(folder)]);
    },
  },
  {
    name: 'nbdkit memory',
    role: 'ceiling',
    start: (folder, sizeMiB) => startNbdkit(folder, ['memory', `${sizeMiB}M`]),
  },
];

async function startVarve(sizeMiB: number): Promise<RunningServer> {
  const service = await Service.start();
  await service.createPool(`${2 * sizeMiB}MiB`);
  const uri = await service.createExportedVolume('disk', `${sizeMiB}MiB`);
  return { uri, pid: service.pid, stop: () => service.dispose() };
}

/** @param folder an existing one, for the socket; the image is expected there, too, unless it is named */
export function startStorageDaemon(
  folder: string,
  format: 'qcow2' | 'raw',
  image = imageIn(folder),
  flags: readonly string[] = [],
): Promise<RunningServer> {
  const file = `driver=file,node-name=file,filename=${image},discard=unmap`;
  const daemon = new Daemon('qemu-storage-daemon', [
    ...[
      '--blockdev',
      file,
      '--blockdev',
      `driver=${format},node-name=disk,file=file,discard=unmap`,
    ],
    ...['--nbd-server', `addr.type=unix,addr.path=${socketIn(folder)},max-connections=16`],
    ...['--export', 'type=nbd,id=export,node-name=disk,name=disk,writable=on'],
    ...flags,
  ]);
  return listening(daemon, folder);
}

function startNbdkit(folder: string, plugin: readonly string[]): Promise<RunningServer> {
  return listening(new Daemon('nbdkit', ['-f', '-U', socketIn(folder), ...plugin]), folder);
}

async function createImage(folder: string, format: string, sizeMiB: number, options?: string) {
  const extra = options === undefined ? [] : ['-o', options];
  await run('qemu-img', ['create', '-q', '-f', format, ...extra, imageIn(folder), `${sizeMiB}M`]);
}

async function listening(daemon: Daemon, folder: string): Promise<RunningServer> {
  daemon.drainOutput();
  await daemon.until(() => existsSync(socketIn(folder)));
  return {
    // nbdkit ignores the export's name; the others were told it.
    uri: `nbd+unix:///disk?socket=${socketIn(folder)}`,
    pid: daemon.pid,
    stop: async () => {
      await daemon.end('SIGKILL');
    },
  };
}

function socketIn(folder: string): string {
  return join(folder, 'nbd.sock');
}

function imageIn(folder: string): string {
  return join(folder, 'disk.img');
}
