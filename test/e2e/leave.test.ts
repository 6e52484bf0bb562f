// Goal: what leaves varve is a plain disk with exactly what the volume was at one moment, or nothing under that name.
// Method: the real service; qemu-img compares, fsck looks; a writer meanwhile, a kill in the middle, targets that must not be taken.
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import type { Service } from '../../tools/lib/service.ts';
import { diskService, expectIdentical, MiB } from './disk-service.ts';
import { loopDevice, rawDisk } from './raw-disks.ts';

const { undo, start } = diskService();

/** A service with volume `old`, adopted from an ext4 image and exported. */
async function started(): Promise<{ here: Service; image: string }> {
  const service = await start();
  await service.createPool('512MiB');
  const image = rawDisk(service.folder, 32 * MiB);
  await run('mkfs.ext4', ['-q', '-F', image]);
  await service.varve('volume', 'adopt', image, 'old');
  await service.varve('export', 'add', 'old');
  return { here: service, image };
}

async function snapshotsOf(here: Service): Promise<unknown[]> {
  return (await here.varve('snapshot', 'list')).items?.map(({ name }) => name) ?? [];
}

test('a volume leaves as a sparse file, one of its snapshots onto a device; both are sound filesystems', async () => {
  const { here, image } = await started();
  await here.varve('snapshot', 'create', 'old@first');
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 0x5a 30M 1M', '-c', 'flush', here.uri('old')]);
  const file = join(here.folder, 'left.img');
  expect(await here.varve('volume', 'leave', 'old', file, '-n')).toMatchObject({ kind: 'Plan' });
  expect(existsSync(file)).toBe(false);
  await here.varve('volume', 'leave', 'old', file);
  await expectIdentical(here.uri('old'), file);
  expect(statSync(file).blocks * 512).toBeLessThan(24 * MiB);
  expect(await snapshotsOf(here)).toEqual(['first']);

  const device = await loopDevice(rawDisk(here.folder, 40 * MiB, 'target.img'), undo);
  await here.varve('volume', 'leave', 'old@first', `block:${device}`);
  await run('cmp', ['-n', String(32 * MiB), device, image]);
  await run('fsck.ext4', ['-fn', device]);
  expect(await here.varve('volume', 'list')).toMatchObject({ items: [{ name: 'old' }] });
});

test('killed in the middle it goes on after the restart, and there is no half a file under the name', async () => {
  const { here } = await started();
  await here.varve('volume', 'resize', 'old', '2GiB');
  const file = join(here.folder, 'left.img');
  const body = { disk: file };
  const { id } = await here.rest('POST', '/v1/volumes/old/actions/leave', body);
  await expect.poll(() => existsSync(`${file}.varve-leave`), { timeout: 20_000 }).toBe(true);
  await here.kill9();
  expect(existsSync(file)).toBe(false);
  await here.restart();
  await here.varve('op', 'wait', id as string);
  await expectIdentical(here.uri('old'), file);
  expect(existsSync(`${file}.varve-leave`)).toBe(false);
  expect(await snapshotsOf(here)).toEqual([]);
});

test('a target that carries something, is too small, or is in use is refused, with the numbers', async () => {
  const { here, image } = await started();
  const carries = rawDisk(here.folder, 40 * MiB, 'carries.img');
  await run('mkfs.ext4', ['-q', '-F', carries]);
  const small = await loopDevice(rawDisk(here.folder, 8 * MiB, 'small.img'), undo);
  const folder = join(here.folder, 'none', 'left.img');
  const plain = join(here.folder, 'plain');
  writeFileSync(plain, 'nothing that a disk would begin with');
  const refusals: [string, string, RegExp][] = [
    ['old', carries, /ext4 filesystem[\s\S]*--force/],
    ['old', `block:${small}`, /has 8MiB, the volume 32MiB[\s\S]*disk\/too-small/],
    ['old', image, /was adopted into pool main/],
    ['old', join(here.folder, 'disk0.img'), /belongs to pool main/],
    ['old', plain, /is there already, with 36B[\s\S]*--force/],
    ['old', here.folder, /is a directory/],
    ['old', folder, /there is no folder/],
    ['none', join(here.folder, 'x.img'), /volume\/not-found/],
    ['old@none', join(here.folder, 'x.img'), /snapshot\/not-found/],
  ];
  for (const [source, target, message] of refusals) {
    const { status, stderr } = await here.outcome(['volume', 'leave', source, target]);
    expect([source, target, status]).not.toContain(0);
    expect(stderr).toMatch(message);
  }
  await here.varve('volume', 'leave', 'old', carries, '--force');
  await expectIdentical(here.uri('old'), carries);
});
