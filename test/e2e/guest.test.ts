// Goal: a guest keeps its disk through crashes and upgrades of the service and never knows: no error, no lost byte.
// Method: a real guest, attached as `varve export qemu` says, makes ext4 on a thin volume, writes checksummed
//   files, goes on writing while the service is killed with -9 and restarted, and taken over by the next one, and is switched off;
//   fsck and the checksums are judged by a second boot.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { Guest } from './guest/guest.ts';
import { Writer } from './guest/writer.ts';

let service: Service;
let guest: Guest | undefined;

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('4GiB', 2);
  await service.createExportedVolume('guest', '512MiB');
});
afterEach(() => guest?.kill());
afterAll(() => service?.dispose());

/** A guest with the volume attached by the very arguments that `varve export qemu` prints. */
async function boot(): Promise<Guest> {
  const attachment = await service.varve('export', 'qemu', 'guest');
  const diskArguments = attachment.qemu_arguments as string[];
  return Guest.boot({ folder: mkdtempSync(join(service.folder, 'guest-')), diskArguments });
}

async function connectedSince(): Promise<unknown> {
  const { items = [] } = await service.varve('client', 'list');
  return items.map(({ connected_at }) => connected_at);
}

const writeFiles =
  'cd /mnt; for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=file$i bs=64k count=32 2>/dev/null || exit 1; done';

test('a guest writes through kill -9 and take-over of the service and finds everything after power-off', async () => {
  guest = await boot();
  await guest.run('/sbin/mke2fs -t ext4 -q /dev/vda && mount -t ext4 -o discard /dev/vda /mnt');
  await guest.run(`${writeFiles}; sync; sha256sum file* > sums; sync`);
  const writer = await Writer.start(guest);
  for (const outageMs of [0, 1500]) {
    await writer.progress();
    await service.kill9();
    await delay(outageMs);
    await service.restart();
    await writer.progress();
  }
  const since = await connectedSince();
  for (let upgrade = 0; upgrade < 2; upgrade++) {
    await service.takeOver();
    await writer.progress();
  }
  expect(await connectedSince()).toEqual(since);
  await service.beginTakeOver();
  await service.kill9();
  await service.restart();
  await writer.progress();
  expect(await writer.stop()).toBe('');
  await guest.run(
    'cd /mnt; rm file1; sha256sum more* > more.sums; sync; fstrim /mnt; cd /; umount /mnt',
  );
  expect(await guest.ioErrors()).toBe('');
  await guest.powerOff();

  await service.stop();
  await service.restart();
  guest = await boot();
  expect(await guest.run('/sbin/e2fsck -f -n /dev/vda')).not.toMatch(/fix|error/i);
  await guest.run('mount -t ext4 -o ro /dev/vda /mnt');
  const check = await guest.run(
    'cd /mnt; grep -v file1 sums | sha256sum -c; sha256sum -c more.sums',
  );
  expect(check).not.toMatch(/FAILED/);
  expect(await guest.ioErrors()).toBe('');
});
