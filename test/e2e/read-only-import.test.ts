// Goal: when a disk is lost, what the others hold can be got at over NBD, by the command that the refusal names, and no disk is changed.
// Method: the real service; a disk file is moved away; qemu-io reads and tries to write; the disks are hashed.
import { renameSync } from 'node:fs';
import { expect, test } from 'vitest';
import { outcomeOf } from '../../tools/lib/command.ts';
import { diskService, qemuIo } from './disk-service.ts';
import { hashOf } from './raw-disks.ts';

const { start } = diskService();

test('a pool that lacks a disk is read by the command that its refusal names', async () => {
  const here = await start();
  const [first = '', second = ''] = await here.createPool('256MiB', 2);
  await here.varve('disk', 'cordon', second);
  const uri = await here.createExportedVolume('web', '16MiB');
  await qemuIo(uri, 'write -P 0x5a 0 1M', 'flush');
  await here.varve('snapshot', 'create', 'web@before');
  await here.varve('disk', 'uncordon', second);
  await here.varve('disk', 'cordon', first);
  await qemuIo(uri, 'write -P 0x17 4M 1M', 'flush');
  await here.stop();
  const before = hashOf(first);
  renameSync(second, `${second}.away`);
  await here.restart();

  const refused = await here.outcome(['pool', 'import', first]);
  expect(refused.status).toBe(4);
  expect(refused.stderr).toMatch(/lacks a disk: number 1 .*disk1\.img[\s\S]*pool\/disk-missing/);
  const [, offered = ''] = /(pool import --read-only .*)/.exec(refused.stderr) ?? [];
  const plan = await here.varve(...offered.split(' '), '-n');
  expect(plan).toMatchObject({ kind: 'Plan', action: 'pool import', changed: true });
  const pool = await here.varve(...offered.split(' '));
  expect(pool).toMatchObject({ name: 'main', state: 'online', read_only: true, changed: true });
  expect(JSON.stringify(pool.warnings)).toMatch(/disk 1 .* is missing/);

  expect(await here.varve('export', 'list')).toMatchObject({ items: [] });
  const writable = await here.outcome(['export', 'add', 'web']);
  expect(writable.status).toBe(4);
  expect(writable.stderr).toMatch(/varve export add web --read-only[\s\S]*pool\/read-only/);
  await here.varve('export', 'add', 'web', '--read-only');
  await here.varve('export', 'add', 'web@before', '--name', 'before');
  await qemuIo(uri, 'read -P 0x5a 0 1M', 'read -P 0 8M 1M');
  await qemuIo(here.uri('before'), 'read -P 0x5a 0 1M', 'read -P 0 4M 1M');
  const lost = await outcomeOf('qemu-io', ['-r', '-f', 'raw', '-c', 'read 4M 4096', uri]);
  expect(lost.stdout).toMatch(/Input\/output error/);
  const write = await outcomeOf('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 4096', uri]);
  expect(write.status).not.toBe(0);
  const changes = [
    ['volume', 'create', 'new', '--size', '1MiB'],
    ['volume', 'delete', 'web', '--with-snapshots'],
    ['snapshot', 'create', 'web@now'],
    ['disk', 'drain', first],
    ['volume', 'leave', 'web', `${first}.left`],
  ];
  for (const change of changes) {
    for (const dry of [[], ['-n']]) {
      const { status, stderr } = await here.outcome([...change, '-y', ...dry]);
      expect([change, status]).toEqual([change, 4]);
      expect(stderr).toMatch(/imported to be read only[\s\S]*pool\/read-only/);
    }
  }
  await here.varve('volume', 'leave', 'web@before', `${first}.left`);
  await here.varve('pool', 'export', 'main');
  expect(hashOf(first)).toBe(before);

  renameSync(`${second}.away`, second);
  await here.stop();
  await here.restart();
  await qemuIo(uri, 'read -P 0x5a 0 1M', 'read -P 0x17 4M 1M');
  expect(await here.varve('pool', 'check', 'main')).toMatchObject({ findings: [] });
});
