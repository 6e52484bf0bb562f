// Goal: other people's NBD clients, in their own ways of speaking NBD, get from a thin volume what they put there,
//   and trimmed space goes back to the host.
// Method: one real service; each tool gets a volume of its own and is judged by its own verification, by a
//   comparison of files, or by a byte-exact model. Replay the model with SEED=n.
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';

const MiB = 1024 * 1024;
// The distribution's Python: the one that python3-libnbd is installed for.
const python = '/usr/bin/python3';
const clients = resolve(import.meta.dirname, 'clients');

let service: Service;
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
  disks = await service.createPool('4GiB', 2);
});
afterAll(() => service?.dispose());

/** A file of `size` with data in its first and third quarter and holes elsewhere. */
function sparseImage(name: string, size: number): string {
  const path = join(service.folder, name);
  const content = Buffer.alloc(size);
  randomBytes(size / 4).copy(content, 0);
  randomBytes(size / 4).copy(content, size / 2);
  writeFileSync(path, content);
  return path;
}

/** Bytes that the pool's files take up on the host. */
function hostBytes(): number {
  return disks.reduce((sum, disk) => sum + statSync(disk).blocks * 512, 0);
}

test('qemu-img converts, compares and maps a volume', async () => {
  const uri = await service.createExportedVolume('convert', '64MiB');
  const image = sparseImage('convert.raw', 64 * MiB);
  await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, uri]);
  expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri])).toContain(
    'identical',
  );
  const map = JSON.parse(await run('qemu-img', ['map', '-f', 'raw', '--output=json', uri]));
  const extents = map.map((extent: { start: number; data: boolean }) => [
    extent.start / MiB,
    extent.data,
  ]);
  expect(extents).toEqual([
    [0, true],
    [16, false],
    [32, true],
    [48, false],
  ]);
});

test('qemu-img makes a qcow2 image inside a volume', async () => {
  const uri = await service.createExportedVolume('nested', '64MiB');
  await run('qemu-img', ['create', '-f', 'qcow2', uri, '32M']);
  const image = {
    driver: 'qcow2',
    file: { driver: 'nbd', path: service.nbdSocket, export: 'nested' },
  };
  const check = await run('qemu-img', ['check', `json:${JSON.stringify(image)}`]);
  expect(check).toContain('No errors');
});

test('qemu-io reads back what it wrote, zeroed and discarded', async () => {
  const uri = await service.createExportedVolume('patterns', '64MiB');
  const steps = [
    'write -P 0xa1 0 256k',
    'write -P 0xb2 1000 3000',
    'write -P 0xc3 1048575 65538',
    'write -z 64k 64k',
    'write -z -u 128k 64k',
    'discard 1M 4k',
    'flush',
    'read -P 0xa1 0 1000',
    'read -P 0xb2 1000 3000',
    'read -P 0xa1 4000 61536',
    'read -P 0x00 64k 128k',
    'read -P 0xa1 192k 64k',
    'read -P 0xc3 1048575 1',
    'read -P 0x00 1M 4k',
    'read -P 0xc3 1052672 61441',
    'read -P 0x00 2M 62M',
  ];
  const output = await run('qemu-io', ['-f', 'raw', ...steps.flatMap((step) => ['-c', step]), uri]);
  expect(output).not.toMatch(/verification failed|error/i);
});

test('nbdinfo sees every feature, the list of exports and exact extents', async () => {
  const uri = await service.createExportedVolume('info', '64MiB');
  const list = JSON.parse(await run('nbdinfo', ['--json', '--list', uri]));
  const names = list.exports.map((entry: { 'export-name': string }) => entry['export-name']);
  expect(names).toContain('info');
  const [found] = JSON.parse(await run('nbdinfo', ['--json', uri])).exports;
  expect(found).toMatchObject({
    'export-size': 64 * MiB,
    can_cache: true,
    can_df: true,
    can_fast_zero: true,
    can_flush: true,
    can_fua: true,
    can_multi_conn: true,
    can_trim: true,
    can_zero: true,
    is_read_only: false,
  });
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 1 1M 64k', uri]);
  const map = JSON.parse(await run('nbdinfo', ['--json', '--map', uri]));
  expect(
    map.map(({ offset, length, type }: Record<string, number>) => [offset, length, type]),
  ).toEqual([
    [0, MiB, 3],
    [MiB, 65536, 0],
    [MiB + 65536, 63 * MiB - 65536, 3],
  ]);
});

test('nbdcopy there and back gives the same bytes', async () => {
  const uri = await service.createExportedVolume('copy', '64MiB');
  const image = sparseImage('copy.raw', 64 * MiB);
  const back = join(service.folder, 'back.raw');
  writeFileSync(back, '');
  await run('nbdcopy', ['--connections=4', '--flush', image, uri]);
  await run('nbdcopy', ['--connections=4', uri, back]);
  expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
});

test('random requests of every kind over two connections agree with a model', async () => {
  const seed = process.env.SEED ?? `${randomBytes(4).readUInt32LE()}`;
  const uri = await service.createExportedVolume('model', '32MiB');
  const counts = JSON.parse(await run(python, [join(clients, 'model.py'), uri, seed, '1000']));
  expect(Object.keys(counts)).toHaveLength(8);
});

test('nbd-client lists the exports', async () => {
  await service.createExportedVolume('listed', '1MiB');
  const output = await run('nbd-client', ['-unix', service.nbdSocket, '-l']);
  expect(output).toContain('listed');
});

test('fio verifies random writes, and again after trims', async () => {
  const uri = await service.createExportedVolume('fio', '256MiB');
  const common = ['--ioengine=nbd', `--uri=${uri}`, '--size=64M', '--iodepth=32'];
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'];
  const jobs = [
    ['--name=random', '--rw=randwrite', '--bs=4k', ...verify],
    ['--name=odd', '--rw=randwrite', '--bs=1k-96k', '--bs_unaligned', '--offset=64M', ...verify],
    ['--name=trims', '--rw=randtrimwrite', '--bs=16k', '--offset=128M'],
    ['--name=again', '--rw=randwrite', '--bs=16k', '--offset=128M', ...verify],
  ];
  for (const job of jobs) {
    const output = await run('fio', [...common, ...job, '--output-format=json']);
    const [found] = JSON.parse(output.slice(output.indexOf('{'))).jobs;
    expect(found.error, `${job[0]}`).toBe(0);
  }
});

test('trimmed space goes back to the host file', async () => {
  const uri = await service.createExportedVolume('trim', '256MiB');
  const before = hostBytes();
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 7 0 128M', '-c', 'flush', uri]);
  const full = hostBytes();
  expect(full - before).toBeGreaterThan(120 * MiB);
  await run('qemu-io', ['-f', 'raw', '-c', 'discard 0 128M', '-c', 'flush', uri]);
  await expect.poll(hostBytes, { timeout: 20_000 }).toBeLessThan(before + 8 * MiB);
});
