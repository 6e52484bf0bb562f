// Goal: kill -9 while snapshots are taken, deleted, merged, cloned and flattened loses nothing acknowledged, brings no name
//   back and takes none away.
// Method: stamped clients write on a ROW and on a COW volume while an operator works on their snapshots; most kills come
//   moments after a deletion was answered, when layers merge. Every snapshot is hashed when first seen, and must show
//   the same after every restart. Replay with SEED=n. KILLS=n kills more often; the long form is
//   `npm run torture`.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { SnapshotOperator } from '../../tools/torture/snapshot-operator.ts';
import { expectWhole, modes, serveBothModes } from './both-modes.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const kills = Number(process.env.KILLS ?? 8);
const blocksPerClient = 8192;

let service: Service;
let clients: readonly StampedClient[];
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
  disks = await serveBothModes(service, '16MiB');
  clients = modes.map((volume, index) => {
    const range = { volume: index + 1, firstBlock: 0, blockCount: blocksPerClient };
    return new StampedClient(service.folder, { uri: service.uri(volume), ...range });
  });
});
afterAll(() => service?.dispose());

test(`${kills} kills among snapshots and merges lose nothing and bring nothing back`, {
  timeout: 60_000 + kills * 30_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  const operator = new SnapshotOperator(service, modes, random);
  for (let round = 0; round < kills; round++) {
    clients.forEach((client, index) => {
      client.start(seed + 100 * round + index);
    });
    const working = operator.work();
    await Promise.race([working, operator.hasDeleted(random(2, 6))]);
    await delay(random(0, 20));
    operator.expectKill();
    await service.kill9();
    await Promise.all([working, ...clients.map((client) => client.ended())]);
    await service.restart();
    const verdicts = await Promise.all(clients.map((client) => client.verify()));
    const where = `SEED=${seed} round ${round}`;
    expect(
      verdicts.map(({ wrong }) => wrong),
      where,
    ).toEqual([[], []]);
    expect(await operator.judge(), where).toEqual([]);
  }
  await expectWhole(service, disks);
});
