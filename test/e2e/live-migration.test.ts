// Goal: a guest goes from one QEMU to another while it writes; both have its disk meanwhile, one at a time writes, nothing is copied or lost.
// Method: two real QEMUs, the first by the unix socket as on the service's host, the second by TCP as on another, and fio in the guest that
//   verifies what it writes through the hand-over; then what the guest reads is compared with what any client reads.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { QmpChannel } from '../../src/export/qmp-channel.ts';
import { run } from '../../tools/lib/command.ts';
import { Service } from '../../tools/lib/service.ts';
import { fio, keepVerifying, roundsVerified, stopVerifying, verdict } from './guest/fio.ts';
import { Guest } from './guest/guest.ts';

const moveMs = 120_000;

let service: Service;
let source: Guest | undefined;
let target: Guest | undefined;

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('1GiB');
  await service.varve('volume', 'create', 'vm', '--size', '64MiB');
});
afterEach(() => Promise.all([source?.kill(), target?.kill()]));
afterAll(() => service?.dispose());

/** One place to run: the folder and monitor of a QEMU. @param listen of the export's addresses, the one that it uses */
async function place(name: string, listen: string) {
  const folder = mkdtempSync(join(service.folder, `${name}-`));
  const monitor = join(folder, 'qmp.sock');
  const attachment = await service.varve('export', 'qemu', 'vm', '--listen', listen);
  const qemuArguments = ['-name', name, '-qmp', `unix:${monitor},server=on,wait=off`];
  const equipment = [fio, { qemuArguments, drivers: [], programs: [] }];
  return { folder, monitor, diskArguments: attachment.qemu_arguments as string[], equipment };
}

interface Client {
  readonly address: string;
  readonly guest: string | null;
  readonly writes: number;
}

/** The first QEMU's connection, and the second's. */
async function clients(): Promise<[Client, Client]> {
  const items = (await service.varve('client', 'list', '--export', 'vm')).items;
  const all = (items ?? []) as unknown as Client[];
  expect(all).toHaveLength(2);
  return [
    all.find(({ guest }) => guest === 'here') as Client,
    all.find(({ guest }) => guest === null) as Client,
  ];
}

/** Resolves when the guest runs there. */
async function migrate(monitor: string, uri: string): Promise<void> {
  const qmp = await QmpChannel.open(monitor, AbortSignal.timeout(moveMs));
  try {
    // A busy machine is to need more patience, not to fail.
    await qmp.command('migrate-set-parameters', { 'downtime-limit': 20_000 });
    await qmp.command('migrate-set-capabilities', {
      capabilities: [{ capability: 'events', state: true }],
    });
    await qmp.command('migrate', { uri });
    const status = (data?: object) => (data as { status?: string } | undefined)?.status ?? '';
    const end = await qmp.event(
      ({ event, data }) => event === 'MIGRATION' && /completed|failed/.test(status(data)),
    );
    expect(status(end.data)).toBe('completed');
  } finally {
    qmp.close();
  }
}

const checksum = async (guest: Guest) =>
  (await guest.run('dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | sha256sum')).split(' ')[0];

test('a guest is migrated while it writes', { timeout: 300_000 }, async () => {
  const added = await service.varve('export', 'add', 'vm', '--listen', 'tcp:127.0.0.1:0');
  const [local, remote] = added.listen as [string, string];
  const here = await place('here', local);
  source = await Guest.boot(here);
  await keepVerifying(source, ['/dev/vda']);
  await expect.poll(() => roundsVerified(source as Guest), { timeout: 60_000 }).toBeGreaterThan(0);

  const meeting = `unix:${join(service.folder, 'migration.sock')}`;
  const there = await place('there', remote);
  target = await Guest.incoming(there, meeting);
  const bothConnected = async () => (await service.varve('export', 'show', 'vm')).clients;
  await expect.poll(bothConnected, { timeout: 30_000 }).toBe(2);
  expect((await clients())[1]).toMatchObject({ writes: 0, address: expect.stringMatching(/^127/) });

  await migrate(here.monitor, meeting);
  const [before] = await clients();
  const rounds = await roundsVerified(target);
  await expect
    .poll(() => roundsVerified(target as Guest), { timeout: 60_000 })
    .toBeGreaterThan(rounds);
  const [first, second] = await clients();
  expect(first.writes, 'of the QEMU that the guest has left').toBe(before.writes);
  expect(second.writes).toBeGreaterThan(0);
  await source.kill();

  await stopVerifying(target);
  const { status, text } = await verdict(target);
  expect(status, text).toBe(0);
  expect(await target.ioErrors()).toBe('');
  const seen = await checksum(target);
  await target.powerOff();
  const copy = join(service.folder, 'copy.img');
  await run('nbdcopy', [service.uri('vm'), copy]);
  expect((await run('sha256sum', [copy])).split(' ')[0]).toBe(seen);
});
