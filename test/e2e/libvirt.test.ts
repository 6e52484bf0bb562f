// Goal: a volume goes into a running domain of libvirt and out again, twice asked once done; a libvirt that does not let QEMU reconnect pauses
//   its guest when the service is away, and nothing of it is lost; what cannot be leaves nothing half done.
// Method: a real libvirt and a real guest that writes; the service killed under it.
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { LibvirtHost } from './libvirt-host.ts';

let service: Service;
let host: LibvirtHost;

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('1GiB');
  for (const name of ['data', 'away', 'other']) {
    await service.varve('volume', 'create', name, '--size', '64MiB');
  }
  host = await LibvirtHost.start();
  openToAll();
}, 180_000);
afterAll(async () => {
  await host?.dispose();
  await service?.dispose();
});

/** The guest's QEMU is not root's. */
function openToAll(): void {
  for (const folder of [service.folder, service.state]) chmodSync(folder, 0o755);
  chmodSync(service.nbdSocket, 0o666);
}

const guest = () => ['--domain', 'guest', '--connect', host.uri];

async function exportNames(): Promise<unknown[]> {
  return (await service.varve('export', 'list')).items?.map(({ name }) => name) ?? [];
}

const write =
  '/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt && ' +
  'dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null && sync && sha256sum /mnt/file && umount /mnt';
const read = 'mount -t ext4 -o ro /dev/vda /mnt && sha256sum /mnt/file && umount /mnt';

async function appeared(): Promise<void> {
  await expect.poll(() => host.run('ls /sys/block'), { timeout: 30_000 }).toMatch(/vda/);
}

test('into a domain and out', { timeout: 240_000 }, async () => {
  const planned = await service.varve('attach', 'data', ...guest(), '-n');
  expect(planned).toMatchObject({ kind: 'Plan', changed: true });
  const first = await service.varve('attach', 'data', ...guest());
  expect(first).toMatchObject({ kind: 'GuestDisk', export: 'data', node: null, changed: true });
  await appeared();
  const sum = await host.run(write);
  const shown = await service.varve('export', 'show', 'data');
  expect(await host.run('cat /sys/block/vda/serial')).toBe(shown.serial);
  expect(await host.virsh('dumpxml', 'guest')).toContain(`<serial>${shown.serial}</serial>`);
  expect(shown.connections).toMatchObject([{ guest: 'guest' }]);
  const again = await service.varve('attach', 'data', ...guest());
  expect(again).toMatchObject({ device: first.device, changed: false });

  expect(await service.varve('detach', 'data', ...guest())).toMatchObject({ changed: true });
  expect(await service.varve('detach', 'data', ...guest())).toMatchObject({ changed: false });
  expect(await host.run('ls /sys/block')).not.toMatch(/vda/);
  expect(await exportNames()).toContain('data');

  await service.varve('attach', 'data', ...guest());
  await appeared();
  expect(await host.run(read)).toBe(sum);
  await service.varve('detach', 'data', ...guest());
});

test('when the service is away the guest waits, and goes on when it is resumed', {
  timeout: 240_000,
}, async () => {
  await service.varve('attach', 'away', ...guest());
  await appeared();
  await host.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt');
  await service.kill9();
  const command = 'dd if=/dev/urandom of=/mnt/more bs=64k count=16 conv=fsync 2>&1';
  const written = host.run(command).then(() => 'written', String);
  const state = () => host.virsh('domstate', 'guest', '--reason');
  await expect.poll(state, { timeout: 60_000 }).toMatch(/paused \(I\/O error\)/);
  await service.restart();
  openToAll();
  await expect
    .poll(
      async () => {
        await host.virsh('resume', 'guest').catch(() => {});
        return state();
      },
      { timeout: 60_000, interval: 2000 },
    )
    .toMatch(/running/);
  expect(await written).toBe('written');
  await host.run('umount /mnt');
  expect(await host.run("dmesg | grep -cE 'I/O error|EXT4-fs error' || true")).toMatch(/^0/);
});

test('no such domain, no libvirt, no guest: refused, and not exported', async () => {
  const refusals: [string[], number, RegExp][] = [
    [['--domain', 'none', '--connect', host.uri], 4, /none[\s\S]*guest\/refused/],
    [
      ['--domain', 'guest', '--connect', 'qemu+unix:///session?socket=/none'],
      1,
      /start libvirt[\s\S]*guest\/monitor/,
    ],
    [[], 2, /name the guest/],
    [['--domain', 'guest', '--qmp', '/none'], 2, /name the guest/],
    [['--domain', 'guest', '--bus', 'virtio-scsi'], 2, /bus is for qmp/],
  ];
  for (const [args, status, message] of refusals) {
    const outcome = await service.outcome(['attach', 'other', ...args]);
    expect([args, outcome.status, outcome.stderr]).toEqual([
      args,
      status,
      expect.stringMatching(message),
    ]);
  }
  expect(await exportNames()).not.toContain('other');
});
