// Goal: a full pool costs guests time, not errors: writes that need space wait and everything else is answered; they go on by themselves when space
//   comes, from wherever, fail only when the patience is over, and hold up nobody who wants to leave.
// Method: real libnbd clients that fill volumes of together more than the pool holds, verify what they have all the time and end with the first
//   error (clients/filling.py). Full is when the service says so.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Service } from '../../tools/lib/service.ts';
import { diskService, expectSoundDisks, MiB, qemuIo } from './disk-service.ts';
import { blockBytes, FillingClient } from './filling-client.ts';

const { start, undo } = diskService();

/** A pool that waits for an hour: longer than any test. */
async function servePool(size: string): Promise<{ here: Service; disk: string }> {
  const here = await start();
  const [disk = ''] = await here.createPool(size);
  await here.varve('pool', 'set', 'main', '--patience', '1h');
  return { here, disk };
}

function fill(here: Service, name: string, seed: number, mib: number): FillingClient {
  const client = begin(here, name, seed, mib);
  client.goOn();
  return client;
}

function begin(here: Service, name: string, seed: number, mib: number): FillingClient {
  const client = new FillingClient(here.uri(name), { seed, blocks: (mib * MiB) / blockBytes });
  undo.add(() => client.kill());
  return client;
}

/** None takes all the space before the others have begun. */
async function fillTogether(clients: readonly FillingClient[]): Promise<void> {
  for (const client of clients) await client.begun();
  for (const client of clients) client.goOn();
}

async function warningCodes(here: Service): Promise<unknown[]> {
  const { warnings } = await here.rest('GET', '/v1/pools/main');
  return (warnings as { code: string }[]).map(({ code }) => code);
}

async function untilFull(here: Service): Promise<void> {
  await expect.poll(() => warningCodes(here), { timeout: 60_000 }).toContain('pool/full');
}

async function eventCount(here: Service, kind: string): Promise<number> {
  const { items } = await here.rest('GET', '/v1/events');
  return (items ?? []).filter(({ event }) => event === kind).length;
}

/** Writes of guests that wait for space, as the pool's warning has it. */
async function heldWrites(here: Service): Promise<number> {
  const { warnings } = await here.rest('GET', '/v1/pools/main');
  const texts = (warnings as { message: string }[]).map(({ message }) => message).join('\n');
  return Number(/(\d+) writes wait for space/.exec(texts)?.[1] ?? 0);
}

test('ten guests on a full pool go on when a disk is added', async () => {
  const { here, disk } = await servePool('64MiB');
  const names = Array.from({ length: 10 }, (_, at) => `guest${at}`);
  for (const name of names) await here.createExportedVolume(name, '12MiB');
  const clients = names.map((name, at) => begin(here, name, at + 1, 12));
  await fillTogether(clients);
  await untilFull(here);
  expect(await here.varve('status')).toMatchObject({ health: 'critical' });
  await Promise.all(clients.map((client) => client.probes(5)));
  expect(await eventCount(here, 'pool/full')).toBe(1);
  // It goes by what is durable, a second later at most.
  await expect
    .poll(() => eventCount(here, 'pool/space-low'), { timeout: 20_000 })
    .toBeGreaterThan(0);

  const more = join(here.folder, 'more.img');
  await here.varve('disk', 'add', 'main', `file:${more}?size=256MiB`);
  const verified = await Promise.all(clients.map((client) => client.verified()));
  expect(verified).toEqual(names.map(() => (12 * MiB) / blockBytes));
  await expect.poll(() => eventCount(here, 'pool/has-space'), { timeout: 30_000 }).toBe(1);
  expect(await eventCount(here, 'pool/out-of-space')).toBe(0);
  expect(await warningCodes(here)).not.toContain('pool/full');
  await expectSoundDisks(here, [disk, more]);
});

test('guests on a full pool go on when a snapshot is deleted, and when another guest trims', async () => {
  const { here, disk } = await servePool('64MiB');
  const old = await here.createExportedVolume('old', '20MiB');
  await qemuIo(old, 'write -P 1 0 20M');
  await here.varve('snapshot', 'create', 'old@s');
  await qemuIo(old, 'write -P 2 0 20M');
  const cow = ['--size', '8MiB', '--pool', 'main', '--snapshot-mode', 'cow'];
  await here.varve('volume', 'create', 'cow', ...cow);
  await here.varve('export', 'add', 'cow');
  await qemuIo(here.uri('cow'), 'write -P 3 0 8M');
  await here.varve('snapshot', 'create', 'cow@s');
  await here.createExportedVolume('a', '16MiB');
  await here.createExportedVolume('b', '24MiB');

  const first = [begin(here, 'cow', 1, 8), begin(here, 'a', 2, 16)];
  await fillTogether(first);
  await untilFull(here);
  await Promise.all(first.map((client) => client.probes(3)));
  await here.varve('snapshot', 'delete', 'old@s');
  expect(await Promise.all(first.map((client) => client.verified()))).toEqual([128, 256]);

  const second = fill(here, 'b', 3, 24);
  await expect.poll(() => heldWrites(here), { timeout: 60_000 }).toBeGreaterThan(0);
  await second.probes(3);
  await qemuIo(old, 'discard 0 20M', 'flush');
  expect(await second.verified()).toBe(384);
  expect(await eventCount(here, 'pool/out-of-space')).toBe(0);
  await here.varve('export', 'add', 'cow@s');
  await qemuIo(here.uri('cow-s'), 'read -P 3 0 8M');
  await expectSoundDisks(here, [disk]);
});

test('whoever leaves is not kept, and when the patience is over writes fail and the rest goes on', async () => {
  const { here, disk } = await servePool('48MiB');
  for (const name of ['killed', 'removed', 'stays']) await here.createExportedVolume(name, '32MiB');
  const [killed, removed, stays] = ['killed', 'removed', 'stays'].map((name, at) =>
    begin(here, name, at + 1, 32),
  ) as [FillingClient, FillingClient, FillingClient];
  await fillTogether([killed, removed, stays]);
  await untilFull(here);
  await Promise.all([killed, removed, stays].map((client) => client.probes(1)));
  await killed.kill();
  await here.varve('export', 'remove', 'removed', '--disconnect');
  await expect(removed.verified()).rejects.toThrow(/connection ended|error 107/);
  await expect.poll(() => heldWrites(here), { timeout: 30_000 }).toBe(8);

  await here.varve('pool', 'set', 'main', '--patience', '1s');
  await expect(stays.verified()).rejects.toThrow(/error 28/);
  expect(await eventCount(here, 'pool/out-of-space')).toBe(1);
  await expect(qemuIo(here.uri('stays'), 'write -P 9 0 32M')).rejects.toThrow(/No space left/);
  await here.varve('volume', 'delete', 'removed');
  await expect.poll(() => warningCodes(here), { timeout: 30_000 }).not.toContain('pool/full');

  await here.varve('pool', 'set', 'main', '--patience', '1h');
  fill(here, 'killed', 4, 32);
  fill(here, 'stays', 5, 32);
  await untilFull(here);
  expect(await here.stop()).toMatchObject({ status: 0 });
  await expectSoundDisks(here, [disk]);
});
