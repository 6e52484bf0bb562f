// Goal: a volume goes into a running guest and out again by QEMU's monitor, twice asked once done, and what cannot be leaves nothing half done.
// Method: a real guest with PCIe root ports writes to what is plugged in, by virtio-blk and virtio-scsi; a QEMU without room, one whose
//   guest never answers, and sockets that are no monitor for what goes wrong.
import { mkdtempSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Daemon } from '../../tools/lib/daemon.ts';
import { Service } from '../../tools/lib/service.ts';
import { type Equipment, Guest } from './guest/guest.ts';
import { Writer } from './guest/writer.ts';

let service: Service;
let guest: Guest | undefined;
const machines: Daemon[] = [];
let impostor: Server | undefined;

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('2GiB');
  for (const name of ['data', 'more', 'grown', 'other']) {
    await service.varve('volume', 'create', name, '--size', '64MiB');
  }
});
afterEach(async () => {
  await guest?.kill();
  for (const machine of machines.splice(0)) await machine.end('SIGKILL');
  impostor?.close();
});
afterAll(() => service?.dispose());

function monitorPath(): string {
  return join(mkdtempSync(join(service.folder, 'qemu-')), 'qmp.sock');
}

function monitorFlags(path: string): string[] {
  return ['-qmp', `unix:${path},server=on,wait=off`];
}

function pluggable(monitor: string): Equipment {
  const ports = [1, 2].flatMap((n) => ['-device', `pcie-root-port,id=port${n},chassis=${n}`]);
  const drivers = ['virtio_scsi', 'sd_mod'];
  const name = ['-name', 'guest=lab,, first,debug-threads=on'];
  return { qemuArguments: [...name, ...monitorFlags(monitor), ...ports], drivers, programs: [] };
}

/** A machine that never runs. */
async function stoppedMachine(machine: string): Promise<string> {
  const monitor = monitorPath();
  const flags = ['-machine', `${machine},accel=tcg`, '-nodefaults', '-display', 'none', '-S'];
  machines.push(new Daemon('qemu-system-x86_64', [...flags, ...monitorFlags(monitor)]));
  const answers = async () => (await service.outcome(['detach', 'other', '--qmp', monitor])).status;
  await expect.poll(answers, { timeout: 20_000 }).toBe(0);
  return monitor;
}

async function exportNames(): Promise<string[]> {
  const list = await service.varve('export', 'list');
  return (list.items as { name: string }[]).map(({ name }) => name).sort();
}

async function serial(name: string): Promise<unknown> {
  return (await service.varve('export', 'show', name)).serial;
}

/** The guest's name of the disk, once it is there. */
async function appeared(name: RegExp): Promise<string> {
  const found = async () => (await guest?.run('ls /sys/block'))?.match(name)?.[0];
  await expect.poll(found, { timeout: 20_000 }).toBeDefined();
  return (await found()) as string;
}

const write = (disk: string) =>
  `/sbin/mke2fs -t ext4 -q /dev/${disk} && mount -t ext4 /dev/${disk} /mnt && ` +
  'dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null && sync && sha256sum /mnt/file && umount /mnt';
const read = (disk: string) =>
  `mount -t ext4 -o ro /dev/${disk} /mnt && sha256sum /mnt/file && umount /mnt`;

test('into a guest and out, by both buses', async () => {
  const monitor = monitorPath();
  const folder = mkdtempSync(join(service.folder, 'guest-'));
  guest = await Guest.boot({ folder, diskArguments: [], equipment: [pluggable(monitor)] });

  const first = await service.varve('attach', 'data', '--qmp', monitor);
  expect(first).toMatchObject({ kind: 'GuestDisk', volume: 'data', export: 'data', changed: true });
  const sum = await guest.run(write(await appeared(/vda/)));
  // What udev makes /dev/disk/by-id of.
  expect(await guest.run('cat /sys/block/vda/serial')).toBe(await serial('data'));
  const again = await service.varve('attach', 'data', '--qmp', monitor);
  expect(again).toMatchObject({ node: first.node, device: first.device, changed: false });

  await service.varve('attach', 'more', '--qmp', monitor, '--bus', 'virtio-scsi');
  await guest.run(write(await appeared(/sda/)));
  expect(await guest.run('cat /sys/block/sda/device/vendor')).toMatch(/QEMU/);
  expect(await guest.run('tail -c +5 /sys/block/sda/device/vpd_pg80')).toBe(await serial('more'));

  const clients = (await service.varve('client', 'list')).items ?? [];
  const known = { program: 'qemu-system-x86_64', guest: 'lab, first', pid: expect.any(Number) };
  expect(clients).toMatchObject([known, known]);
  const shown = await service.varve('export', 'show', 'more');
  expect(shown.connections).toEqual(clients.filter((client) => client.export === 'more'));

  for (const name of ['data', 'more']) {
    expect(await service.varve('detach', name, '--qmp', monitor)).toMatchObject({ changed: true });
    expect(await service.varve('detach', name, '--qmp', monitor)).toMatchObject({ changed: false });
  }
  expect(await guest.run('ls /sys/block')).not.toMatch(/vda|sda/);
  expect(await exportNames()).toEqual(['data', 'more']);

  // By the other bus, through the controller that is there now.
  await service.varve('attach', 'data', '--qmp', monitor, '--bus', 'virtio-scsi');
  expect(await guest.run(read(await appeared(/sd[a-z]/)))).toBe(sum);
  expect(await guest.ioErrors()).toBe('');
});

test('a guest sees its disk grow while it writes, and loses nothing', async () => {
  const monitor = monitorPath();
  const folder = mkdtempSync(join(service.folder, 'guest-'));
  guest = await Guest.boot({ folder, diskArguments: [], equipment: [pluggable(monitor)] });
  await service.varve('attach', 'grown', '--qmp', monitor);
  await guest.run(`/sbin/mke2fs -t ext4 -q /dev/${await appeared(/vda/)}`);
  await guest.run('mount -t ext4 /dev/vda /mnt');
  const writer = await Writer.start(guest);
  await writer.progress();
  await service.varve('volume', 'resize', 'grown', '96MiB', '--qmp', monitor);
  expect(Number(await guest.run('cat /sys/block/vda/size'))).toBe((96 * 1024 * 1024) / 512);
  await writer.progress();
  expect(await writer.stop()).toBe('');
  await service.varve('volume', 'resize', 'grown', '96MiB', '--qmp', monitor);
  expect(await guest.ioErrors()).toBe('');

  const elsewhere = ['volume', 'resize', 'other', '96MiB', '--qmp', monitor];
  const outcome = await service.outcome(elsewhere);
  expect(outcome.status).toBe(4);
  expect(outcome.stderr).toMatch(/varve attach other/);
  expect(await service.varve('volume', 'show', 'other')).toMatchObject({
    size_bytes: 64 * 2 ** 20,
  });
});

test('without room in the machine nothing is attached, and nothing stays exported', async () => {
  const monitor = await stoppedMachine('q35');
  const outcome = await service.outcome(['attach', 'other', '--qmp', monitor]);
  expect(outcome.status).toBe(4);
  expect(outcome.stderr).toMatch(/guest\/refused/);
  expect(outcome.stderr).toMatch(/pcie-root-port/);
  expect(await exportNames()).not.toContain('other');
});

test('a dry run says what would be and does nothing', async () => {
  const monitor = await stoppedMachine('pc');
  const plan = await service.varve('--dry-run', 'attach', 'other', '--qmp', monitor);
  expect(plan).toMatchObject({ kind: 'Plan', changed: true });
  expect(await exportNames()).not.toContain('other');
});

test('what one guest has goes into another only when they know of each other', async () => {
  const [first, second] = [await stoppedMachine('pc'), await stoppedMachine('pc')];
  await service.varve('attach', 'other', '--qmp', first);
  const outcome = await service.outcome(['attach', 'other', '--qmp', second]);
  expect(outcome.status, outcome.stderr).toBe(4);
  expect(outcome.stderr).toMatch(/export\/busy/);
  expect(outcome.stderr).toMatch(/--shared/);
  const again = await service.varve('attach', 'other', '--qmp', first);
  expect(again).toMatchObject({ changed: false });
  const shared = await service.varve('attach', 'other', '--qmp', second, '--shared');
  expect(shared).toMatchObject({ changed: true });
  expect(await service.varve('export', 'show', 'other')).toMatchObject({ clients: 2 });
});

test('a guest that does not let go is told, however often', async () => {
  const monitor = await stoppedMachine('pc');
  await service.varve('attach', 'other', '--qmp', monitor);
  for (let attempt = 0; attempt < 2; attempt++) {
    const detach = ['detach', 'other', '--qmp', monitor, '--guest-timeout', '1s'];
    const outcome = await service.outcome(detach);
    expect(outcome.status, outcome.stderr).toBe(4);
    expect(outcome.stderr).toMatch(/guest\/busy/);
  }
});

test('what is no monitor is named as such', async () => {
  const missing = await service.outcome(['attach', 'other', '--qmp', '/nowhere/qmp.sock']);
  expect(missing.status).toBe(1);
  expect(missing.stderr).toMatch(/guest\/monitor/);
  expect(missing.stderr).toMatch(/-qmp/);

  const path = monitorPath();
  const server = createServer((socket) => socket.end('220 mail.example\r\n'));
  impostor = server;
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const other = await service.outcome(['attach', 'other', '--qmp', path]);
  expect(other.status).toBe(1);
  expect(other.stderr).toMatch(/does not speak QEMU's machine protocol/);
  const unknown = await service.outcome(['attach', 'nosuch', '--qmp', path]);
  expect(unknown.status).toBe(3);
});
