// Goal: a host is emptied for maintenance while its guests run: they wait for a moment and never know.
// Method: the procedure of docs/operations.md, "Maintenance of a host", with two services that stand for two hosts and a real guest
//   whose disk is served at an address that moves with the pool. The guest writes all the time; the pool goes there and back.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Guest } from './guest/guest.ts';
import { Writer } from './guest/writer.ts';
import { TwoHosts } from './two-hosts.ts';

let hosts: TwoHosts;
let guest: Guest | undefined;

beforeAll(async () => {
  hosts = await TwoHosts.start({ size: '1GiB', count: 2 });
  await hosts.a.varve('volume', 'create', 'vm', '--size', '256MiB', '--pool', 'main');
  await hosts.a.varve('export', 'add', 'vm', '--listen', `unix:${address()}`);
});
afterEach(() => guest?.kill());
afterAll(() => hosts?.dispose());

/** Where the guest finds its disk, whichever host has the pool. */
const address = () => join(hosts.folder, 'vm.sock');

async function boot(): Promise<Guest> {
  const { qemu_arguments: printed } = await hosts.a.varve('export', 'qemu', 'vm');
  const diskArguments = (printed as string[]).map((argument) =>
    argument.replace(hosts.a.nbdSocket, address()),
  );
  expect(diskArguments.join(' ')).toContain('reconnect-delay');
  expect(diskArguments.join(' ')).toContain(address());
  return Guest.boot({ folder: mkdtempSync(join(hosts.folder, 'guest-')), diskArguments });
}

test('a pool moves to another host and back under a writing guest', {
  timeout: 300_000,
}, async () => {
  guest = await boot();
  await guest.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt');
  const writer = await Writer.start(guest);
  const { a, b } = hosts;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    await writer.progress();
    await from.varve('pool', 'export', 'main', '--disconnect');
    await to.varve('pool', 'import', ...hosts.disks);
    await writer.progress();
  }
  expect(await writer.stop()).toBe('');
  await guest.run('cd /mnt; sha256sum more* > sums; sync; cd /; umount /mnt');
  expect(await guest.ioErrors()).toBe('');
  expect(await guest.run('/sbin/e2fsck -f -n /dev/vda')).not.toMatch(/fix|error/i);
  await guest.powerOff();
  expect((await a.varve('pool', 'check', 'main')).items ?? []).toEqual([]);
});
