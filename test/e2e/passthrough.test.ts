// Goal: a whole disk is served as it is, to the byte, outlives restarts and kills, and is nobody else's meanwhile.
// Method: the real service, qemu-io and qemu-img as clients, a file and a loop device as disks; what is not allowed is tried.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import { diskService, expectIdentical, MiB, qemuIo } from './disk-service.ts';
import { hashOf, loopDevice, rawDisk } from './raw-disks.ts';

const { undo, start } = diskService();

function diskFile(folder: string, name?: string): string {
  return rawDisk(folder, 24 * MiB + 512, name);
}

test('a file is served as it is, through writes, a kill and a removal', async () => {
  const here = await start();
  const path = diskFile(here.folder);
  const before = hashOf(path);
  const added = await here.varve('disk', 'passthrough', path, 'raw');
  expect(added).toMatchObject({ kind: 'Export', type: 'passthrough', volume: null, disk: path });
  const uri = here.uri('raw');
  await expectIdentical(uri, path);
  const [found] = JSON.parse(await run('nbdinfo', ['--json', uri])).exports;
  expect(found).toMatchObject({ 'export-size': 24 * MiB + 512, can_fua: true, can_trim: true });
  expect(hashOf(path)).toBe(before);

  await qemuIo(
    uri,
    'write -P 0x5a 1000 70000',
    'write -f -P 0x17 8M 4096',
    'write -z 5M 1M',
    'flush',
  );
  await here.kill9();
  await here.restart();
  await qemuIo(uri, 'read -P 0x5a 1000 70000', 'read -P 0x17 8M 4096', 'read -P 0 5M 1M');
  expect(await here.varve('disk', 'list')).toMatchObject({
    items: [{ role: 'passthrough', export: 'raw', path, pool: null, state: 'online' }],
  });
  expect(await here.varve('disk', 'passthrough', path, 'raw')).toMatchObject({ changed: false });
  await here.varve('export', 'remove', 'raw');
  const file = readFileSync(path);
  expect(file.subarray(1000, 71_000).every((byte) => byte === 0x5a)).toBe(true);
  expect(file.length).toBe(24 * MiB + 512);
  expect(await here.varve('disk', 'list')).toMatchObject({ items: [] });
});

test('a read-only disk is not written to', async () => {
  const service = await start();
  const path = diskFile(service.folder);
  const before = hashOf(path);
  await service.varve('disk', 'passthrough', path, 'raw', '--read-only');
  const write = ['-f', 'raw', '-c', 'write -P 1 0 4096', service.uri('raw')];
  expect((await outcomeOf('qemu-io', write)).status).not.toBe(0);
  expect(hashOf(path)).toBe(before);
});

test('a block device is served, and claimed as long as it is', async () => {
  const service = await start();
  const path = diskFile(service.folder);
  const device = await loopDevice(path, undo);
  await run('mkfs.ext4', ['-q', '-F', device]);
  await service.varve('disk', 'passthrough', `block:${device}`, 'raw');
  await qemuIo(service.uri('raw'), 'read 0 1M', 'write -P 9 20M 64k', 'discard 21M 1M', 'flush');
  const mount = await outcomeOf('mount', [device, '/mnt']);
  expect(mount.status).not.toBe(0);
  await service.varve('export', 'remove', 'raw');
  const point = join(service.folder, 'mounted');
  await run('mkdir', [point]);
  await run('mount', [device, point]);
  undo.add(() => outcomeOf('umount', [device]));
  const refused = await service.outcome(['disk', 'passthrough', `block:${device}`, 'raw']);
  expect(refused.stderr).toMatch(/mounted or used by this host[\s\S]*disk\/in-use/);
  await run('umount', [device]);
});

test('what is no disk, or in use, or no volume, is refused and says what to do', async () => {
  const here = await start();
  const [poolDisk = ''] = await here.createPool('256MiB');
  const path = diskFile(here.folder);
  await here.varve('disk', 'passthrough', path, 'raw');
  const empty = join(here.folder, 'empty');
  writeFileSync(empty, '');
  const other = diskFile(here.folder, 'other.img');
  const refusals: [string[], RegExp][] = [
    [['disk', 'passthrough', join(here.folder, 'none'), 'x'], /no such file[\s\S]*disk\/unusable/],
    [['disk', 'passthrough', here.folder, 'x'], /is a directory/],
    [['disk', 'passthrough', empty, 'x'], /it is empty/],
    [['disk', 'passthrough', poolDisk, 'x'], /belongs to pool main[\s\S]*disk\/in-use/],
    [['disk', 'passthrough', path, 'x'], /is passed through as export raw/],
    [['disk', 'passthrough', other, 'raw'], /export\/exists/],
    [['disk', 'passthrough', other, 'No'], /no name for an export/],
    [['disk', 'add', 'main', path, '--force', '-y'], /is passed through as export raw/],
    [['disk', 'remove', path, '-y'], /passed through as export raw[\s\S]*varve export remove raw/],
    [['snapshot', 'create', 'raw@one'], /export\/passthrough/],
    [['volume', 'resize', 'raw', '1GiB'], /varve volume adopt/],
    [['volume', 'clone', 'raw@one', 'copy'], /export\/passthrough/],
    [['volume', 'delete', 'raw', '-y'], /export\/passthrough/],
  ];
  for (const [args, message] of refusals) {
    const { status, stderr } = await here.outcome(args);
    expect([args.join(' '), status]).not.toContain(0);
    expect(stderr).toMatch(message);
  }
  await here.varve('pool', 'export', 'main');
  const labelled = await here.outcome(['disk', 'passthrough', poolDisk, 'x']);
  expect(labelled.stderr).toMatch(/disk of the varve pool main[\s\S]*varve pool import/);
  await qemuIo(here.uri('raw'), 'read 0 1M');
});
