// Goal: snapshots, clones, reverts and schedules over REST: names, pages, plans, tags, keys, repetition, operations.
// Method: requests injected into the real server over in-memory services; what reached them is looked at too.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { callerOf, type Method, openApi, type TestApi } from './fakes.ts';

let api: TestApi;
let call: ReturnType<typeof callerOf>;

beforeEach(async () => {
  api = await openApi();
  call = callerOf(api);
  await call('PUT', '/v1/pools/main', { disks: ['/d'] });
  for (const name of ['gold', 'gold-2', 'tin']) {
    await call('PUT', `/v1/volumes/${name}`, { size_bytes: 1024 * 1024 });
  }
});

afterEach(() => api.close());

const get = (url: string) => call('GET', url);
const take = (...names: string[]) => call('POST', '/v1/snapshots', { names });

describe('taking', () => {
  test('several are one request to the service, and answer with the pause', async () => {
    const { status, body } = await call('POST', '/v1/snapshots', {
      names: ['gold@a', 'tin@a'],
      note: 'before',
      labels: { app: 'db' },
      attachment: '<domain/>',
      quiesce_socket: '/run/agent.sock',
      quiesce_timeout_seconds: 2.5,
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      kind: 'SnapshotCreation',
      changed: true,
      pause_seconds: 0.002,
      items: [
        { volume: 'gold', name: 'a', type: 'snapshot' },
        { volume: 'tin', name: 'a', type: 'snapshot' },
      ],
    });
    expect(api.snapshots.asked).toEqual({
      names: [
        { volume: 'gold', snapshot: 'a' },
        { volume: 'tin', snapshot: 'a' },
      ],
      note: 'before',
      labels: { app: 'db' },
      attachment: '<domain/>',
      quiesceSocket: '/run/agent.sock',
      quiesceTimeoutSeconds: 2.5,
    });
  });

  test('what is there already answers 200', async () => {
    await take('gold@a');
    const snapshots = [api.snapshots.get('gold', 'a')];
    api.snapshots.create = async () => ({ snapshots, changed: false, pauseSeconds: 0 });
    const again = await take('gold@a');
    expect([again.status, again.body.changed]).toEqual([200, false]);
  });

  test('under one Idempotency-Key it is done once', async () => {
    const headers = { 'idempotency-key': 'k1' };
    const body = { names: ['gold@a'] };
    const first = await call('POST', '/v1/snapshots', body, headers);
    const again = await call('POST', '/v1/snapshots', body, headers);
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.body).toEqual(first.body);
    expect(api.snapshots.list()).toHaveLength(1);
  });
});

describe('lists', () => {
  const names = (body: { items: { volume: string; name: string }[] }) =>
    body.items.map((item) => `${item.volume}@${item.name}`);

  test('are by volume, then by age, in pages, a bookmark at the age of its snapshot', async () => {
    const gold = api.volumes.get('gold');
    // Neither in order of names nor of ids: the bookmark was given its number when the snapshot went.
    for (const [id, name, minute] of [
      [1, 'z', 0],
      [9, 'y', 1],
      [2, 'b', 2],
    ] as const) {
      const info = api.snapshots.add(gold, name, id === 9 ? 'bookmark' : 'snapshot');
      const at = api.snapshots.snapshots.indexOf(info);
      const createdAt = `2026-01-01T00:0${minute}:00.000Z`;
      api.snapshots.snapshots[at] = { ...info, id, createdAt };
    }
    await take('tin@a');
    await take('gold-2@a');
    const first = (await get('/v1/snapshots?limit=2')).body;
    const token = encodeURIComponent(first.next_page_token);
    const second = (await get(`/v1/snapshots?limit=9&page_token=${token}`)).body;
    expect([names(first), names(second)]).toEqual([
      ['gold@z', 'gold@y'],
      ['gold@b', 'gold-2@a', 'tin@a'],
    ]);
    expect(names((await get('/v1/snapshots?volume=gold')).body)).toHaveLength(3);
  });

  test('one is shown with its exact space; the list does not read maps for it', async () => {
    await take('gold@a');
    const one = await get('/v1/snapshots/gold@a');
    expect(one.body).toMatchObject({ kind: 'Snapshot', exclusive_bytes: 4096, shared_bytes: 8192 });
    expect((await get('/v1/snapshots')).body.items[0]).not.toHaveProperty('exclusive_bytes');
    expect((await get('/v1/snapshots/gold%40a')).body).toEqual(one.body);
  });

  test('a diff comes in pages, each with the sum of all', async () => {
    await take('gold@a');
    const first = (await get('/v1/snapshots/gold@a/diff?limit=2')).body;
    const token = first.next_page_token;
    const second = (await get(`/v1/snapshots/gold@a/diff?limit=2&page_token=${token}`)).body;
    expect(first).toMatchObject({ kind: 'SnapshotDiff', from: 'gold@a', to: 'gold' });
    expect([first.changed_bytes, second.changed_bytes]).toEqual([12_288, 12_288]);
    expect([...first.items, ...second.items]).toEqual(
      [0, 65_536, 131_072].map((offset_bytes) => ({ offset_bytes, length_bytes: 4096 })),
    );
    expect(second.next_page_token).toBeUndefined();
    expect((await get('/v1/snapshots/gold@a/diff?to=b')).body.to).toBe('gold@b');
  });

  test('an attachment comes back as it was', async () => {
    await take('gold@a');
    const { body } = await get('/v1/snapshots/gold@a/attachment');
    expect(body).toMatchObject({ snapshot: 'gold@a', attachment: 'attachment of a' });
  });
});

describe('deleting', () => {
  test('several go together', async () => {
    await take('gold@a');
    await take('gold@b');
    const url = '/v1/snapshots/gold@a,gold@b?bookmark=true&keep_clones=true';
    const { status, body } = await call('DELETE', url);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      kind: 'Result',
      action: 'snapshot delete',
      target: 'gold@a gold@b',
      freed_bytes: 131_072,
    });
    expect(api.snapshots.asked).toEqual({ bookmark: true, keepClones: true });
    expect(api.snapshots.list()).toEqual([]);
  });

  test('one that is missing keeps all', async () => {
    await take('gold@a');
    expect((await call('DELETE', '/v1/snapshots/gold@a,gold@none')).status).toBe(404);
    expect(api.snapshots.list()).toHaveLength(1);
  });

  test('only on the version that was read', async () => {
    await take('gold@a');
    const { headers } = await get('/v1/snapshots/gold@a');
    const known = { 'if-match': String(headers.etag) };
    await take('gold@b');
    const other = await call('DELETE', '/v1/snapshots/gold@b', undefined, known);
    const both = await call('DELETE', '/v1/snapshots/gold@a,gold@b', undefined, known);
    const right = await call('DELETE', '/v1/snapshots/gold@a', undefined, known);
    expect([other.status, both.status, right.status]).toEqual([412, 412, 200]);
  });

  test('a volume passes on what goes and what stays', async () => {
    let asked: unknown;
    api.volumes.delete = async (_, options) => {
      asked = options;
      return { freedBytes: 4096 };
    };
    const url = '/v1/volumes/tin?with_snapshots=true&keep_clones=true&dry_run=true';
    expect((await call('DELETE', url)).body).toMatchObject({ kind: 'Plan', freed_bytes: 4096 });
    expect(asked).toEqual({ withSnapshots: true, keepClones: true, dryRun: true });
  });
});

test('a rename changes the tag, or nothing', async () => {
  await take('gold@a');
  const same = await call('PATCH', '/v1/snapshots/gold@a', { name: 'a' });
  const other = await call('PATCH', '/v1/snapshots/gold@a', { name: 'b' });
  expect([same.body.changed, other.body.changed, other.body.name]).toEqual([false, true, 'b']);
  expect(same.headers.etag).not.toBe(other.headers.etag);
});

describe('clones', () => {
  const clone = (name: string, source = 'gold@a') =>
    call('POST', `/v1/volumes/${name}/actions/clone`, { source });

  beforeEach(() => take('gold@a'));

  test('are made, then confirmed, and say where they come from', async () => {
    const first = await clone('web');
    const again = await clone('web');
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.body).toMatchObject({ kind: 'Volume', name: 'web', origin: 'gold@a' });
    expect([first.body.changed, again.body.changed]).toEqual([true, false]);
    expect((await get('/v1/volumes/gold')).body.origin).toBeNull();
  });

  test('are flattened by an operation; what inherits nothing answers at once', async () => {
    await clone('web');
    const plan = await call('POST', '/v1/volumes/web/actions/flatten?dry_run=true');
    expect(plan.body).toMatchObject({ kind: 'Plan', changed: true, copied_bytes: 12_288 });
    const started = await call('POST', '/v1/volumes/web/actions/flatten');
    expect(started.status).toBe(202);
    const url = String(started.headers.location);
    await expect.poll(async () => (await get(url)).body.state).toBe('succeeded');
    expect((await get(url)).body).toMatchObject({ operation: 'volume-flatten', target: 'web' });
    const again = await call('POST', '/v1/volumes/web/actions/flatten');
    expect([again.status, again.body.changed]).toEqual([200, false]);
    const nothing = await call('POST', '/v1/volumes/web/actions/flatten?dry_run=true');
    expect(nothing.body).toMatchObject({ changed: false, copied_bytes: 0 });
  });

  test('that run out of space say so in their operation', async () => {
    await clone('web');
    api.snapshots.flatten = async () => {
      throw new StorageError('pool/full', 'no cluster is free');
    };
    const started = await call('POST', '/v1/volumes/web/actions/flatten');
    const url = String(started.headers.location);
    await expect.poll(async () => (await get(url)).body.state).toBe('failed');
    expect((await get(url)).body.error).toMatchObject({ code: 'pool/full' });
  });
});

describe('reverts', () => {
  const url = '/v1/volumes/gold/actions/revert';

  beforeEach(async () => {
    await take('gold@a');
    const gold = api.volumes.get('gold');
    api.volumes.volumes.set('gold', { ...gold, exclusiveBytes: 20_480 });
  });

  test('name what keeps the present', async () => {
    const { status, body } = await call('POST', url, { snapshot: 'a' });
    expect(status).toBe(200);
    expect(body).toEqual({
      api_version: '1',
      kind: 'Reversion',
      volume: 'gold',
      snapshot: 'a',
      safety: 'before-revert',
      pause_seconds: 0.001,
      freed_bytes: 0,
      changed: true,
    });
  });

  test('that discard it say what comes back', async () => {
    const body = { snapshot: 'a', discard: true, force: true };
    const plan = await call('POST', `${url}?dry_run=true`, body);
    expect(plan.body).toMatchObject({ kind: 'Plan', target: 'gold@a', freed_bytes: 20_480 });
    expect(api.snapshots.asked).toEqual({ discard: true, force: true, dryRun: true });
    const done = await call('POST', url, body);
    expect(done.body).toMatchObject({ safety: null, freed_bytes: 20_480 });
  });

  test('pass only on the version they were decided on', async () => {
    const { headers } = await get('/v1/volumes/gold');
    await call('PATCH', '/v1/volumes/gold', { size_bytes: 2 * 1024 * 1024 });
    const stale = { 'if-match': String(headers.etag) };
    expect((await call('POST', url, { snapshot: 'a' }, stale)).status).toBe(412);
  });
});

test('the snapshot mode is changed, one thing in a call', async () => {
  const url = '/v1/volumes/gold';
  const first = await call('PATCH', url, { snapshot_mode: 'cow' });
  const again = await call('PATCH', url, { snapshot_mode: 'cow' });
  expect(first.body).toMatchObject({ snapshot_mode: 'cow', changed: true });
  expect(again.body.changed).toBe(false);
  const both = await call('PATCH', url, { snapshot_mode: 'row', name: 'x' });
  expect([both.status, both.body.code]).toEqual([400, 'request/invalid']);
});

describe('schedules', () => {
  const url = '/v1/schedules/gold';
  const body = { every_seconds: 3600, keep_hourly: 24, keep_daily: 7 };

  test('are set, shown, changed and removed', async () => {
    const first = await call('PUT', url, body);
    const again = await call('PUT', url, { ...body, keep_daily: 3 });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.body).toMatchObject({
      kind: 'Schedule',
      volume: 'gold',
      keep_hourly: 24,
      keep_last: 0,
      expiring: ['auto-1'],
    });
    const shown = await get(url);
    expect(shown.body).toMatchObject({ keep_daily: 3, last_run_at: null });
    expect(shown.headers.etag).toBe(again.headers.etag);
    expect((await get('/v1/schedules')).body.items).toHaveLength(1);
    const stale = { 'if-match': String(first.headers.etag) };
    expect((await call('DELETE', url, undefined, stale)).status).toBe(412);
    expect((await call('DELETE', url)).body).toMatchObject({ kind: 'Result', target: 'gold' });
    expect((await get(url)).body.code).toBe('schedule/not-found');
  });

  test('a dry run tells what would expire', async () => {
    const plan = await call('PUT', `${url}?dry_run=true`, body);
    expect(plan.body).toMatchObject({ kind: 'Plan', changed: true, expiring: ['auto-1'] });
  });
});

describe('exports of snapshots', () => {
  beforeEach(() => take('gold@a'));

  test('say what they serve; the volume is exported by its own export only', async () => {
    const served = await call('PUT', '/v1/exports/gold-a', { volume: 'gold', snapshot: 'a' });
    expect([served.status, served.body.snapshot, served.body.read_only]).toEqual([201, 'a', true]);
    expect((await get('/v1/volumes/gold')).body.export).toBeNull();
    const scratch = await call('PUT', '/v1/exports/try', {
      volume: 'gold',
      snapshot: 'a',
      scratch: true,
    });
    expect(scratch.body).toMatchObject({ scratch: true, read_only: false });
    const other = await call('PUT', '/v1/exports/gold-a', { volume: 'gold' });
    expect(other.body.code).toBe('export/exists');
  });
});

test.each<[Method, string, object | undefined]>([
  ['POST', '/v1/snapshots', { names: ['gold@b'] }],
  ['PATCH', '/v1/snapshots/gold@a', { name: 'c' }],
  ['DELETE', '/v1/snapshots/gold@a', undefined],
  ['DELETE', '/v1/volumes/tin', undefined],
  ['PATCH', '/v1/volumes/gold', { snapshot_mode: 'row' }],
  ['POST', '/v1/volumes/new/actions/clone', { source: 'gold@a' }],
  ['POST', '/v1/volumes/gold/actions/revert', { snapshot: 'a' }],
  ['POST', '/v1/volumes/web/actions/flatten', undefined],
  ['PUT', '/v1/schedules/tin', { keep_last: 3 }],
  ['DELETE', '/v1/schedules/gold', undefined],
  ['PUT', '/v1/exports/x', { volume: 'gold', snapshot: 'a' }],
])('%s %s with dry_run answers a plan and changes nothing', async (method, url, payload) => {
  await take('gold@a');
  await call('POST', '/v1/volumes/web/actions/clone', { source: 'gold@a' });
  await call('PUT', '/v1/schedules/gold', { keep_last: 3 });
  const everything = () =>
    Promise.all(
      ['volumes', 'snapshots', 'schedules', 'exports', 'operations'].map(
        async (list) => (await get(`/v1/${list}`)).body,
      ),
    );
  const before = await everything();
  const plan = await call(method, `${url}?dry_run=true`, payload);
  expect([plan.status, plan.body.kind]).toEqual([200, 'Plan']);
  expect(await everything()).toEqual(before);
});

test.each<[Method, string, object | undefined, number, string]>([
  ['GET', '/v1/snapshots?volume=none', undefined, 404, 'volume/not-found'],
  ['GET', '/v1/snapshots/gold@none', undefined, 404, 'snapshot/not-found'],
  ['GET', '/v1/snapshots/gold', undefined, 400, 'request/invalid'],
  ['DELETE', '/v1/snapshots/gold', undefined, 400, 'request/invalid'],
  ['PATCH', '/v1/snapshots/gold@a', {}, 400, 'request/invalid'],
  ['POST', '/v1/snapshots', { names: [] }, 400, 'request/invalid'],
  ['POST', '/v1/snapshots', { names: ['gold'] }, 400, 'request/invalid'],
  ['POST', '/v1/snapshots', { names: ['gold@a@b'] }, 400, 'request/invalid'],
  ['POST', '/v1/snapshots', { snapshots: ['gold@b'] }, 400, 'request/invalid'],
  ['POST', '/v1/snapshots', { names: ['gold@a'] }, 409, 'snapshot/exists'],
  ['POST', '/v1/volumes/web/actions/clone', { source: 'gold' }, 400, 'request/invalid'],
  ['POST', '/v1/volumes/web/actions/clone', {}, 400, 'request/invalid'],
  ['POST', '/v1/volumes/none/actions/revert', { snapshot: 'a' }, 404, 'volume/not-found'],
  ['POST', '/v1/volumes/none/actions/flatten', undefined, 404, 'volume/not-found'],
  ['PATCH', '/v1/volumes/gold', { snapshot_mode: 'fast' }, 400, 'request/invalid'],
  ['GET', '/v1/schedules/gold', undefined, 404, 'schedule/not-found'],
  ['GET', '/v1/schedules/none', undefined, 404, 'volume/not-found'],
  ['PUT', '/v1/schedules/none', { keep_last: 1 }, 404, 'volume/not-found'],
  ['PUT', '/v1/schedules/gold', { keep_last: -1 }, 400, 'request/invalid'],
  ['DELETE', '/v1/schedules/gold', undefined, 404, 'schedule/not-found'],
  ['PUT', '/v1/exports/x', { volume: 'gold', snapshot: 'none' }, 404, 'snapshot/not-found'],
])('%s %s %j answers problem %i %s', async (method, url, payload, status, code) => {
  await take('gold@a');
  const answer = await call(method, url, payload);
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ status, code });
});
