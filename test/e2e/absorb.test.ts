// Goal: an adopted image is absorbed while guests write, through kill -9, pauses and cancels; afterwards it may be deleted, and until then it is
//   what it was. The whole way of a disk: a volume leaves, is adopted, is absorbed.
// Method: the real service; two libnbd clients (clients/stamps.py) write on the adopted volume and on a clone; every block is compared after
//   each kill; hash and time of the image before and after. Replay with SEED=n. KILLS=n kills more often.
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
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
import { chooseSeed, randomFrom } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const kills = Number(process.env.KILLS ?? 4);
const { undo, start } = diskService();

function traceOf(path: string): string {
  return `${hashOf(path)} ${statSync(path, { bigint: true }).mtimeNs}`;
}

function stampedClient(here: Service, name: string, volume: number, firstBlock: number) {
  const range = { uri: here.uri(name), volume, firstBlock, blockCount: 4096 };
  return new StampedClient(here.folder, range);
}

/** An image full of stamps: what a volume was when it left. */
async function writeImage(here: Service, client: StampedClient): Promise<string> {
  client.start(1);
  await expect.poll(() => client.acknowledged, { timeout: 30_000 }).toBeGreaterThan(4000);
  await here.kill9();
  await client.ended();
  await here.restart();
  const image = join(here.folder, 'image');
  await here.varve('volume', 'leave', 'guest', image);
  await here.varve('export', 'remove', 'guest');
  await here.varve('volume', 'delete', 'guest');
  return image;
}

test(`${kills} kills in the middle of absorbing, under writing guests`, {
  timeout: 120_000 + kills * 60_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  const here = await start();
  const disks = await here.createPool('1GiB', 2);
  await here.createExportedVolume('guest', '64MiB');
  const first = stampedClient(here, 'guest', 1, 0);
  const image = await writeImage(here, first);
  const before = traceOf(image);
  await here.varve('volume', 'adopt', image, 'guest');
  await here.varve('snapshot', 'create', 'guest@original');
  await here.varve('volume', 'clone', 'guest@original', 'clone');
  for (const name of ['guest', 'clone']) await here.varve('export', 'add', name);
  const clients = [first, stampedClient(here, 'clone', 2, 8192)];
  const verify = async (where: string) => {
    const verdicts = await Promise.all(clients.map((client) => client.verify()));
    const wrong = verdicts.map((verdict) => verdict.wrong);
    expect(wrong, `SEED=${seed} ${where}`).toEqual([[], []]);
  };
  const plan = await here.varve('volume', 'absorb', 'guest', '-n');
  expect(plan).toMatchObject({ kind: 'Plan', changed: true, affected: ['clone', 'guest'] });
  // Slow enough that every round finds something left to do, but for the last.
  const rate = (plan.copied_bytes as number) / (2 * kills);
  const begun = await here.varve('--no-wait', 'volume', 'absorb', 'guest', '--rate', `${rate}`);
  const id = begun.id as string;
  for (let round = 0; round < kills; round++) {
    clients.forEach((client, at) => {
      client.start(seed + 100 * round + at);
    });
    const areUnderLoad = () => clients.every(({ acknowledged }) => acknowledged > 50);
    await expect.poll(areUnderLoad, { timeout: 30_000 }).toBe(true);
    await delay(random(20, 1000));
    await here.kill9();
    await Promise.all(clients.map((client) => client.ended()));
    await here.restart();
    await verify(`round ${round}`);
  }
  await here.varve('op', 'wait', id);
  expect(await adoptedDisks(here)).toEqual([]);
  expect(traceOf(image)).toBe(before);
  expect(await here.varve('volume', 'absorb', 'guest')).toMatchObject({ changed: false });
  await here.varve('export', 'add', 'guest@original', '--read-only', '--name', 'original');
  await expectIdentical(here.uri('original'), image);
  rmSync(image);
  await here.kill9();
  await here.restart();
  await verify('absorbed');
  await expectSoundDisks(here, disks);
});

test('adopted and absorbed by one command, paused, resumed, cancelled and begun again', async () => {
  const here = await start();
  const disks = await here.createPool('512MiB', 2);
  const path = rawDisk(here.folder, 40 * MiB);
  // All of a device is data, so that there is something left to do in every step here.
  const device = await loopDevice(path, undo);
  const before = traceOf(path);
  const asked = ['volume', 'adopt', `block:${device}`, 'old', '--absorb', '--pool', 'main'];
  expect(await here.varve(...asked, '-n')).toMatchObject({
    kind: 'Plan',
    changed: true,
    copied_bytes: 40 * MiB,
  });
  expect(await here.varve('volume', 'list')).toMatchObject({ items: [] });
  const { id } = await here.varve('--no-wait', ...asked, '--rate', '2MiB/s');
  const operation = () => here.varve('op', 'show', id as string);
  await expect.poll(async () => (await operation()).phase, { timeout: 20_000 }).toBe('copying');
  await here.varve('op', 'pause', id as string);
  await here.kill9();
  await here.restart();
  expect(await operation()).toMatchObject({ state: 'paused', operation: 'volume-absorb' });
  await here.varve('export', 'add', 'old');
  await qemuIo(here.uri('old'), 'write -P 0x5a 20M 1M', 'flush', 'read -P 0x5a 20M 1M');
  const refused = await here.outcome(['volume', 'rename', 'old', 'new']);
  expect([refused.status, refused.stderr]).toEqual([4, expect.stringMatching(/volume\/busy/)]);
  await here.varve('op', 'resume', id as string);
  await here.varve('op', 'cancel', id as string);
  const state = async () => (await operation()).state;
  await expect.poll(state, { timeout: 20_000 }).toBe('cancelled');
  expect(await adoptedDisks(here)).toEqual([device]);
  const again = await here.varve(...asked);
  expect(again).toMatchObject({ kind: 'Volume', changed: true, adopted_from: null });
  expect(await here.varve(...asked)).toMatchObject({ kind: 'Volume', changed: false });
  expect(await adoptedDisks(here)).toEqual([]);
  expect(traceOf(path)).toBe(before);
  await qemuIo(here.uri('old'), 'read -P 0x5a 20M 1M');
  await expectSoundDisks(here, disks);
});

test('killed while it maps, it maps again; what has no room then says so, and the volume is there', async () => {
  const here = await start();
  await here.createPool('512MiB');
  const device = await loopDevice(rawDisk(here.folder, 64 * 1024 * MiB), undo);
  const body = { source: `block:${device}`, absorb: true };
  const { id } = await here.rest('POST', '/v1/volumes/old/actions/adopt', body);
  await expect.poll(() => adoptedDisks(here), { timeout: 20_000 }).toEqual([device]);
  await here.kill9();
  await here.restart();
  const ended = await here.outcome(['op', 'wait', id as string]);
  expect(ended.status).toBe(6);
  expect(ended.stderr).toMatch(/64GiB are read from .*but pool main has room for/);
  expect(await here.varve('volume', 'show', 'old')).toMatchObject({
    adopted_from: `block:${device}`,
  });
});

test('what cannot be absorbed says why', async () => {
  const here = await start();
  await here.createPool('512MiB');
  const path = rawDisk(here.folder, 8 * MiB);
  await here.varve('volume', 'create', 'plain', '--size', '1MiB');
  expect(await here.varve('volume', 'absorb', 'plain', '-n')).toMatchObject({ changed: false });
  expect(await here.varve('volume', 'absorb', 'plain')).toMatchObject({ changed: false });
  await here.varve('volume', 'adopt', path, 'old');
  await here.stop();
  rmSync(path);
  await here.restart();
  const refusals: [string[], number, RegExp][] = [
    [['absorb', 'none'], 3, /volume\/not-found/],
    [['absorb', 'old@one'], 2, /names a snapshot/],
    [['absorb', 'old'], 1, /cannot be absorbed[\s\S]*disk\/unusable/],
    [['adopt', path, 'new', '--rate', '1MiB/s'], 2, /without --absorb nothing is copied/],
  ];
  for (const [args, status, message] of refusals) {
    const outcome = await here.outcome(['volume', ...args]);
    expect([args, outcome.status]).toEqual([args, status]);
    expect(outcome.stderr).toMatch(message);
  }
  expect(existsSync(path)).toBe(false);
});
