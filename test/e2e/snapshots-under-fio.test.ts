// Goal: snapshots come and go every second under a guest that never notices: what it reads is what it wrote, and every
//   snapshot shows the same from its first to its last moment, whatever is merged beside it.
// Method: fio in a real guest verifies what it writes on a ROW and on a COW volume, while groups of both are taken and
//   deleted in random order, some with a bookmark; each snapshot is read whole when it is taken and before it goes.
//   Replay the order with SEED=n.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { expectWhole, modes, serveBothModes } from './both-modes.ts';
import { fio, isVerifying, startVerifying, verdict } from './guest/fio.ts';
import { Guest } from './guest/guest.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { contentOf } from './snapshot-content.ts';

const seconds = Number(process.env.SECONDS ?? 30);
const snapshotsMax = 4;

let service: Service;
let guest: Guest;
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
  disks = await serveBothModes(service, '32MiB');
  const attachments = await Promise.all(
    modes.map((volume) => service.varve('export', 'qemu', volume)),
  );
  guest = await Guest.boot({
    folder: mkdtempSync(join(service.folder, 'guest-')),
    diskArguments: attachments.flatMap((each) => each.qemu_arguments as string[]),
    equipment: [fio],
  });
});
afterAll(async () => {
  await guest?.kill();
  await service?.dispose();
});

test('fio verifies in a guest while snapshots are taken, deleted and merged every second', {
  timeout: 240_000 + 4 * seconds * 1000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  const kept = new Map<string, string[]>();
  const pausesSeconds: number[] = [];
  const contents = (snapshot: string) =>
    Promise.all(modes.map((volume) => contentOf(service, volume, snapshot)));

  await startVerifying(guest, ['/dev/vda', '/dev/vdb'], seconds);
  for (let round = 0; await isVerifying(guest); round++) {
    const snapshot = `s${round}`;
    const names = modes.map((volume) => `${volume}@${snapshot}`);
    const taken = await service.rest('POST', '/v1/snapshots', { names });
    pausesSeconds.push(taken.pause_seconds as number);
    kept.set(snapshot, await contents(snapshot));
    if (kept.size > snapshotsMax) {
      const [gone, content] = [...kept][random(0, kept.size)] as [string, string[]];
      expect(await contents(gone), `SEED=${seed} ${gone} before it goes`).toEqual(content);
      const query = random(0, 3) === 0 ? '?bookmark=true' : '';
      for (const volume of modes) {
        await service.rest('DELETE', `/v1/snapshots/${volume}@${gone}${query}`);
      }
      kept.delete(gone);
    }
    await delay(500);
  }
  expect(pausesSeconds.length).toBeGreaterThan(seconds / 6);
  const { status, text } = await verdict(guest);
  expect(status, `SEED=${seed} ${text}`).toBe(0);
  expect(await guest.ioErrors()).toBe('');
  for (const [snapshot, content] of kept) {
    expect(await contents(snapshot), `SEED=${seed} ${snapshot} at the end`).toEqual(content);
  }
  await guest.powerOff();
  await expectWhole(service, disks);
});
