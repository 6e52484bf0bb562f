// Goal: kill -9 at any instant, under load, during start and twice in a row loses no acknowledged write and
//   shows nobody another volume's bytes.
// Method: three libnbd clients write stamped blocks (clients/stamps.py) on two volumes until the server goes
//   away; after each restart every block must hold the last acknowledged stamp or one that was in flight.
//   The work before each kill is random: replay with SEED=n. KILLS=n kills more often; the long form is
//   `npm run torture`.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { Restarts } from '../../tools/torture/restarts.ts';
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

test(`${kills} kills under load lose nothing acknowledged`, {
  timeout: 60_000 + kills * 20_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  const restarts = new Restarts(service, random);
  for (let round = 0; round < kills; round++) {
    const work = random(50, 6000);
    clients.forEach((client, index) => {
      client.start(seed + 100 * round + index);
    });
    const acknowledged = () => clients.reduce((sum, client) => sum + client.acknowledged, 0);
    await expect.poll(acknowledged, { timeout: 30_000, interval: 5 }).toBeGreaterThan(work);
    await service.kill9();
    await Promise.all(clients.map((client) => client.ended()));
    await restarts.serveAgain();
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
