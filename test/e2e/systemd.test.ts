// Goal: under systemd, with the unit file that we ship, whoever is connected notices nothing of a restart, of an upgrade, or of one that fails.
// Method: the host's systemd in namespaces of its own (tools/lib/systemd) runs the service from /opt/varve. A libnbd client, which never connects twice,
//   writes stamped blocks (clients/stamps.py) while the service is restarted and reloaded, upgraded to a version that does not start and to one that does; a
//   kill -9 costs it the connection and nothing else. A real guest writes through the same.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { outcomeOf } from '../../tools/lib/command.ts';
import { UnitService } from '../../tools/lib/systemd/unit-service.ts';
import { Guest } from './guest/guest.ts';
import { Writer } from './guest/writer.ts';
import { StampedClient } from './stamped-client.ts';

let service: UnitService | undefined;
let client: StampedClient | undefined;
let guest: Guest | undefined;
afterEach(async () => {
  await client?.kill();
  await guest?.kill();
  await service?.dispose();
});

async function serving(): Promise<{ running: UnitService; uri: string }> {
  service = await UnitService.start();
  await service.createPool('1GiB');
  return { running: service, uri: await service.createExportedVolume('gold', '256MiB') };
}

async function connectedSince(of: UnitService): Promise<unknown> {
  const { items } = await of.rest('GET', '/v1/clients');
  return items?.map(({ connected_at }) => connected_at);
}

/** What the process that serves says it is. */
async function version(of: UnitService): Promise<unknown> {
  return (await of.rest('GET', '/v1/status')).version;
}

/** How many processes have begun to stop, and how many were let come to the end of it. */
function stops(of: UnitService): number[] {
  return ['stopping', 'stopped'].map((step) => of.log.split(`"msg":"${step}"`).length - 1);
}

/** An upgrade to a version that ends at once: systemd starts it again and again. */
async function installBroken(of: UnitService, name: string): Promise<void> {
  rmSync(join(of.newVersion(name), 'dist/cli/main.js'));
  of.install(name);
}

test('systemd finds nothing to say about the unit', async () => {
  const checkout = resolve(import.meta.dirname, '../..');
  const text = readFileSync(join(checkout, 'tools/systemd/varve.service'), 'utf8');
  const folder = mkdtempSync(join(tmpdir(), 'varve-'));
  try {
    const unit = join(folder, 'varve.service');
    // It looks whether the programs are there.
    writeFileSync(unit, text.replaceAll('/opt/varve', checkout));
    const { stdout, stderr } = await outcomeOf('systemd-analyze', ['verify', unit]);
    expect(stdout + stderr).toBe('');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a client on one connection notices no restart, no upgrade and none that fails', async () => {
  const { running, uri } = await serving();
  client = new StampedClient(running.folder, { uri, volume: 1, firstBlock: 0, blockCount: 4096 });
  client.start(1);
  await client.progress();
  const since = await connectedSince(running);

  await running.systemctl('restart');
  await client.progress();

  await installBroken(running, '9.0.0');
  await expect(running.systemctl('reload')).rejects.toThrow(/is not built/);
  await client.progress();
  await running.systemctl('restart', '--no-block');
  const failures = async () => Number(await running.property('NRestarts'));
  await expect.poll(failures, { timeout: 60_000 }).toBeGreaterThan(5);

  running.newVersion('9.0.1');
  running.install('9.0.1');
  await running.systemctl('restart');
  await client.progress();
  expect(await version(running)).toBe('9.0.1');

  running.install('installed');
  await running.systemctl('reload');
  await client.progress();
  expect(await version(running)).not.toBe('9.0.1');

  await running.systemctl('restart');
  await client.progress();
  expect(await connectedSince(running)).toEqual(since);
  expect(stops(running)).toEqual([4, 4]);

  await running.systemctl('reload');
  await running.systemctl('kill', '--signal=KILL');
  await client.ended();
  await expect.poll(() => version(running).catch(() => ''), { timeout: 60_000 }).not.toBe('');
  expect((await client.verify()).wrong).toEqual([]);
});

test('a guest writes through restart, upgrade and reload and sees no error', async () => {
  const { running } = await serving();
  const attachment = await running.varve('export', 'qemu', 'gold');
  const diskArguments = (attachment.qemu_arguments as string[]).map((argument) =>
    argument.replaceAll('/var/lib/varve', running.state),
  );
  const folder = mkdtempSync(join(running.folder, 'guest-'));
  guest = await Guest.boot({ folder, diskArguments });
  await guest.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt');
  const writer = await Writer.start(guest);
  await writer.progress();
  const since = await connectedSince(running);
  await running.systemctl('restart');
  await writer.progress();
  running.newVersion('9.0.1');
  running.install('9.0.1');
  await running.systemctl('reload');
  await writer.progress();
  expect(await version(running)).toBe('9.0.1');
  expect(await connectedSince(running)).toEqual(since);
  expect(await writer.stop()).toBe('');
  await guest.run('cd /mnt; sha256sum more* > sums; sync; cd /; umount /mnt');
  expect(await guest.ioErrors()).toBe('');
  expect(await guest.run('/sbin/e2fsck -f -n /dev/vda')).not.toMatch(/fix|error/i);
});
