// Goal: kill -9 in the middle of drains, rebalancing and moves loses no acknowledged write, and each goes on by itself after the restart.
// Method: two libnbd clients write stamped blocks (clients/stamps.py) on a volume with a snapshot and on a clone while one disk after the
//   other is drained, slowly, the pool is rebalanced and the volume is moved; after each
//   restart every block is compared, and the operation must come to its end. Replay with SEED=n. KILLS=n kills more often.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const kills = Number(process.env.KILLS ?? 6);

let service: Service;
let clients: readonly StampedClient[];
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service?.dispose());

/** A volume that has been written to, with a snapshot, and a clone of that. */
async function writeVolumes(): Promise<void> {
  disks = await service.createPool('1GiB', 2);
  const uri = await service.createExportedVolume('guest', '64MiB');
  const first = new StampedClient(service.folder, {
    uri,
    volume: 1,
    firstBlock: 0,
    blockCount: 4096,
  });
  first.start(1);
  await expect.poll(() => first.acknowledged, { timeout: 30_000 }).toBeGreaterThan(4000);
  await service.varve('snapshot', 'create', 'guest@before');
  await service.varve('volume', 'clone', 'guest@before', 'clone');
  await service.kill9();
  await first.ended();
  await service.restart();
  await service.varve('export', 'add', 'clone');
  const second = new StampedClient(service.folder, {
    uri: service.uri('clone'),
    volume: 2,
    // What lies before was written through the other volume.
    firstBlock: 8192,
    blockCount: 4096,
  });
  clients = [first, second];
}

/** Begins a movement, one kind after the other; its operation's id. What was drained leaves something to be balanced. */
async function beginMovement(round: number): Promise<string> {
  const disk = disks[round % 2] as string;
  const kinds = [
    ['disk', 'drain', disk],
    ['pool', 'rebalance', 'main'],
    ['volume', 'move', 'guest', '--to', disk],
  ];
  const args = kinds[round % kinds.length] as string[];
  const operation = await service.varve('--no-wait', ...args, '--rate', '20MiB/s');
  return operation.id as string;
}

async function settled(id: string): Promise<void> {
  await service.varve('op', 'wait', id);
  for (const disk of disks) await service.varve('disk', 'uncordon', disk);
}

test(`${kills} kills in the middle of movements`, {
  timeout: 60_000 + kills * 40_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  await writeVolumes();
  for (let round = 0; round < kills; round++) {
    clients.forEach((client, index) => {
      client.start(seed + 100 * round + index);
    });
    const isUnderLoad = () => clients.every(({ acknowledged }) => acknowledged > 50);
    await expect.poll(isUnderLoad, { timeout: 30_000 }).toBe(true);
    const id = await beginMovement(round);
    await delay(random(20, 1500));
    await service.kill9();
    await Promise.all(clients.map((client) => client.ended()));
    await service.restart();
    const where = `SEED=${seed} round ${round}`;
    const verdicts = await Promise.all(clients.map((client) => client.verify()));
    expect(
      verdicts.map(({ wrong }) => wrong),
      where,
    ).toEqual([[], []]);
    await settled(id);
    const after = await Promise.all(clients.map((client) => client.verify()));
    expect(
      after.map(({ wrong }) => wrong),
      `${where}, moved`,
    ).toEqual([[], []]);
  }
});

test('the pool that lived through it is whole', async () => {
  await service.stop();
  const uris = disks.map((disk) => `file:${disk}`);
  const checked = await service.outcome(['pool', 'check', '--offline', ...uris]);
  expect(checked.status, checked.stdout + checked.stderr).toBe(0);
});
