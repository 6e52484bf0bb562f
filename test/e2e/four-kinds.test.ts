// Goal: a pool of all kinds of disk serves a guest that never notices while each of its disks in turn is emptied, taken out and put back;
//   snapshots keep what they show, and what layers share stays shared.
// Method: fio in a real guest verifies what it writes, all the time, on a pool of a file, a loop device, a file of a real NFS server and a
//   LUN of a real iSCSI target. Beside it lie a snapshot and a clone that nobody writes to; their content is compared byte by byte,
//   their space and the guest's to the byte. Before that all the space of the guest's volume is its own, so that its writes take none.
import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../tools/lib/command.ts';
import { type Document, Service } from '../../tools/lib/service.ts';
import { Ganesha } from '../servers/ganesha.ts';
import { Tgt } from '../servers/tgt.ts';
import { fio, keepVerifying, roundsVerified, stopVerifying, verdict } from './guest/fio.ts';
import { Guest } from './guest/guest.ts';
import { loopDevice, Undo } from './raw-disks.ts';
import { contentOf } from './snapshot-content.ts';

const MiB = 1024 * 1024;
const diskBytes = 256 * MiB;
const volumeMiB = 32;

const undo = new Undo();
let service: Service;
let disks: readonly string[];
let guest: Guest;

beforeAll(async () => {
  service = await Service.start();
  undo.add(() => service.dispose());
  disks = await makeDisks();
  await service.varve('pool', 'create', 'main', ...disks);
  await makeVolumes();
  const { qemu_arguments: diskArguments } = await service.varve('export', 'qemu', 'vm');
  guest = await Guest.boot({
    folder: mkdtempSync(join(service.folder, 'guest-')),
    diskArguments: diskArguments as string[],
    equipment: [fio],
  });
  undo.add(() => guest.kill());
});
afterAll(() => undo.all());

/** One of each kind, as URIs. */
async function makeDisks(): Promise<readonly string[]> {
  const folder = mkdtempSync(join(service.folder, 'disks-'));
  const sparse = (name: string) => {
    const path = join(folder, name);
    writeFileSync(path, '');
    truncateSync(path, diskBytes);
    return path;
  };
  const ganesha = await Ganesha.open();
  undo.add(() => ganesha.close());
  const tgt = await Tgt.start();
  undo.add(() => tgt.close());
  writeFileSync(join(ganesha.exportPath, 'nfs.img'), '');
  truncateSync(join(ganesha.exportPath, 'nfs.img'), diskBytes);
  return [
    `file:${sparse('file.img')}`,
    `block:${await loopDevice(sparse('loop.img'), undo)}`,
    ganesha.uri('nfs.img'),
    tgt.uri(await tgt.addLun({ sizeBytes: diskBytes, thin: true })),
  ];
}

/** The guest's volume, a snapshot of it, and a clone of that, in part its own. */
async function makeVolumes(): Promise<void> {
  await service.createExportedVolume('vm', `${volumeMiB}MiB`);
  await fill('vm', volumeMiB, 0x11);
  await service.varve('snapshot', 'create', 'vm@before');
  await fill('vm', volumeMiB, 0x22);
  await service.varve('volume', 'clone', 'vm@before', 'twin');
  await service.varve('export', 'add', 'twin');
  await fill('twin', volumeMiB / 4, 0x33);
}

/** The first MiB of a volume, durably. */
async function fill(volume: string, sizeMiB: number, byte: number): Promise<void> {
  const write = ['-c', `write -P ${byte} 0 ${sizeMiB}M`, '-c', 'flush'];
  await run('qemu-io', ['-f', 'raw', ...write, service.uri(volume)]);
}

/** What belongs to whom, to the byte. */
async function space(): Promise<unknown> {
  const documents = await Promise.all([
    service.varve('volume', 'show', 'vm'),
    service.varve('volume', 'show', 'twin'),
    service.varve('snapshot', 'show', 'vm@before'),
  ]);
  return documents.map(({ exclusive_bytes, shared_bytes }) => [exclusive_bytes, shared_bytes]);
}

const contents = () =>
  Promise.all([contentOf(service, 'vm', 'before'), contentOf(service, 'twin')]);

const diskOf = (uri: string): Promise<Document> => service.varve('disk', 'show', uri);

/** fio has verified a whole round that began after this call. */
async function verifiedAgain(): Promise<void> {
  const before = await roundsVerified(guest);
  const another = async () => {
    const { status, text } = await verdict(guest).catch(() => ({ status: 0, text: '' }));
    expect(status, text).toBe(0);
    return roundsVerified(guest);
  };
  await expect.poll(another, { timeout: 60_000, interval: 500 }).toBeGreaterThan(before + 1);
}

test('each disk of four kinds is drained, removed and added again under a verifying guest', {
  timeout: 400_000,
}, async () => {
  const before = { space: await space(), contents: await contents() };
  await keepVerifying(guest, ['/dev/vda']);
  for (const uri of disks) {
    expect((await diskOf(uri)).used_bytes, uri).toBeGreaterThan(0);
    await service.varve('disk', 'drain', uri);
    await service.varve('disk', 'remove', uri);
    expect(await contents(), `without ${uri}`).toEqual(before.contents);
    await service.varve('disk', 'add', 'main', uri);
    await verifiedAgain();
    expect(await space(), `with ${uri} again`).toEqual(before.space);
  }
  await stopVerifying(guest);
  const { status, text } = await verdict(guest);
  expect(status, text).toBe(0);
  expect(await guest.ioErrors()).toBe('');
  await guest.powerOff();
  expect({ space: await space(), contents: await contents() }).toEqual(before);
  const { items: events } = await service.varve('events');
  expect((events ?? []).filter(({ level }) => level !== 'info')).toEqual([]);
  expect((await service.varve('pool', 'check', 'main')).findings).toEqual([]);
});
