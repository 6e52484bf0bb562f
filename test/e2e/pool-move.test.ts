// Goal: a guest that writes all the time keeps its disk while the volume moves to another pool, and back: the same connection, no error, nothing
//   lost; the command says how long requests waited.
// Method: a libnbd client writes and reads stamped blocks (clients/stamps.py) over one connection through both moves; its connection is counted,
//   every block is compared at the end, and both pools are checked from their disks.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { chooseSeed } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

let service: Service;
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
  disks = await service.createPool('1GiB', 1);
});
afterAll(() => service?.dispose());

async function poolOf(volume: string): Promise<unknown> {
  return (await service.varve('volume', 'show', volume)).pool;
}

/** Who is connected, and since when. */
async function connections(): Promise<unknown[]> {
  const items = (await service.varve('client', 'list')).items as Record<string, unknown>[];
  return items.map(({ id, connected_at }) => ({ id, connected_at }));
}

/** The newest operation's last words: how long requests waited. */
async function heldMs(): Promise<number> {
  const { items } = await service.varve('op', 'list');
  const [newest] = items as { phase: string }[];
  return Number(/requests waited for (\d+) ms/.exec(newest?.phase ?? '')?.[1]);
}

test('a volume goes to another pool and back under a writing client', {
  timeout: 180_000,
}, async () => {
  const seed = chooseSeed();
  const other = `file:${service.folder}/other-pool?size=1GiB`;
  // While there is one pool only, a volume needs not name it.
  const uri = await service.createExportedVolume('guest', '64MiB');
  await service.varve('pool', 'create', 'other', other);
  const client = new StampedClient(service.folder, {
    uri,
    volume: 1,
    firstBlock: 0,
    blockCount: 8192,
  });
  client.start(seed);
  await expect.poll(() => client.acknowledged, { timeout: 30_000 }).toBeGreaterThan(2000);
  await service.varve('snapshot', 'create', 'guest@before');
  const connected = await connections();

  await service.varve('volume', 'move', 'guest', '--to', 'other');
  expect(await poolOf('guest')).toBe('other');
  console.info(`requests waited for ${await heldMs()} ms`);
  expect(await heldMs()).toBeGreaterThan(0);
  const moved = client.acknowledged;
  await expect.poll(() => client.acknowledged, { timeout: 30_000 }).toBeGreaterThan(moved + 1000);

  await service.varve('volume', 'move', 'guest', '--undo');
  expect(await poolOf('guest')).toBe('main');
  const back = client.acknowledged;
  await expect.poll(() => client.acknowledged, { timeout: 30_000 }).toBeGreaterThan(back + 1000);
  expect(await connections()).toEqual(connected);

  await service.kill9();
  await client.ended();
  await service.restart();
  expect((await client.verify()).wrong, `SEED=${seed}`).toEqual([]);
});

test('both pools are whole', async () => {
  await service.stop();
  for (const uri of [`file:${service.folder}/other-pool`, ...disks.map((disk) => `file:${disk}`)]) {
    const checked = await service.outcome(['pool', 'check', '--offline', uri]);
    expect(checked.status, checked.stdout + checked.stderr).toBe(0);
  }
});
