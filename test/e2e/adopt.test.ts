// Goal: an existing disk is a volume at once, with everything a volume can do, and the disk itself is never changed.
// Method: the real service on real images of odd sizes; qemu-img compares, qemu-io writes, hashes of the original before and after;
//   kills in the middle; everything that is no raw disk is tried.
import { appendFileSync, mkdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { outcomeOf, run } from '../../tools/lib/command.ts';
import type { Service } from '../../tools/lib/service.ts';
import {
  adoptedDisks,
  diskService,
  expectIdentical,
  expectSoundDisks,
  MiB,
  qemuIo,
} from './disk-service.ts';
import { hashOf, loopDevice, rawDisk } from './raw-disks.ts';

const { undo, start } = diskService();

async function started(): Promise<Service> {
  const service = await start();
  await service.createPool('512MiB', 2);
  return service;
}

function disksOf(here: Service): string[] {
  return [0, 1].map((number) => join(here.folder, `disk${number}.img`));
}

test('an image is a volume at once: written to, snapshotted, cloned, reverted, deleted; the image stays', async () => {
  const here = await started();
  const path = rawDisk(here.folder, 40 * MiB + 70_000);
  const before = hashOf(path);
  const usedBefore = (await here.varve('pool', 'show', 'main')).used_bytes as number;
  const plan = await here.varve('volume', 'adopt', path, 'old', '-n');
  expect(plan).toMatchObject({ kind: 'Plan', changed: true });
  const adopted = await here.varve('volume', 'adopt', path, 'old');
  expect(adopted).toMatchObject({
    size_bytes: 40 * MiB + 70_144,
    adopted_from: path,
    changed: true,
  });
  expect(await here.varve('volume', 'adopt', path, 'old')).toMatchObject({ changed: false });
  const used = (await here.varve('pool', 'show', 'main')).used_bytes as number;
  expect(used - usedBefore).toBe(65_536);
  await here.varve('export', 'add', 'old');
  const uri = here.uri('old');
  await expectIdentical(uri, path);

  await here.varve('snapshot', 'create', 'old@original');
  await qemuIo(
    uri,
    'write -P 0x5a 1000 70000',
    'write -P 0x17 40M 70144',
    'discard 5M 1M',
    'flush',
  );
  await qemuIo(uri, 'read -P 0x5a 1000 70000', 'read -P 0x17 40M 70144', 'read -P 0 5M 1M');
  await here.varve('volume', 'clone', 'old@original', 'copy');
  await here.varve('export', 'add', 'copy');
  await expectIdentical(here.uri('copy'), path);
  await qemuIo(here.uri('copy'), 'write -P 3 10M 1M', 'flush');
  expect(hashOf(path)).toBe(before);

  await here.kill9();
  await here.restart();
  await qemuIo(uri, 'read -P 0x5a 1000 70000', 'read -P 0x17 40M 70144');
  await qemuIo(here.uri('copy'), 'read -P 3 10M 1M');
  expect(await here.varve('pool', 'check', 'main')).toMatchObject({ findings: [] });
  const [disk] =
    (await here.varve('disk', 'list')).items?.filter(({ role }) => role === 'adopted') ?? [];
  expect(disk).toMatchObject({ path, state: 'online', capacity_bytes: 0, free_bytes: 0 });

  await here.varve('export', 'remove', 'old');
  await here.varve('volume', 'revert', 'old@original', '--discard');
  await here.varve('export', 'add', 'old');
  await expectIdentical(uri, path);
  for (const name of ['old', 'copy']) {
    await here.varve('export', 'remove', name);
    await here.varve('volume', 'delete', name, '--with-snapshots', '--keep-clones');
  }
  await expect.poll(() => adoptedDisks(here), { timeout: 20_000 }).toEqual([]);
  expect(hashOf(path)).toBe(before);
  expect((await here.varve('pool', 'show', 'main')).used_bytes).toBe(usedBefore);
  await expectSoundDisks(here, disksOf(here));
});

test.each([65_536, 65_537, 69_631, 69_632, 131_071, 131_072, 1_000_001, 1_048_576, 1_049_088])(
  'every byte of an image of %i bytes is there, and zeroes behind it',
  async (sizeBytes) => {
    const here = await started();
    const path = rawDisk(here.folder, sizeBytes);
    const { size_bytes: size } = await here.varve('volume', 'adopt', path, 'old');
    expect(size).toBe(Math.ceil(sizeBytes / 512) * 512);
    await here.varve('volume', 'resize', 'old', '4MiB');
    await here.varve('export', 'add', 'old');
    await expectIdentical(here.uri('old'), path);
    // Beside the end: the rest of its sub-block is the volume's own.
    await qemuIo(here.uri('old'), `write -P 7 ${sizeBytes} 3000`, `read -P 7 ${sizeBytes} 3000`);
    await expectSoundDisks(here, disksOf(here));
  },
);

test('a filesystem on a block device is adopted, used in copy-on-write mode, and flattened away from the device', async () => {
  const here = await started();
  const path = rawDisk(here.folder, 32 * MiB);
  const device = await loopDevice(path, undo);
  await run('mkfs.ext4', ['-q', '-F', device]);
  const before = hashOf(path);
  await here.varve('volume', 'adopt', `block:${device}`, 'old');
  const point = join(here.folder, 'mounted');
  mkdirSync(point);
  expect((await outcomeOf('mount', [device, point])).status).not.toBe(0);
  await here.varve('volume', 'set-mode', 'old', 'cow');
  await here.varve('export', 'add', 'old');
  await expectIdentical(here.uri('old'), path);
  await qemuIo(here.uri('old'), 'write -P 0x5a 4M 200000', 'write -P 9 100 10', 'flush');
  await qemuIo(here.uri('old'), 'read -P 0x5a 4M 200000', 'read -P 9 100 10');
  await here.varve('volume', 'flatten', 'old');
  await expect.poll(() => adoptedDisks(here), { timeout: 20_000 }).toEqual([]);
  await qemuIo(here.uri('old'), 'read -P 0x5a 4M 200000', 'read -P 9 100 10');
  expect(hashOf(path)).toBe(before);
  // The device is free again.
  await run('mount', ['-o', 'ro', device, point]);
  await run('umount', [point]);
  await expectSoundDisks(here, disksOf(here));
});

test('an image that is gone or was changed fails where it is read, and nowhere else', async () => {
  const here = await started();
  const path = rawDisk(here.folder, 8 * MiB);
  await here.varve('volume', 'adopt', path, 'old');
  await here.createExportedVolume('other', '8MiB');
  await here.varve('export', 'add', 'old');
  await qemuIo(here.uri('old'), 'write -P 0x5a 4M 1M', 'flush');
  const reads = ['-f', 'raw', '-c', 'read 0 4096', here.uri('old')];
  const spoil = async (how: () => void, message: RegExp) => {
    await here.stop();
    how();
    await here.restart();
    const { warnings } = await here.varve('pool', 'show', 'main');
    expect(JSON.stringify(warnings)).toMatch(message);
    expect((await outcomeOf('qemu-io', reads)).stdout).toMatch(/Input\/output error/);
    await qemuIo(here.uri('old'), 'read -P 0x5a 4M 1M');
    await qemuIo(here.uri('other'), 'write -P 1 0 1M', 'flush', 'read -P 1 0 1M');
  };
  await spoil(() => renameSync(path, `${path}.away`), /no such file/i);
  await spoil(() => {
    renameSync(`${path}.away`, path);
    appendFileSync(path, 'x');
  }, /not what was adopted/);
  await spoil(() => {
    writeFileSync(path, rawDisk(here.folder, 8 * MiB, 'another.img'));
  }, /not what was adopted/);
});

test('a service killed while it adopts leaves nothing of it', async () => {
  const here = await started();
  const path = rawDisk(here.folder, 1024 * 1024 * MiB);
  const device = await loopDevice(path, undo);
  const before = (await here.varve('pool', 'show', 'main')).used_bytes;
  await here.rest('POST', '/v1/volumes/old/actions/adopt', { source: `block:${device}` });
  // All of a device is data, so that mapping a tebibyte takes a while.
  await expect.poll(() => adoptedDisks(here), { timeout: 20_000 }).toEqual([device]);
  await here.kill9();
  await here.restart();
  await expect.poll(() => adoptedDisks(here), { timeout: 60_000 }).toEqual([]);
  expect(await here.varve('volume', 'list')).toMatchObject({ items: [] });
  expect((await here.varve('pool', 'show', 'main')).used_bytes).toBe(before);
  expect(await here.varve('pool', 'check', 'main')).toMatchObject({ findings: [] });
  await expectSoundDisks(here, disksOf(here));
});

test('a cancelled adoption leaves nothing, and the same can be adopted again', async () => {
  const here = await started();
  const path = rawDisk(here.folder, 512 * 1024 * MiB);
  const device = await loopDevice(path, undo);
  const address = '/v1/volumes/old/actions/adopt';
  const { id } = await here.rest('POST', address, { source: `block:${device}` });
  await here.varve('op', 'cancel', id as string);
  await expect.poll(() => adoptedDisks(here), { timeout: 60_000 }).toEqual([]);
  expect((await here.varve('op', 'show', id as string)).state).toBe('cancelled');
  const small = rawDisk(here.folder, MiB, 'small.img');
  await here.varve('volume', 'adopt', small, 'old');
});

test('what is no raw disk, or in use, or has no name left, is refused and says why', async () => {
  const here = await started();
  const path = rawDisk(here.folder, MiB);
  const other = rawDisk(here.folder, MiB, 'other.img');
  const tiny = rawDisk(here.folder, 1000, 'tiny.img');
  const passed = rawDisk(here.folder, MiB, 'passed.img');
  const qcow = join(here.folder, 'image.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', qcow, '16M']);
  await here.varve('volume', 'adopt', path, 'old');
  await here.varve('volume', 'create', 'taken', '--size', '1MiB');
  await here.varve('disk', 'passthrough', passed, 'raw');
  const refusals: [string, string, RegExp][] = [
    [join(here.folder, 'none'), 'new', /no such file[\s\S]*disk\/unusable/],
    [here.folder, 'new', /is a directory/],
    [tiny, 'new', /disk\/too-small/],
    [qcow, 'new', /a qcow2 image[\s\S]*qemu-img convert -f qcow2 -O raw/],
    [join(here.folder, 'disk0.img'), 'new', /belongs to pool main/],
    [path, 'new', /was adopted into pool main/],
    [passed, 'new', /is passed through as export raw/],
    [other, 'taken', /volume\/exists/],
    [other, 'old', /volume\/exists/],
    [other, 'No', /no name for a volume/],
  ];
  for (const [source, name, message] of refusals) {
    const { status, stderr } = await here.outcome(['volume', 'adopt', source, name]);
    expect([source, status]).not.toContain(0);
    expect(stderr).toMatch(message);
  }
  const added = await here.outcome(['disk', 'add', 'main', path, '--force', '-y']);
  expect(added.stderr).toMatch(/was adopted into pool main/);
  for (const verb of ['drain', 'cordon', 'remove']) {
    const { status, stderr } = await here.outcome(['disk', verb, path, '-y']);
    expect([verb, status]).toEqual([verb, 4]);
    expect(stderr).toMatch(/was adopted: it is only read[\s\S]*varve volume absorb/);
  }
  utimesSync(other, new Date(0), new Date(0));
  await here.varve('volume', 'adopt', other, 'new');
});
