// Goal: what was stored outlives the process, the index and the host; what cannot be done says so and harms nobody.
// Method: fill a volume, take something away (the process, the index folder, the state folder), and compare the
//   volume with the file it was filled from.
import { randomBytes } from 'node:crypto';
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';

const MiB = 1024 * 1024;

let service: Service;
let disks: readonly string[];
let uri: string;
let image: string;

beforeAll(async () => {
  service = await Service.start();
  disks = await service.createPool('256MiB', 3);
  uri = await service.createExportedVolume('kept', '128MiB');
  image = join(service.folder, 'image.raw');
  writeFileSync(image, randomBytes(128 * MiB));
  await run('nbdcopy', ['--flush', image, uri]);
});
afterAll(() => service?.dispose());

function compare(with_: string): Promise<string> {
  return run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, with_]);
}

test('after an orderly stop the same export is back under the same URI', async () => {
  expect(await service.stop()).toEqual({ status: 0, signal: null });
  await service.restart();
  expect(await compare(uri)).toContain('identical');
});

test('a flattening that a kill cut off goes on by itself', async () => {
  await service.varve('snapshot', 'create', 'kept@base');
  await service.varve('volume', 'clone', 'kept@base', 'flat');
  const { id } = await service.rest('POST', '/v1/volumes/flat/actions/flatten');
  await service.kill9();
  await service.restart();
  await service.varve('op', 'wait', String(id));
  await service.varve('snapshot', 'delete', 'kept@base');
  await service.varve('export', 'add', 'flat');
  expect(await compare(service.uri('flat'))).toContain('identical');
  await service.varve('export', 'remove', 'flat');
  await service.varve('volume', 'delete', 'flat');
});

test('a lost index is rebuilt from the disks', async () => {
  await service.kill9();
  const pools = join(service.state, 'pools');
  const folders = readdirSync(pools).map((pool) => join(pools, pool, 'index'));
  expect(folders).toHaveLength(1);
  for (const folder of folders) rmSync(folder, { recursive: true });
  await service.restart();
  expect(await compare(uri)).toContain('identical');
});

test('a disk that is away at the start: its pool is served as soon as it is back, and a guest that waits goes on', async () => {
  const [disk] = disks as [string];
  await service.stop();
  renameSync(disk, `${disk}.away`);
  await service.restart();
  const { items } = await service.varve('pool', 'list');
  expect(items).toMatchObject([{ name: 'main', state: 'failed' }]);
  const shown = await service.outcome(['volume', 'list']);
  expect(shown.status).toBe(0);
  const asked = await service.outcome(['volume', 'create', 'new', '--size', '1GiB']);
  expect(asked.status).not.toBe(0);
  expect(asked.stderr).toContain(disk);
  expect(asked.stderr).toContain('by itself');
  const reconnecting = `driver=nbd,server.type=unix,server.path=${service.nbdSocket},export=kept,reconnect-delay=60,open-timeout=60`;
  const guest = run('qemu-img', [
    'compare',
    '--image-opts',
    `driver=raw,file.driver=file,file.filename=${image}`,
    `driver=raw,${reconnecting.replaceAll(/(^|,)/g, '$1file.')}`,
  ]);
  await delay(1_000);
  renameSync(`${disk}.away`, disk);
  expect(await guest).toContain('identical');
  const events = await service.varve('events', '--since', '5m');
  const kinds = events.items?.map(({ event }) => event);
  expect(kinds).toEqual(expect.arrayContaining(['pool/unopened', 'pool/opened']));
});

test('a second service on the same state folder is refused and harms nothing', async () => {
  const second = [
    'serve',
    '--state',
    service.state,
    '--socket',
    join(service.folder, 'second.sock'),
  ];
  const { status, stderr } = await service.outcome(second);
  expect(status).toBe(4);
  expect(stderr).toContain('service/state-held');
  expect(await compare(uri)).toContain('identical');
});

test('a full pool fails writes with ENOSPC after its patience while what is there goes on', async () => {
  await service.varve('pool', 'set', 'main', '--patience', '1s');
  const big = await service.createExportedVolume('big', '8GiB');
  const write = await outcomeOf('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 1G', big]);
  expect(write.stdout + write.stderr).toContain('No space left on device');
  expect(await compare(uri)).toContain('identical');
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 5 1M 64k', '-c', 'read -P 5 1M 64k', uri]);
  await run('qemu-io', ['-f', 'raw', '-c', 'discard 0 1G', big]);
  await run('nbdcopy', ['--flush', image, uri]);
  await service.varve('export', 'remove', 'big');
  await service.varve('volume', 'delete', 'big');
});

test('a pool is imported on another host from its disks alone', async () => {
  await service.varve('export', 'remove', 'kept');
  await service.varve('pool', 'export', 'main');
  const other = await Service.start();
  try {
    await other.varve('pool', 'import', ...disks.map((disk) => `file:${disk}`));
    await other.varve('export', 'add', 'kept');
    expect(await compare(other.uri('kept'))).toContain('identical');
  } finally {
    await other.dispose();
  }
});
