// Goal: kill -9 in any phase of a move to another pool, or back, loses no acknowledged write; the volumes are in one of the two pools, and the
//   operation goes on to its end by itself after the restart.
// Method: two libnbd clients write stamped blocks (clients/stamps.py), one on a volume with a snapshot, one on a clone of that, while the family
//   moves to and fro, every third time as an undo; the service is killed at a random moment, or as soon as the operation says that it
//   switches. After each restart every block is compared, and once more when the move has ended. Replay with SEED=n. KILLS=n kills more often.
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

/** A volume in pool `main` that has been written to, with a snapshot, and a clone of that; and an empty pool `other`. */
async function writeVolumes(): Promise<void> {
  const [main] = await service.createPool('1GiB');
  const uri = await service.createExportedVolume('guest', '64MiB');
  const other = `${service.folder}/other.img`;
  await service.varve('pool', 'create', 'other', `file:${other}?size=1GiB`);
  disks = [main as string, other];
  const range = { uri, volume: 1, firstBlock: 0, blockCount: 4096 };
  const first = new StampedClient(service.folder, range);
  first.start(1);
  await expect.poll(() => first.acknowledged, { timeout: 30_000 }).toBeGreaterThan(2000);
  await service.varve('snapshot', 'create', 'guest@before');
  await service.varve('volume', 'clone', 'guest@before', 'clone');
  await service.varve('export', 'add', 'clone');
  await service.kill9();
  await first.ended();
  await service.restart();
  const second = new StampedClient(service.folder, {
    uri: service.uri('clone'),
    volume: 2,
    // What lies before was written through the other volume.
    firstBlock: 8192,
    blockCount: 4096,
  });
  clients = [first, second];
}

async function pools(): Promise<unknown[]> {
  const { items } = await service.varve('volume', 'list');
  return (items as { pool: string }[]).map(({ pool }) => pool);
}

/** Begins a move to the pool where the family is not; its operation's id. */
async function beginMove(round: number): Promise<string> {
  const [here] = await pools();
  const to = here === 'main' ? 'other' : 'main';
  const back = round % 3 === 2 ? ['--undo'] : ['--to', to, '--rate', '40MiB/s'];
  if (round % 3 === 0) await service.varve('volume', 'move', 'guest', '--finish');
  if (round % 3 === 1) back.push('--keep', '1h');
  else if (back[0] === '--to') back.push('--keep', '0');
  const operation = await service.varve('--no-wait', 'volume', 'move', 'guest', ...back);
  return operation.id as string;
}

/** Resolves in the phase of the switch, or when it is over. */
async function switching(id: string): Promise<void> {
  for (;;) {
    const { phase, state } = await service.rest('GET', `/v1/operations/${id}`);
    if (String(phase).startsWith('switch') || state !== 'running') return;
  }
}

async function expectVerified(where: string): Promise<void> {
  const verdicts = await Promise.all(clients.map((client) => client.verify()));
  expect(
    verdicts.map(({ wrong }) => wrong),
    where,
  ).toEqual([[], []]);
}

test(`${kills} kills in the middle of moves between pools`, {
  timeout: 60_000 + kills * 60_000,
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
    const id = await beginMove(round);
    if (round % 2 === 0) await switching(id);
    await delay(random(0, round % 2 === 0 ? 300 : 2000));
    await service.kill9();
    await Promise.all(clients.map((client) => client.ended()));
    await service.restart();
    const where = `SEED=${seed} round ${round}`;
    expect(new Set(await pools()).size, where).toBe(1);
    await expectVerified(where);
    await service.varve('op', 'wait', id);
    await expectVerified(`${where}, moved`);
  }
});

test('the pools that lived through it are whole', async () => {
  await service.stop();
  for (const disk of disks) {
    const checked = await service.outcome(['pool', 'check', '--offline', `file:${disk}`]);
    expect(checked.status, checked.stdout + checked.stderr).toBe(0);
  }
});
