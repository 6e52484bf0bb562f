/**
 * One folder, one command: a pool on two sparse files, a 10 GiB volume, its export; served until Ctrl-C.
 *
 * Idempotent: what is there already is confirmed and served again.
 */
import { resolve } from 'node:path';
import type { AttachmentDocument } from '../api/schemas.ts';
import { GiB } from '../base/units.ts';
import { Client } from './client.ts';
import { CommandError, exitNotFound } from './errors.ts';
import { shellLine } from './shell.ts';

const launcher = resolve(import.meta.dirname, '../../tools/varve');
const diskNames = ['disk0.img', 'disk1.img'];
/** Sparse: takes no space before a guest writes. */
const diskSize = '20GiB';
const volumeBytes = 10 * GiB;

/** @throws StorageError, CommandError why it cannot be served */
export async function quickstart(folder: string): Promise<void> {
  const { serve } = await import('../api/main.ts');
  const state = resolve(folder);
  await serve({ state }, async (socket) => {
    const attachment = await prepare(new Client(`unix:${socket}`), state);
    process.stdout.write(welcome(attachment, socket));
  });
}

async function prepare(client: Client, state: string): Promise<AttachmentDocument> {
  const disks = diskNames.map((name) => `file:${state}/${name}?size=${diskSize}`);
  await ensure(client, '/v1/pools/default', { disks });
  await ensure(client, '/v1/volumes/disk1', { size_bytes: volumeBytes, pool: 'default' });
  await ensure(client, '/v1/exports/disk1', { volume: 'disk1' });
  return client.get<AttachmentDocument>('/v1/exports/disk1/attach');
}

/** What is there is left as it is: a pool may have got more disks since, a volume may have grown. */
async function ensure(client: Client, address: string, body: object): Promise<void> {
  try {
    await client.get(address);
  } catch (error) {
    if (!(error instanceof CommandError) || error.exit !== exitNotFound) throw error;
    await client.call(address, { method: 'PUT', body });
  }
}

function welcome(attachment: AttachmentDocument, socket: string): string {
  return `
varve serves volume disk1 (10GiB, thin) from pool default.

  NBD URI   ${attachment.uri}
  QEMU      qemu-system-x86_64 ${shellLine(attachment.qemu_arguments)}
  command   VARVE_SERVER=unix:${socket} ${launcher} status

Ctrl-C stops it; the same command goes on where it stopped.
`;
}
