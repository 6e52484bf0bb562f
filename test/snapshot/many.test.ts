// Goal: a pool with ten thousand snapshots is as usable as one with ten: lists page, one more is taken, the pool opens again.
// Method: their records are committed as the service would have left them. The time limits are some fifty times what it takes (docs/operations.md):
//   what looks at all for each of them takes longer.
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildServer } from '../../src/api/server.ts';
import { GiB, MiB } from '../../src/base/units.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { snapshotOp } from '../../src/snapshot/records.ts';
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

/** What it took, in milliseconds. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
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
  const took = await timed(async () => {
    const pages = await pagesOf('limit=1000');
    expect(pages).toHaveLength(10);
    expect(namesIn(pages)).toEqual(expected);
  });
  expect(took).toBeLessThan(30_000);
});

test('those of one volume are listed alone', async () => {
  const took = await timed(async () => {
    const pages = await pagesOf('volume=c&limit=700');
    expect(pages.map(({ length }) => length)).toEqual([700, 700, 700, 400]);
    expect(namesIn(pages)).toEqual(expected.filter((name) => name.startsWith('c@')));
  });
  expect(took).toBeLessThan(10_000);
});

test('one more is taken, confirmed, compared, renamed and deleted in moments', async () => {
  const { snapshots } = fixture;
  const names = [{ volume: 'b', snapshot: 'more' }];
  const verbs = {
    create: () => snapshots.create({ names }),
    confirm: () => snapshots.create({ names }),
    show: () => snapshots.space('b', 'more'),
    diff: () => snapshots.diff('b', 's2499', 'more'),
    rename: () => snapshots.rename('b', 'more', 'less'),
    delete: () => snapshots.delete([{ volume: 'b', snapshot: 'less' }]),
    settle: () => snapshots.settled(pool()),
  };
  for (const [verb, work] of Object.entries(verbs)) {
    expect(await timed(work), verb).toBeLessThan(2000);
  }
  expect(snapshots.get('b', 's2499').parent).toBe('s2498');
});

test('hundreds are deleted together', async () => {
  const names = Array.from({ length: 300 }, (_, n) => ({ volume: 'd', snapshot: `s${n}` }));
  const path = names.map(({ volume, snapshot }) => `${volume}@${snapshot}`).join(',');
  const took = await timed(async () => {
    const response = await app.inject({ method: 'DELETE', url: `/v1/snapshots/${path}` });
    expect(response.statusCode).toBe(200);
  });
  expect(took).toBeLessThan(10_000);
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
  expect(await timed(() => fixture.restart())).toBeLessThan(20_000);
  expect(fixture.snapshots.list()).toEqual(before);
});
