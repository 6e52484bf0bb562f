// Goal: a disk is replaced, or drained, taken out and added again, under a writing guest and through kill -9; a replacement that is too small is
//   refused with the numbers before anything moves; what is so already is said to be.
// Method: the real service and its command; a libnbd client writes stamped blocks (clients/stamps.py), all of which are compared. Replay with SEED=n.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Service } from '../../tools/lib/service.ts';
import { diskService, expectSoundDisks } from './disk-service.ts';
import { chooseSeed } from './seeded.ts';
import { StampedClient } from './stamped-client.ts';

const { start } = diskService();

async function writing(client: StampedClient, seed: number): Promise<void> {
  client.start(seed);
  await expect.poll(() => client.acknowledged, { timeout: 30_000 }).toBeGreaterThan(500);
}

async function poolDisks(here: Service): Promise<unknown[]> {
  return (await here.varve('disk', 'list')).items?.map(({ path }) => path) ?? [];
}

test('replaced, and taken out and added again, under a writing guest and kill -9', async () => {
  const seed = chooseSeed();
  const here = await start();
  const [first = '', second = ''] = await here.createPool('512MiB', 2);
  await here.varve('disk', 'cordon', second);
  const uri = await here.createExportedVolume('guest', '64MiB');
  const client = new StampedClient(here.folder, {
    uri,
    volume: 1,
    firstBlock: 0,
    blockCount: 8192,
  });
  await writing(client, seed);

  const small = join(here.folder, 'small.img');
  const refused = await here.outcome(['disk', 'replace', first, `file:${small}?size=1MiB`, '-y']);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toMatch(/[0-9.]+ ?[KM]iB[\s\S]*(disk\/too-small|pool\/full)/);
  expect(await poolDisks(here)).toEqual([first, second]);

  const third = join(here.folder, 'third.img');
  const asked = ['disk', 'replace', first, `file:${third}?size=512MiB`];
  const plan = await here.varve(...asked, '-n');
  expect(plan).toMatchObject({ kind: 'Plan', changed: true, affected: ['guest'] });
  expect(plan.copied_bytes).toBeGreaterThan(0);
  expect(await poolDisks(here)).toEqual([first, second]);
  const { id } = await here.varve('--no-wait', ...asked, '--rate', '4MiB/s');
  await here.kill9();
  await client.ended();
  await here.restart();
  expect((await client.verify()).wrong, `SEED=${seed}`).toEqual([]);
  await writing(client, seed + 1);
  await here.varve('op', 'wait', id as string);
  expect(await poolDisks(here)).toEqual([second, third]);

  await here.varve('disk', 'uncordon', second);
  expect(await here.varve('disk', 'drain', third, '-n')).toMatchObject({ changed: true });
  await here.varve('disk', 'drain', third);
  expect(await here.varve('disk', 'remove', third, '-n')).toMatchObject({ kind: 'Plan' });
  expect(await here.varve('disk', 'remove', third)).toMatchObject({ changed: true });
  expect(await here.varve('disk', 'remove', third)).toMatchObject({ changed: false });
  const unknown = await here.outcome(['disk', 'remove', join(here.folder, 'none'), '-y']);
  expect(unknown.status).toBe(3);
  await here.varve('disk', 'add', 'main', third);
  expect(await poolDisks(here)).toHaveLength(2);
  await here.kill9();
  await client.ended();
  await here.restart();
  expect((await client.verify()).wrong, `SEED=${seed}`).toEqual([]);
  await expectSoundDisks(here, [second, third]);
});
