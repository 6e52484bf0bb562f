// Goal: a service that is asked to stop under load ends well and comes back under the same URIs; TCP exports and the
//   portable backend serve as the default ones do.
// Method: the real service; fio, nbdinfo, qemu-io and stamped libnbd clients as its clients.
import { afterEach, expect, test } from 'vitest';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';
import { chooseSeed } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

let service: Service | undefined;
afterEach(() => service?.dispose());

const MiB = 1024 * 1024;

async function started(options?: Parameters<typeof Service.start>[0]): Promise<Service> {
  service = await Service.start(options);
  await service.createPool('1GiB', 2);
  return service;
}

/** Writes through one connection, reads back through another. */
async function writeAndRead(uri: string): Promise<void> {
  const qemuIo = (...steps: string[]) =>
    run('qemu-io', ['-f', 'raw', ...steps.flatMap((step) => ['-c', step]), uri]);
  expect(await qemuIo('write -P 0x5a 1000 70000', 'flush')).not.toMatch(/error/i);
  expect(await qemuIo('read -P 0 0 1000', 'read -P 0x5a 1000 70000')).not.toMatch(
    /verification failed|error/i,
  );
}

test.each([
  ['127.0.0.1', 'tcp:127.0.0.1:0'],
  ['[::1]', 'tcp:[::1]:0'],
])('an export listens on TCP at %s, and on the same port after a restart', async (host, listen) => {
  const here = await started();
  await here.varve('volume', 'create', 'net', '--size', '64MiB');
  const added = await here.varve('export', 'add', 'net', '--listen', listen);
  const uri = (added.uris as string[])[1] as string;
  expect(uri.startsWith(`nbd://${host}:`)).toBe(true);
  expect(uri.endsWith(':0/net')).toBe(false);
  const [found] = JSON.parse(await run('nbdinfo', ['--json', uri])).exports;
  expect(found).toMatchObject({ 'export-name': 'net', 'export-size': 64 * MiB });
  await writeAndRead(uri);
  expect((await here.stop()).status).toBe(0);
  await here.restart();
  expect((await here.varve('export', 'show', 'net')).uris).toEqual(added.uris);
  expect(await run('qemu-io', ['-f', 'raw', '-c', 'read -P 0x5a 1000 70000', uri])).not.toMatch(
    /verification failed/,
  );
});

test('SIGTERM under load: status 0, a closed connection and no error, nothing lost', async () => {
  const here = await started();
  const uri = await here.createExportedVolume('load', '128MiB');
  const range = { uri, volume: 1, firstBlock: 0, blockCount: 4096 };
  const client = new StampedClient(here.folder, range);
  client.start(chooseSeed());
  const fio = outcomeOf('fio', [
    ...['--name=load', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k'],
    ...['--offset=64M', '--size=32M', '--iodepth=16', '--time_based', '--runtime=60'],
  ]);
  const wroteMuch = async () => {
    const { items } = await here.varve('client', 'list');
    const written = (items ?? []).map((item) => Number(item.written_bytes));
    return written.length === 2 && written.every((bytes) => bytes > MiB);
  };
  await expect.poll(wroteMuch, { timeout: 20_000 }).toBe(true);
  expect(await here.stop()).toEqual({ status: 0, signal: null });
  // The stamped client saves its model when its connection is closed; an error reply fails it.
  await client.ended();
  const { status, stdout, stderr } = await fio;
  expect(status, 'fio must have lost its connection').not.toBe(0);
  expect(stdout + stderr).not.toMatch(/ESHUTDOWN|Cannot send after|No space left/);
  await here.restart();
  expect(here.uri('load')).toBe(uri);
  expect((await client.verify()).wrong).toEqual([]);
});

test('the portable backend serves, survives a kill and verifies', async () => {
  const here = await started({ settings: `backend = "epoll"\n` });
  expect((await here.varve('status')).backend).toBe('epoll');
  const uri = await here.createExportedVolume('portable', '256MiB');
  await writeAndRead(uri);
  await run('fio', [
    ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=1k-64k'],
    ...['--bs_unaligned', '--offset=64M', '--size=32M', '--iodepth=16'],
    ...['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'],
  ]);
  const stamped = await here.createExportedVolume('stamped', '64MiB');
  const range = { uri: stamped, volume: 2, firstBlock: 0, blockCount: 4096 };
  const client = new StampedClient(here.folder, range);
  client.start(chooseSeed());
  await expect.poll(() => client.acknowledged, { timeout: 20_000 }).toBeGreaterThan(500);
  await here.kill9();
  await client.ended();
  await here.restart();
  expect((await client.verify()).wrong).toEqual([]);
  await here.stop();
  const disks = [0, 1].map((index) => `file:${here.folder}/disk${index}.img`);
  const check = await here.outcome(['pool', 'check', '--offline', ...disks]);
  expect(check.status, check.stdout + check.stderr).toBe(0);
});
