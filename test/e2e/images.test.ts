// Goal: images of the common formats become volumes and volumes become images, equal to the byte, sparse both ways; what is cut off leaves nothing
//   under the name; what is damaged, strange or would read other files is refused before anything is made.
// Method: the real service; qemu-img makes images and compares; a kill in the middle, a cancellation, hurt files.
import {
  appendFileSync,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import type { Service } from '../../tools/lib/service.ts';
import { diskService, expectIdentical, MiB } from './disk-service.ts';
import { SlowImage } from './slow-image.ts';

const { start } = diskService();

const sizeBytes = 64 * MiB;

/** A service with a pool, and `golden.qcow2` beside: 3 MiB of data in 64 MiB. */
async function started(): Promise<{
  here: Service;
  golden: string;
  file: (name: string) => string;
}> {
  const here = await start();
  await here.createPool('512MiB');
  const file = (name: string) => join(here.folder, name);
  const golden = file('golden.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', golden, String(sizeBytes)]);
  const writes = ['write -P 5 0 1M', 'write -P 6 40M 1M', 'write -P 7 63M 1M'];
  await run('qemu-io', [...writes.flatMap((step) => ['-c', step]), golden]);
  return { here, golden, file };
}

async function usedBytes(here: Service, volume: string): Promise<number> {
  const { exclusive_bytes: used } = await here.varve('volume', 'show', volume);
  return used as number;
}

async function volumesOf(here: Service): Promise<unknown[]> {
  return (await here.varve('volume', 'list')).items?.map(({ name }) => name) ?? [];
}

/** As a kill behind the last step of the operation leaves it: all is done, and it has not ended; the service that follows ends it. */
async function killedBehindItsEnd(here: Service, id: string): Promise<void> {
  const unended = { ...(await here.varve('op', 'show', id)), state: 'running', finished_at: null };
  await here.kill9();
  appendFileSync(join(here.state, 'operations.jsonl'), `${JSON.stringify(unended)}\n`);
  await here.restart();
  await here.varve('op', 'wait', id);
}

test('each format is loaded and saved, equal and sparse', { timeout: 240_000 }, async () => {
  const { here, golden, file } = await started();
  await here.varve('image', 'load', golden, 'golden');
  expect(await usedBytes(here, 'golden')).toBe(3 * MiB);
  await here.varve('export', 'add', 'golden');
  await expectIdentical(golden, here.uri('golden'), 'qcow2');
  for (const format of ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi']) {
    const image = file(`golden.${format}`);
    if (format !== 'qcow2') {
      await here.varve('image', 'save', 'golden', image, '--format', format);
      expect(statSync(image).blocks * 512).toBeLessThan(16 * MiB);
    }
    await here.varve('image', 'load', image, `from-${format}`);
    expect(await usedBytes(here, `from-${format}`)).toBe(3 * MiB);
    await here.varve('export', 'add', `from-${format}`);
    await expectIdentical(golden, here.uri(`from-${format}`), 'qcow2');
  }
  expect((await here.varve('snapshot', 'list')).items).toEqual([]);
});

test('a snapshot is saved, not what was written since; a larger volume ends in zeroes', async () => {
  const { here, golden, file } = await started();
  await here.varve('image', 'load', golden, 'web', '--size', '96MiB');
  await here.varve('snapshot', 'create', 'web@old');
  await here.varve('export', 'add', 'web');
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 2M', '-c', 'flush', here.uri('web')]);
  await here.varve('image', 'save', 'web@old', file('old.qcow2'), '--format', 'qcow2');
  const compared = await run('qemu-img', ['compare', golden, file('old.qcow2')]);
  expect(compared).toMatch(/Images are identical/);
  const again = ['image', 'save', 'web', file('old.qcow2'), '--format', 'qcow2'];
  expect(await here.outcome(again)).toMatchObject({ status: 4 });
  await here.varve(...again, '--force', '--yes');
  await expectIdentical(file('old.qcow2'), here.uri('web'), 'qcow2');
});

test('killed in the middle both go on after the restart', async () => {
  const { here, golden, file } = await started();
  const source = await SlowImage.serve({ folder: here.folder, image: golden, rate: '8M' });
  const { id } = await here.rest('POST', '/v1/volumes/web/actions/load', source.asked);
  await expect.poll(() => usedBytes(here, 'web.loading'), { timeout: 20_000 }).toBeGreaterThan(0);
  await here.varve('op', 'pause', id as string);
  await here.kill9();
  source.hurry();
  await here.restart();
  expect(await volumesOf(here)).toEqual(['web.loading']);
  await here.varve('op', 'resume', id as string);
  await here.varve('op', 'wait', id as string);
  expect(await volumesOf(here)).toEqual(['web']);

  await killedBehindItsEnd(here, id as string);
  expect(await volumesOf(here)).toEqual(['web']);

  const saved = { file: file('web.vhdx'), format: 'vhdx' };
  const save = await here.rest('POST', '/v1/volumes/web/actions/save', saved);
  await here.kill9();
  await here.restart();
  await here.varve('op', 'wait', save.id as string);
  const compared = await run('qemu-img', ['compare', golden, saved.file]);
  expect(compared).toMatch(/Images are identical/);
  expect((await here.varve('snapshot', 'list')).items).toEqual([]);
  expect(existsSync(`${saved.file}.varve-saving`)).toBe(false);

  // Whoever has the file by now keeps it.
  writeFileSync(saved.file, 'in use');
  await killedBehindItsEnd(here, save.id as string);
  expect(readFileSync(saved.file, 'utf8')).toBe('in use');
});

test('cancelled, a loading leaves no volume, and a saving no file', async () => {
  const { here, golden, file } = await started();
  const source = await SlowImage.serve({ folder: here.folder, image: golden, rate: '8M' });
  const load = await here.rest('POST', '/v1/volumes/web/actions/load', source.asked);
  await expect.poll(() => usedBytes(here, 'web.loading'), { timeout: 20_000 }).toBeGreaterThan(0);
  await here.varve('op', 'cancel', load.id as string);
  expect(await here.outcome(['op', 'wait', load.id as string])).toMatchObject({ status: 4 });
  expect(await volumesOf(here)).toEqual([]);

  // So much to look at that it lasts until it is paused.
  await here.varve('volume', 'create', 'wide', '--size', '64TiB');
  const saved = { file: file('wide.qcow2'), format: 'qcow2' };
  const save = await here.rest('POST', '/v1/volumes/wide/actions/save', saved);
  await here.rest('POST', `/v1/operations/${save.id}/actions/pause`);
  const other = await here.outcome(['image', 'save', 'wide', file('b.vdi'), '--format', 'vdi']);
  expect(other.stderr).toMatch(/is running already, with file .*wide.qcow2[\s\S]*volume\/busy/);
  await here.varve('op', 'cancel', save.id as string);
  expect(await here.outcome(['op', 'wait', save.id as string])).toMatchObject({ status: 4 });
  const left = [saved.file, `${saved.file}.varve-saving`].map((path) => existsSync(path));
  expect(left).toEqual([false, false]);
  expect((await here.varve('snapshot', 'list')).items).toEqual([]);
});

describe('bad images', () => {
  test('are refused before anything is made, and say why', { timeout: 120_000 }, async () => {
    const { here, golden, file } = await started();
    for (const format of ['vmdk', 'vhdx', 'vdi', 'qcow2']) {
      const cut = file(`cut.${format}`);
      await run('qemu-img', ['convert', '-f', 'qcow2', '-O', format, golden, cut]);
      truncateSync(cut, statSync(cut).size - 600 * 1024);
    }
    const over = file('over.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', golden, '-F', 'qcow2', over]);
    const secret = [
      '--object',
      'secret,id=s,data=abc',
      '-o',
      // Not luks, for which qemu-img measures how fast the machine is: a busy one has no answer.
      'encrypt.format=aes,encrypt.key-secret=s',
    ];
    const locked = file('locked.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...secret, locked, '8M']);
    await run('qemu-img', ['create', '-q', '-f', 'qcow', file('old.qcow'), '8M']);
    writeFileSync(file('empty.raw'), '');
    const refusals: [string[], RegExp][] = [
      [[file('cut.vmdk'), 'v'], /damaged/],
      [[file('cut.vhdx'), 'v'], /truncated/],
      [[file('cut.vdi'), 'v'], /its data ends at byte/],
      [[file('cut.qcow2'), 'v'], /damaged/],
      [[over, 'v'], /reads from another file[\s\S]*--follow/],
      [[locked, 'v'], /encrypted/],
      [[file('old.qcow'), 'v'], /format qcow is not read/],
      [[file('empty.raw'), 'v'], /0 bytes/],
      [[file('none'), 'v'], /no such file/],
      [[here.folder, 'v'], /it is a directory/],
      [[file('disk0.img'), 'v'], /it is a disk of pool main/],
      [['json:{}', 'v'], /image\/unusable/],
      [[golden, 'v', '--size', '32MiB'], /the image has 64MiB, more than 32MiB/],
      [[golden, 'v', '--format', 'vdi'], /vdi/i],
      [[golden, 'Bad'], /no name for a volume/],
      [[golden, 'v', '--pool', 'none'], /pool\/not-found/],
    ];
    for (const [args, message] of refusals) {
      const { status, stderr } = await here.outcome(['image', 'load', ...args]);
      expect([args, stderr, status === 0]).toEqual([args, expect.stringMatching(message), false]);
    }
    expect(await volumesOf(here)).toEqual([]);
    await here.varve('image', 'load', over, 'followed', '--follow');
    await here.varve('export', 'add', 'followed');
    await expectIdentical(golden, here.uri('followed'), 'qcow2');
    const taken = await here.outcome(['image', 'load', golden, 'followed']);
    expect(taken.stderr).toMatch(/volume\/exists/);
    const disk = [
      'image',
      'save',
      'followed',
      file('disk0.img'),
      '--format',
      'raw',
      '--force',
      '-y',
    ];
    expect((await here.outcome(disk)).stderr).toMatch(/belongs to pool main/);
  });

  test('a source that goes away while it is read leaves no volume', async () => {
    const { here, golden } = await started();
    const source = await SlowImage.serve({ folder: here.folder, image: golden, rate: '8M' });
    const { id } = await here.rest('POST', '/v1/volumes/v/actions/load', source.asked);
    await expect.poll(() => usedBytes(here, 'v.loading'), { timeout: 20_000 }).toBeGreaterThan(0);
    await source.end();
    const { status, stderr } = await here.outcome(['op', 'wait', id as string]);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/image\/io/)]);
    expect(await volumesOf(here)).toEqual([]);
  });
});
