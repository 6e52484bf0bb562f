// Goal: kill -9 at any instant, under load, during start and twice in a row loses no acknowledged write and
//   shows nobody another volume's bytes.
// Method: three libnbd clients write stamped blocks (clients/stamps.py) on two volumes until the server goes
//   away; after each restart every block must hold the last acknowledged stamp or one that was in flight.
//   The work before each kill is random: replay with SEED=n. KILLS=n kills more often.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const kills = Number(process.env.KILLS ?? 10);
const blocksPerClient = 4096;

let service: Service;
let clients: readonly StampedClient[];

beforeAll(async () => {
  service = await Service.start();
  await service.createPool('2GiB', 2);
  const shared = await service.createExportedVolume('shared', '64MiB');
  const other = await service.createExportedVolume('other', '64MiB');
  const ranges = [
    { uri: shared, volume: 1, firstBlock: 0, blockCount: blocksPerClient },
    { uri: shared, volume: 1, firstBlock: blocksPerClient, blockCount: blocksPerClient },
    { uri: other, volume: 2, firstBlock: 0, blockCount: blocksPerClient },
  ];
  clients = ranges.map((range) => new StampedClient(service.folder, range));
});
afterAll(() => service?.dispose());

/** Every second start is killed at a random instant, every fourth one twice in a row. */
async function restartThroughKills(round: number, random: (low: number, high: number) => number) {
  const killedStarts = round % 4 === 3 ? 2 : round % 2;
  for (let start = 0; start < killedStarts; start++) {
    service.launch();
    await delay(random(20, 600));
    await service.kill9();
  }
  await service.restart();
}

test(`${kills} kills under load lose nothing acknowledged`, {
  timeout: 60_000 + kills * 20_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < kills; round++) {
    const work = random(50, 6000);
    clients.forEach((client, index) => {
      client.start(seed + 100 * round + index);
    });
    const acknowledged = () => clients.reduce((sum, client) => sum + client.acknowledged, 0);
    await expect.poll(acknowledged, { timeout: 30_000, interval: 5 }).toBeGreaterThan(work);
    await service.kill9();
    await Promise.all(clients.map((client) => client.ended()));
    await restartThroughKills(round, random);
    const verdicts = await Promise.all(clients.map((client) => client.verify()));
    const where = `SEED=${seed} round ${round} after ${work} operations`;
    expect(
      verdicts.map(({ wrong }) => wrong),
      where,
    ).toEqual([[], [], []]);
  }
});

test('the pool that lived through it is whole', async () => {
  await service.stop();
  const disks = [0, 1].map((index) => `file:${service.folder}/disk${index}.img`);
  const { status, stdout, stderr } = await service.outcome([
    'pool',
    'check',
    '--offline',
    ...disks,
  ]);
  expect(status, stdout + stderr).toBe(0);
});
