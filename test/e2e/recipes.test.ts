// Goal: every recipe of docs/operations.md does what it says.
// Method: run the very text of the document against a real service that was brought into the situation, and look at what became of it.
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { FakeAgent } from '../snapshot/fake-agent.ts';
import { expectIdentical, qemuIo } from './disk-service.ts';
import { FillingClient } from './filling-client.ts';
import { cook, neverCooked, tryRecipe } from './recipe-book.ts';

let service: Service;
const disk = (number: number) => join(service.folder, `disk${number}.img`);

// The lease takes a tenth of its time, so that a takeover does.
const settings = 'test_lease_ms = 3000\n';

beforeAll(async () => {
  service = await Service.start({ settings });
  for (const name of ['backup', 'rescue']) mkdirSync(join(service.folder, name));
  await service.varve('pool', 'create', 'gold', `file:${disk(0)}?size=128MiB`);
  for (const name of ['web1', 'db']) {
    await service.varve('volume', 'create', name, '--size', '16MiB');
    await service.varve('export', 'add', name);
  }
  await qemuIo(service.uri('web1'), 'write -P 1 0 1M');
  await qemuIo(service.uri('db'), 'write -P 2 0 1M');
});
afterAll(() => service?.dispose());

/** Of its first MiB, as any client reads it. */
const holds = (volume: string, pattern: number) =>
  qemuIo(service.uri(volume), `read -P ${pattern} 0 1M`);

async function snapshots(volume: string): Promise<string[]> {
  const { items = [] } = await service.varve('snapshot', 'list', volume);
  return items.map(({ name }) => String(name));
}

test('nightly snapshots', async () => {
  expect(await cook(service, 'nightly')).toMatch(/web1/);
  await expect
    .poll(() => snapshots('web1'), { timeout: 60_000 })
    .toContainEqual(expect.stringMatching(/^auto-/));
  await service.varve('snapshot', 'schedule', 'remove', 'web1');
  await cook(service, 'all-at-once');
  const [ofWeb, ofDb] = [await snapshots('web1'), await snapshots('db')];
  expect(ofDb).toEqual([expect.stringMatching(/^before-\d{8}-\d{6}$/)]);
  expect(ofWeb).toContain(ofDb[0]);
});

test('a quiesced snapshot', async () => {
  const agent = await new FakeAgent().listen();
  try {
    await cook(service, 'quiesced', { AGENT: agent.path });
    expect(agent.commands).toContain('guest-fsfreeze-freeze');
    expect(agent.frozen).toBe(0);
    expect(await snapshots('db')).toContain('report');
  } finally {
    agent.close();
  }
});

test('an upgrade is reverted, and the revert too', async () => {
  await cook(service, 'upgrade-begin');
  await qemuIo(service.uri('web1'), 'write -P 3 0 1M');
  await cook(service, 'upgrade-revert');
  await holds('web1', 1);
  await cook(service, 'upgrade-undo');
  await holds('web1', 3);
});

test('a lab is cloned and goes away', async () => {
  expect(await cook(service, 'lab')).toMatch(/-blockdev/);
  await holds('lab-web1', 3);
  await qemuIo(service.uri('lab-db'), 'write -P 4 0 1M');
  await holds('db', 2);
  await cook(service, 'lab-away');
  const { items = [] } = await service.varve('volume', 'list');
  expect(items.map(({ name }) => name)).toEqual(['db', 'web1']);
});

test('a backup is restored', async () => {
  const variables = { BACKUP: join(service.folder, 'backup') };
  await cook(service, 'backup', variables);
  await qemuIo(service.uri('web1'), 'write -P 5 0 1M');
  await cook(service, 'restore', variables);
  await holds('web1-restored', 3);
});

test('a chain of streams is restored', async () => {
  const variables = { BACKUP: join(service.folder, 'backup') };
  await cook(service, 'backup-full', variables);
  await qemuIo(service.uri('web1'), 'write -P 6 1M 1M');
  await cook(service, 'backup-changes', variables);
  await qemuIo(service.uri('web1'), 'write -P 7 1M 1M');
  await cook(service, 'backup-receive', variables);
  await qemuIo(service.uri('web1-back'), 'read -P 5 0 1M', 'read -P 6 1M 1M');
});

test('a script goes by JSON and exit codes', async () => {
  await service.varve('snapshot', 'create', 'web1@script');
  await service.varve('volume', 'clone', 'web1@script', 'mine');
  await cook(service, 'script', { CLONE: 'mine' });
  expect(await service.varve('volume', 'show', 'mine')).toMatchObject({ origin: null });
  const again = await cook(service, 'script', { CLONE: 'mine' });
  expect(again).toMatch(/^scratch: 1073741824 bytes, 0 of them its own/);
  const away = { CLONE: 'mine', VARVE_SERVER: 'unix:/none' };
  expect(await tryRecipe(service, 'script', away)).toMatchObject({ status: 20 });
});

test('a disk is emptied and leaves, and the pool goes away and comes back', async () => {
  await cook(service, 'drain', { NEW_DISK: `file:${disk(1)}?size=128MiB` });
  await holds('web1', 5);
  await service.varve('disk', 'add', 'gold', `file:${disk(2)}?size=128MiB`);
  await cook(service, 'pool-away');
  expect((await service.varve('pool', 'list')).items).toEqual([]);
  const other = await Service.start({ settings });
  try {
    const disks = { DISK0: disk(1), DISK1: disk(2) };
    expect(await cook(other, 'pool-here', disks)).toMatch(/web1/);
    await qemuIo(other.uri('web1'), 'read -P 5 0 1M');
    await cook(other, 'pool-away');
  } finally {
    await other.dispose();
  }
  await cook(service, 'pool-here', { DISK0: disk(1), DISK1: disk(2) });
});

test('a service that does not start says why, and a lost state folder loses nothing', async () => {
  const variables = { STATE: service.state, DISK0: disk(1), DISK1: disk(2) };
  const { status, stderr } = await tryRecipe(service, 'no-start', variables);
  expect(status).not.toBe(0);
  expect(stderr).toMatch(/state/);
  await service.kill9();
  await cook(service, 'state-aside', variables);
  await service.restart();
  expect(await cook(service, 'state-new', variables)).toMatch(/web1/);
  await holds('web1', 5);
});

test('a pool that lacks a disk is read', async () => {
  await service.stop();
  renameSync(disk(2), `${disk(2)}.away`);
  await service.restart();
  await cook(service, 'disk-gone');
  const rescue = join(service.folder, 'rescue');
  await cook(service, 'disk-lost', { DISK0: disk(1), RESCUE: rescue });
  await qemuIo(join(rescue, 'web1.img'), 'read -P 5 0 1M');
  renameSync(`${disk(2)}.away`, disk(2));
  await cook(service, 'pool-here', { DISK0: disk(1), DISK1: disk(2) });
  await expectIdentical(service.uri('web1'), join(rescue, 'web1.img'));
});

test('a full pool gets space', async () => {
  await service.varve('pool', 'set', 'gold', '--patience', '1h');
  await service.varve('snapshot', 'create', 'web1@old');
  await service.varve('volume', 'create', 'large', '--size', '512MiB');
  await service.varve('export', 'add', 'large');
  const client = new FillingClient(service.uri('large'), { seed: 1, blocks: 5000 });
  client.goOn();
  try {
    const warned = async () => JSON.stringify((await service.varve('status')).warnings ?? []);
    await expect.poll(warned, { timeout: 90_000 }).toContain('pool/full');
    expect(await cook(service, 'full')).toMatch(/large/);
    await cook(service, 'full-delete');
    await cook(service, 'full-disk', {
      NEW_DISK: `file:${join(service.folder, 'new.img')}?size=512MiB`,
    });
    expect(await client.verified()).toBe(5000);
  } finally {
    await client.kill();
  }
});

test('every recipe was run', () => {
  expect(neverCooked()).toEqual([]);
});
