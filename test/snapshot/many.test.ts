// Goal: a pool with ten thousand snapshots is as usable as one with ten: lists page, one more is taken, the pool opens again.
// Method: their records are committed as the service would have left them. How long things take is in docs/operations.md; here, that what
//   is made of all records is made once as long as they are the same.
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildServer } from '../../src/api/server.ts';
import { GiB, MiB } from '../../src/base/units.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { snapshotOp } from '../../src/snapshot/records.ts';
import { LayerTree } from '../../src/volume/layer-tree.ts';
import { layerOp, NewIds, volumeOp, volumeRecords } from '../../src/volume/records.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';
import { openApi, type TestApi } from '../api/fakes.ts';
import { Fixture } from '../pool/fixture.ts';

const volumes = ['a', 'b', 'c', 'd'];
const perVolume = 2500;
const snapshotsPerVolumeMax = 4096;
const startMs = Date.parse('2026-01-01T00:00:00Z');

let fixture: Fixture;
let api: TestApi;
let app: TestApi['app'];

beforeAll(async () => {
  fixture = await Fixture.open();
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${GiB}`], {});
  for (const name of volumes) await fixture.volumes.create({ name, sizeBytes: MiB });
  for (const name of volumes) await addSnapshots(name, 0, perVolume);
  api = await openApi();
  const services = { ...api.services, snapshots: fixture.snapshots };
  app = await buildServer(services, pino({ level: 'silent' }));
});

afterAll(async () => {
  await app.close();
  await api.close();
  await fixture.close();
});

const pool = (): Pool => fixture.pools.get('p');

/** As if they had been taken one after the other, a second between them. */
async function addSnapshots(name: string, first: number, count: number): Promise<void> {
  for (let at = first; at < first + count; at += 500) {
    const ids = new NewIds(pool());
    const ops: BatchOp[] = [];
    let volume = volumeRecords(pool()).find((each) => each.name === name) as VolumeRecord;
    for (let n = at; n < Math.min(at + 500, first + count); n++) {
      const { id, headLayer: layer, sizeBytes } = volume;
      const createdAt = new Date(startMs + 1000 * n).toISOString();
      const taken = { id: ids.snapshot(), volume: id, name: `s${n}`, layer, sizeBytes, createdAt };
      ops.push(snapshotOp({ ...taken, consistency: 'crash' }));
      volume = { ...volume, headLayer: ids.layer() };
      ops.push(layerOp({ id: volume.headLayer, parent: layer }));
    }
    await pool().commit([ids.op(), volumeOp(volume), ...ops]);
  }
}

/** Every page of a list, by REST. */
async function pagesOf(query: string): Promise<{ volume: string; name: string }[][]> {
  const pages = [];
  for (let token = ''; ; ) {
    const url = `/v1/snapshots?${query}${token && `&page_token=${encodeURIComponent(token)}`}`;
    const body = (await app.inject(url)).json();
    pages.push(body.items);
    token = body.next_page_token ?? '';
    if (token === '') return pages;
  }
}

const expected = volumes.flatMap((volume) =>
  Array.from({ length: perVolume }, (_, n) => `${volume}@s${n}`),
);
const namesIn = (pages: { volume: string; name: string }[][]) =>
  pages.flat().map(({ volume, name }) => `${volume}@${name}`);

test('all are listed in pages, each once, by volume and age', async () => {
  const pages = await pagesOf('limit=1000');
  expect(pages).toHaveLength(10);
  expect(namesIn(pages)).toEqual(expected);
});

test('those of one volume are listed alone', async () => {
  const pages = await pagesOf('volume=c&limit=700');
  expect(pages.map(({ length }) => length)).toEqual([700, 700, 700, 400]);
  expect(namesIn(pages)).toEqual(expected.filter((name) => name.startsWith('c@')));
});

test('the tree of layers is made once as long as the records are the same', async () => {
  const [tree, records] = [LayerTree.of(pool()), pool().records('snapshot/')];
  fixture.snapshots.list();
  await fixture.snapshots.space('a', 's7');
  expect(LayerTree.of(pool())).toBe(tree);
  expect(pool().records('snapshot/')).toBe(records);
  await fixture.snapshots.rename('a', 's7', 'seven');
  expect(LayerTree.of(pool())).not.toBe(tree);
  await fixture.snapshots.rename('a', 'seven', 's7');
});

test('one more is taken, confirmed, compared, renamed and deleted', async () => {
  const { snapshots } = fixture;
  const names = [{ volume: 'b', snapshot: 'more' }];
  expect(await snapshots.create({ names })).toMatchObject({ changed: true });
  expect(await snapshots.create({ names })).toMatchObject({ changed: false });
  expect(await snapshots.space('b', 'more')).toMatchObject({ exclusiveBytes: 0 });
  expect((await snapshots.diff('b', 's2499', 'more')).changedBytes).toBe(0);
  await snapshots.rename('b', 'more', 'less');
  await snapshots.delete([{ volume: 'b', snapshot: 'less' }]);
  await snapshots.settled(pool());
  expect(snapshots.list('b')).toHaveLength(perVolume);
  expect(snapshots.get('b', 's2499').parent).toBe('s2498');
});

test('hundreds are deleted together', async () => {
  const names = Array.from({ length: 300 }, (_, n) => ({ volume: 'd', snapshot: `s${n}` }));
  const path = names.map(({ volume, snapshot }) => `${volume}@${snapshot}`).join(',');
  const response = await app.inject({ method: 'DELETE', url: `/v1/snapshots/${path}` });
  expect(response.statusCode).toBe(200);
  expect(fixture.snapshots.list('d')).toHaveLength(perVolume - 300);
});

test('a volume has 4,096 at the most; a revert needs room for one, too', async () => {
  await addSnapshots('a', perVolume, snapshotsPerVolumeMax - perVolume);
  const full = { code: 'snapshot/limit' };
  const names = [{ volume: 'a', snapshot: 'more' }];
  await expect(fixture.snapshots.create({ names })).rejects.toMatchObject(full);
  const { plane, close } = await fixture.volumes.open('a');
  await plane.write(0, Uint8Array.of(1));
  await close();
  await expect(fixture.snapshots.revert('a', 's7')).rejects.toMatchObject(full);
  await fixture.snapshots.delete([{ volume: 'a', snapshot: 's0' }]);
  expect(await fixture.snapshots.create({ names })).toMatchObject({ changed: true });
});

test('the pool opens again, and has them', async () => {
  const before = fixture.snapshots.list();
  expect(before.length).toBeGreaterThan(10_000);
  await fixture.restart();
  expect(fixture.snapshots.list()).toEqual(before);
});
