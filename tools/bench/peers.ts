/**
 * The peers: other NBD servers, each with empty volumes of its own.
 *
 * Unless a setting says otherwise all serve through the page cache, so all have the same promise: a flush is an fdatasync.
 */
import { join } from 'node:path';
import { run } from '../lib/command.ts';
import { endpointIn } from './endpoint.ts';
import type { PeerTools } from './peer-tools.ts';
import type { Order, RunningServer, ServerKind } from './servers.ts';
import type { Setting } from './settings.ts';
import { connectionsMax, listening, startStorageDaemonOn } from './storage-daemon.ts';

/** Options of every qcow2 image that takes part. */
export const qcow2 = 'cluster_size=64k,lazy_refcounts=off';

const extendedL2 = `${qcow2},extended_l2=on`;

/** All of them, by the programs of `tools`. */
export function peerKinds(tools: PeerTools): readonly ServerKind[] {
  const named = (name: string) => `${name}${tools.suffix}`;
  return [
    {
      name: named('qsd qcow2'),
      role: 'thin',
      takes: () => true,
      start: (order) => startImages(tools, order, 'qcow2', qcow2),
    },
    {
      name: named('qsd qcow2 extended_l2'),
      role: 'thin',
      takes: () => true,
      start: (order) => startImages(tools, order, 'qcow2', extendedL2),
    },
    {
      name: named('qemu-nbd qcow2'),
      role: 'thin',
      takes: servesOne,
      start: (order) => startQemuNbd(tools, order),
    },
    qsdRaw(tools),
    {
      name: named('nbdkit file'),
      role: 'raw',
      // Its cache=none forgets pages after the fact and is not O_DIRECT.
      takes: (setting) => servesOne(setting) && setting.disks === 'buffered',
      start: async (order) => {
        const image = await createImage(order, 'raw', 0);
        return startNbdkit(tools, order, ['file', image]);
      },
    },
    {
      name: named('nbdkit memory'),
      role: 'ceiling',
      takes: (setting) => servesOne(setting) && setting.disks === 'buffered',
      start: (order) => startNbdkit(tools, order, ['memory', `${order.sizeMiB}M`]),
    },
  ];
}

export function qsdRaw(tools: PeerTools): ServerKind {
  return {
    name: `qsd raw${tools.suffix}`,
    role: 'raw',
    takes: () => true,
    start: (order) => startImages(tools, order, 'raw'),
  };
}

function servesOne({ volumes }: Setting): boolean {
  return volumes === 1;
}

async function startImages(
  tools: PeerTools,
  order: Order,
  format: 'qcow2' | 'raw',
  options?: string,
): Promise<RunningServer> {
  const { transport, disks, volumes } = order.setting;
  const endpoint = await endpointIn(order.folder, transport);
  const images: string[] = [];
  for (let at = 0; at < volumes; at++) images.push(await createImage(order, format, at, options));
  return startStorageDaemonOn({ endpoint, format, images, disks, tools });
}

async function startQemuNbd(tools: PeerTools, order: Order): Promise<RunningServer> {
  const endpoint = await endpointIn(order.folder, order.setting.transport);
  const image = await createImage(order, 'qcow2', 0, qcow2);
  const place =
    endpoint.kind === 'tcp' ? ['-b', '127.0.0.1', '-p', `${endpoint.port}`] : ['-k', endpoint.path];
  const cache = order.setting.disks === 'direct' ? ['--cache=none', '--aio=native'] : [];
  const flags = ['-t', '-e', `${connectionsMax}`, '-f', 'qcow2', '-x', 'disk', '--discard=unmap'];
  const daemon = tools.start('qemu-nbd', [...flags, ...cache, ...place, image]);
  return listening(daemon, endpoint, ['disk']);
}

async function startNbdkit(
  tools: PeerTools,
  { folder, setting }: Order,
  plugin: readonly string[],
): Promise<RunningServer> {
  const endpoint = await endpointIn(folder, setting.transport);
  const place =
    endpoint.kind === 'tcp' ? ['-i', '127.0.0.1', '-p', `${endpoint.port}`] : ['-U', endpoint.path];
  // It ignores the export's name.
  return listening(tools.start('nbdkit', ['-f', ...place, ...plugin]), endpoint, ['disk']);
}

/** @returns its path */
async function createImage(
  { folder, sizeMiB }: Order,
  format: string,
  at: number,
  options?: string,
): Promise<string> {
  const path = join(folder, `disk${at}.img`);
  const extra = options === undefined ? [] : ['-o', options];
  await run('qemu-img', ['create', '-q', '-f', format, ...extra, path, `${sizeMiB}M`]);
  return path;
}
