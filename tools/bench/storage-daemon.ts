/**
 * qemu-storage-daemon, serving one image or several.
 *
 * It runs without an iothread: with one, version 7.2 aborts when a client disconnects.
 */
import type { Daemon } from '../lib/daemon.ts';
import { type Endpoint, endpointIn, isListening, uriOf } from './endpoint.ts';
import { ownPeers, type PeerTools } from './peer-tools.ts';
import type { RunningServer } from './servers.ts';
import type { Setting } from './settings.ts';

export interface StorageDaemonOptions {
  readonly endpoint: Endpoint;
  readonly format: 'qcow2' | 'raw';
  readonly images: readonly string[];
  readonly disks?: Setting['disks'];
  readonly flags?: readonly string[];
  readonly tools?: PeerTools;
}

/** One buffered image on a unix socket. @param folder an existing one, for the socket */
export async function startStorageDaemon(
  folder: string,
  format: 'qcow2' | 'raw',
  image: string,
  flags: readonly string[] = [],
): Promise<RunningServer> {
  const endpoint = await endpointIn(folder, 'unix');
  return startStorageDaemonOn({ endpoint, format, images: [image], flags });
}

export function startStorageDaemonOn(options: StorageDaemonOptions): Promise<RunningServer> {
  const { endpoint, format, images, disks = 'buffered', flags = [], tools = ownPeers } = options;
  const cache = disks === 'direct' ? ',cache.direct=on' : '';
  const aio = disks === 'direct' ? ',aio=native' : '';
  const nodes = images.flatMap((image, at) => [
    ...[
      '--blockdev',
      `driver=file,node-name=file${at},filename=${image},discard=unmap${cache}${aio}`,
    ],
    ...[
      '--blockdev',
      `driver=${format},node-name=${nodeOf(at)},file=file${at},discard=unmap${cache}`,
    ],
  ]);
  const exports = images.flatMap((_, at) => [
    '--export',
    `type=nbd,id=export${at},node-name=${nodeOf(at)},name=${nodeOf(at)},writable=on`,
  ]);
  const address =
    endpoint.kind === 'tcp'
      ? `addr.type=inet,addr.host=127.0.0.1,addr.port=${endpoint.port}`
      : `addr.type=unix,addr.path=${endpoint.path}`;
  const server = ['--nbd-server', `${address},max-connections=${connectionsMax}`];
  const daemon = tools.start('qemu-storage-daemon', [...nodes, ...server, ...exports, ...flags]);
  return listening(
    daemon,
    endpoint,
    images.map((_, at) => nodeOf(at)),
  );
}

/** More than any workload opens. */
export const connectionsMax = 256;

/** The server of `daemon` once it listens. @param exports the names of what it serves */
export async function listening(
  daemon: Daemon,
  endpoint: Endpoint,
  exports: readonly string[],
): Promise<RunningServer> {
  daemon.drainOutput();
  await daemon.until(() => isListening(endpoint));
  const [uri = '', ...others] = exports.map((name) => uriOf(endpoint, name));
  return {
    uri,
    others,
    pid: daemon.pid,
    stop: async () => {
      await daemon.end('SIGKILL');
    },
  };
}

/** The first one is `disk`, as everybody's is. */
function nodeOf(at: number): string {
  return at === 0 ? 'disk' : `disk${at}`;
}
