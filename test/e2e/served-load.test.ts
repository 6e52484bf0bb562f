// Goal: a volume is read and written from the first moment of `image load --serve` on, as if it had been whole before: nothing that a guest wrote is
//   lost, nothing else is read than what the image holds, whatever ends meanwhile; afterwards it needs the image no more.
// Method: the real service, an image behind a slow server, a client that reads what has not arrived and writes over it, a model of both in a
//   file; kill -9, a cancellation, servers that are killed, a source that goes away and one that gives other bytes when it is read again.
import { readFileSync, writeFileSync } from 'node:fs';
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
import { SlowImage } from './slow-image.ts';

const { start, undo } = diskService();

const sizeBytes = 64 * MiB;
/** Enough for everything that is done meanwhile: 8 MiB at half a MiB per second, also on a machine that is busy. */
const rate = '4M';
/** Nothing arrives before the source is stopped. */
const slowRate = '1M';

interface Loading {
  readonly here: Service;
  readonly source: SlowImage;
  /** What the volume has to hold, in a raw file. */
  readonly model: string;
  readonly operation: string;
}

async function madeImage(folder: string): Promise<{ golden: string; model: string }> {
  const [golden, model] = [join(folder, 'golden.qcow2'), join(folder, 'model.raw')];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', golden, String(sizeBytes)]);
  const writes = ['write -P 5 0 4M', 'write -P 6 40M 3M', 'write -P 7 63M 1M'];
  await run('qemu-io', [...writes.flatMap((step) => ['-c', step]), golden]);
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', golden, model]);
  return { golden, model };
}

/** A volume `v` that is there and exported, of whose content little has arrived; its operation is paused. */
async function loading(bitsPerSecond = rate): Promise<Loading> {
  const here = await start();
  await here.createPool('512MiB');
  const { golden, model } = await madeImage(here.folder);
  const source = await SlowImage.serve({
    folder: here.folder,
    image: golden,
    rate: bitsPerSecond,
  });
  undo.add(() => source.end());
  const asked = { ...source.asked, serve: true };
  const { id: operation } = await here.rest('POST', '/v1/volumes/v/actions/load', asked);
  await expect
    .poll(async () => (await here.rest('GET', `/v1/operations/${operation}`)).phase, {
      timeout: 60_000,
    })
    .toBe('copying');
  await here.rest('POST', `/v1/operations/${operation}/actions/pause`);
  await here.varve('export', 'add', 'v');
  return { here, source, model, operation: String(operation) };
}

/** To the volume, and to the model. */
async function write({ here, model }: Loading, ...steps: string[]): Promise<void> {
  await qemuIo(here.uri('v'), ...steps, 'flush');
  await qemuIo(model, ...steps);
}

/** The servers that the service reads images from. */
async function serversOf(here: Service): Promise<number[]> {
  const { stdout } = await outcomeOf('pgrep', ['-f', `socket ${here.state}/images/`]);
  return stdout.split('\n').filter(Boolean).map(Number);
}

async function imageState(here: Service): Promise<unknown> {
  const { items = [] } = await here.rest('GET', '/v1/disks');
  return items.find(({ role }) => role === 'adopted')?.state;
}

async function finish({ here, source, operation }: Loading): Promise<void> {
  source.hurry();
  await here.rest('POST', `/v1/operations/${operation}/actions/resume`);
  await here.varve('op', 'wait', operation);
}

/** It needs the image no more, holds what the model does, and nothing besides. */
async function expectWhole({ here, source, model }: Loading, usedBytes: number): Promise<void> {
  expect(await adoptedDisks(here)).toEqual([]);
  expect(await serversOf(here)).toEqual([]);
  await source.end();
  await expectIdentical(model, here.uri('v'));
  // What both layers had becomes one in the background.
  const used = async () => {
    const { exclusive_bytes, shared_bytes } = await here.rest('GET', '/v1/volumes/v');
    return Number(exclusive_bytes) + Number(shared_bytes);
  };
  await expect.poll(used, { timeout: 60_000 }).toBe(usedBytes);
}

test('read and written at once, over a kill, it becomes what both say', {
  timeout: 240_000,
}, async () => {
  const load = await loading();
  const { here } = load;
  await qemuIo(here.uri('v'), 'read -P 7 63M 1M', 'read -P 0 50M 1M', 'read -P 6 42M 1M');
  // Over what has not arrived: whole clusters, a piece of a sub-block, zeroes; and beside it.
  await write(load, 'write -P 8 41M 1M', 'write -P 9 44564980 1000', 'write -z -u 2M 64k');
  await write(load, 'write -P 10 20M 64k');
  await here.kill9();
  expect(await serversOf(here)).toEqual([]);
  // What the killed one had asked for is still to be sent; the loading stays paused.
  load.source.hurry();
  await here.restart();
  await qemuIo(here.uri('v'), 'read -P 7 63M 1M', 'read -P 8 41M 1M', 'read -P 0 2M 64k');
  await write(load, 'write -P 11 1000k 100k', 'discard 3M 64k');
  await finish(load);
  // Two clusters less, one more beside; three that are written to in part lie in both layers.
  await expectWhole(load, 8 * MiB + 2 * 64 * 1024);
  await expectSoundDisks(here, [join(here.folder, 'disk0.img')]);
});

test('meanwhile it can be cloned and grown, but not deleted; cancelled it stays, and is finished later', {
  timeout: 240_000,
}, async () => {
  const load = await loading();
  const { here, operation } = load;
  await here.varve('snapshot', 'create', 'v@early');
  await write(load, 'write -P 8 40M 64k');
  await here.varve('volume', 'clone', 'v@early', 'other');
  await here.varve('export', 'remove', 'v');
  const refused = await here.outcome(['volume', 'delete', 'v', '--with-snapshots', '--yes']);
  expect([refused.status, refused.stderr]).toEqual([
    4,
    expect.stringMatching(/being absorbed[\s\S]*volume\/busy/),
  ]);
  await here.varve('op', 'cancel', operation);
  expect(await here.outcome(['op', 'wait', operation])).toMatchObject({ status: 4 });
  await here.varve('export', 'add', 'v');
  await expectIdentical(load.model, here.uri('v'));

  load.source.hurry();
  const { source, format } = load.source.asked;
  const again = ['image', 'load', source, 'v', '--format', format, '--serve'];
  await here.varve(...again);
  expect(await adoptedDisks(here)).toEqual([]);
  await load.source.end();
  await expectIdentical(load.model, here.uri('v'));
  await here.varve('export', 'add', 'other');
  await qemuIo(here.uri('other'), 'read -P 6 40M 3M', 'read -P 5 0 4M', 'read -P 7 63M 1M');
  const other = ['image', 'load', load.model, 'v', '--serve'];
  expect((await here.outcome(other)).stderr).toMatch(/volume\/exists/);
});

test('a server of the image that dies is started again, and nobody notices', {
  timeout: 240_000,
}, async () => {
  const load = await loading();
  const { here } = load;
  const [server] = await serversOf(here);
  process.kill(server as number, 'SIGKILL');
  await qemuIo(here.uri('v'), 'read -P 7 63M 1M', 'read -P 5 0 1M');
  expect(await serversOf(here)).not.toContain(server);
  await finish(load);
  await expectWhole(load, 8 * MiB);
});

test('a source that goes away fails what has not arrived, nothing else; it comes back and is finished', {
  timeout: 240_000,
}, async () => {
  const load = await loading();
  const { here, source, operation } = load;
  await here.varve('pool', 'set', 'main', '--patience', '5s');
  await write(load, 'write -P 8 41M 1M');
  await source.end();
  const lost = await outcomeOf('qemu-io', ['-f', 'raw', '-r', '-c', 'read 63M 1M', here.uri('v')]);
  expect(lost.stdout + lost.stderr).toMatch(/Input\/output error/);
  await qemuIo(here.uri('v'), 'read -P 8 41M 1M', 'read -P 0 50M 1M');
  // It has ended already if a copy was under way.
  await here.outcome(['op', 'resume', operation]);
  const { status, stderr } = await here.outcome(['op', 'wait', operation]);
  expect([status, stderr]).toEqual([1, expect.stringMatching(/disk\/io|disk\/unusable/)]);

  await source.comeBack();
  source.hurry();
  const again = ['image', 'load', source.asked.source, 'v', '--format', 'qcow2', '--serve'];
  await here.varve(...again);
  await expectWhole(load, 8 * MiB);
});

test('a source that goes away and comes back within the patience is read again, and nobody notices', {
  timeout: 240_000,
}, async () => {
  const load = await loading();
  const { here, source } = load;
  await source.end();
  const reading = qemuIo(here.uri('v'), 'read -P 7 63M 1M');
  await expect.poll(() => imageState(here), { timeout: 20_000 }).toBe('suspended');
  await source.comeBack();
  await reading;
  await finish(load);
  await expectWhole(load, 8 * MiB);
});

test('the service starts without a source that does not answer; what has not arrived waits for it', {
  timeout: 240_000,
}, async () => {
  const load = await loading(slowRate);
  const { here, source } = load;
  source.stall();
  await write(load, 'write -P 8 41M 1M');
  await here.kill9();
  await here.restart();
  await qemuIo(here.uri('v'), 'read -P 8 41M 1M', 'read -P 0 50M 1M');
  const waiting = qemuIo(here.uri('v'), 'read -P 7 63M 1M');
  await expect.poll(() => imageState(here), { timeout: 20_000 }).toBe('suspended');
  source.hurry();
  source.goOn();
  await waiting;
  await finish(load);
  await expectWhole(load, 8 * MiB);
});

test('a source that gives something else after a restart is not read, until it is what it was', {
  timeout: 240_000,
}, async () => {
  const load = await loading(slowRate);
  const { here, source } = load;
  await here.kill9();
  await source.end();
  source.hurry();
  const golden = join(here.folder, 'golden.qcow2');
  const kept = readFileSync(golden);
  await run('qemu-io', ['-c', 'write -P 9 0 64k', golden]);
  await source.comeBack();
  await here.restart();
  const reading = qemuIo(here.uri('v'), 'read -P 5 0 4M');
  const said = async () => JSON.stringify((await here.rest('GET', '/v1/pools/main')).warnings);
  await expect.poll(said, { timeout: 20_000 }).toMatch(/not what was adopted: its content/);
  await source.end();
  writeFileSync(golden, kept);
  await source.comeBack();
  await reading;
  await expect.poll(said, { timeout: 20_000 }).not.toMatch(/adopted/);
});

test('each format, sizes that are no multiple of anything', { timeout: 240_000 }, async () => {
  const here = await start();
  await here.createPool('512MiB');
  const { golden } = await madeImage(here.folder);
  const odd = join(here.folder, 'odd.raw');
  writeFileSync(odd, Buffer.alloc(MiB + 777, 3));
  await here.varve('image', 'load', odd, 'odd', '--serve');
  await here.varve('export', 'add', 'odd');
  await expectIdentical(odd, here.uri('odd'));
  for (const format of ['vmdk', 'vdi']) {
    const image = join(here.folder, `image.${format}`);
    await run('qemu-img', ['convert', '-f', 'qcow2', '-O', format, golden, image]);
    await here.varve('image', 'load', image, format, '--serve', '--size', '80MiB');
    await here.varve('export', 'add', format);
    await expectIdentical(golden, here.uri(format), 'qcow2');
    const { size_bytes, exclusive_bytes } = await here.varve('volume', 'show', format);
    expect([size_bytes, exclusive_bytes]).toEqual([80 * MiB, 8 * MiB]);
  }
  expect(await adoptedDisks(here)).toEqual([]);
});
