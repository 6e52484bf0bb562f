// Goal: REST is what cli.md says: idempotent PUT, dry runs, tags, keys, pages, problems.
// Method: requests injected into the real server over in-memory services.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DataPlaneError } from '../../src/dataplane/data-plane.ts';
import { callerOf, openApi, type TestApi } from './fakes.ts';

let api: TestApi;
let call: ReturnType<typeof callerOf>;

beforeEach(async () => {
  api = await openApi();
  call = callerOf(api);
  await put('/v1/pools/main', { disks: ['/disks/a.img?size=1GiB'] });
});

afterEach(() => api.close());

const get = (url: string) => call('GET', url);
const put = (url: string, payload: object) => call('PUT', url, payload);

test('PUT creates, then confirms', async () => {
  const body = { size_bytes: 1024 * 1024 };
  const first = await put('/v1/volumes/gold', body);
  const second = await put('/v1/volumes/gold', body);
  expect([first.status, second.status]).toEqual([201, 200]);
  expect(first.body).toMatchObject({
    api_version: '1',
    kind: 'Volume',
    name: 'gold',
    changed: true,
  });
  expect(second.body.changed).toBe(false);
});

test('a dry run tells and does nothing', async () => {
  const body = { size_bytes: 1024 * 1024 };
  const plan = await put('/v1/volumes/gold?dry_run=true', body);
  expect(plan.status).toBe(200);
  expect(plan.body).toEqual({
    api_version: '1',
    kind: 'Plan',
    action: 'volume create',
    target: 'gold',
    changed: true,
    copied_bytes: 0,
    freed_bytes: 0,
  });
  expect((await get('/v1/volumes')).body.items).toEqual([]);
});

test.each([
  ['PUT', '/v1/pools/new', { disks: ['/d'] }],
  ['DELETE', '/v1/pools/main', undefined],
  ['POST', '/v1/pools/main/actions/export', undefined],
  ['POST', '/v1/pools/actions/import', { disks: ['/d'] }],
  ['POST', '/v1/disks', { pool: 'main', uri: '/d' }],
  ['PUT', '/v1/volumes/new', { size_bytes: 65536, thick: true }],
  ['PATCH', '/v1/volumes/gold', { size_bytes: 1048576 }],
  ['PATCH', '/v1/volumes/gold', { name: 'other' }],
  ['DELETE', '/v1/volumes/silver', undefined],
  ['PUT', '/v1/exports/new', { volume: 'gold' }],
  ['DELETE', '/v1/exports/gold', undefined],
] as const)(
  '%s %s with dry_run answers a plan and changes nothing',
  async (method, url, payload) => {
    await put('/v1/volumes/gold', { size_bytes: 65536 });
    await put('/v1/volumes/silver', { size_bytes: 65536 });
    await put('/v1/exports/gold', { volume: 'gold' });
    const before = await everything();
    const plan = await call(method, `${url}?dry_run=true`, payload);
    expect(plan.status).toBe(200);
    expect(plan.body.kind).toBe('Plan');
    expect(await everything()).toEqual(before);
  },
);

async function everything() {
  const lists = ['pools', 'disks', 'volumes', 'exports', 'operations'];
  return Promise.all(lists.map(async (list) => (await get(`/v1/${list}`)).body));
}

test('If-Match lets a change pass only on the version it was decided on', async () => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  const { headers } = await get('/v1/volumes/gold');
  const stale = { 'if-match': String(headers.etag) };
  const first = await call('PATCH', '/v1/volumes/gold', { size_bytes: 131072 }, stale);
  const second = await call('PATCH', '/v1/volumes/gold', { size_bytes: 262144 }, stale);
  expect([first.status, second.status]).toEqual([200, 412]);
  expect(second.body.code).toBe('request/precondition');
  const any = await call('DELETE', '/v1/volumes/gold', undefined, { 'if-match': '*' });
  expect(any.status).toBe(200);
});

test('a POST repeated under its Idempotency-Key is done once', async () => {
  const headers = { 'idempotency-key': 'k1' };
  const body = { disks: ['/d'] };
  const first = await call('POST', '/v1/pools/actions/import', body, headers);
  const again = await call('POST', '/v1/pools/actions/import', body, headers);
  expect([first.status, again.status]).toEqual([201, 201]);
  expect(again.body).toEqual(first.body);
  const other = await call('POST', '/v1/pools/actions/import', { disks: ['/e'] }, headers);
  expect(other.body.code).toBe('request/idempotency');
});

test('lists come in pages that neither repeat nor skip', async () => {
  for (const name of ['c', 'a', 'b', 'd', 'e']) {
    await put(`/v1/volumes/${name}`, { size_bytes: 65536 });
  }
  const first = (await get('/v1/volumes?limit=2')).body;
  await call('DELETE', '/v1/volumes/b');
  const second = (await get(`/v1/volumes?limit=2&page_token=${first.next_page_token}`)).body;
  const third = (await get(`/v1/volumes?limit=2&page_token=${second.next_page_token}`)).body;
  const names = [first, second, third].map((page) =>
    page.items.map((item: { name: string }) => item.name),
  );
  expect(names).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
  expect(third.next_page_token).toBeUndefined();
});

test('a thick volume is an operation that ends', async () => {
  let finish = () => {};
  api.volumes.provisioned = new Promise((resolve) => {
    finish = resolve;
  });
  const body = { size_bytes: 65536, thick: true };
  const started = await put('/v1/volumes/thick', body);
  expect(started.status).toBe(202);
  const again = await put('/v1/volumes/thick', body);
  expect(again.body.id).toBe(started.body.id);
  const url = String(started.headers.location);
  expect((await get(url)).body).toMatchObject({
    operation: 'volume-create',
    state: 'running',
    progress: { done_bytes: 32768, total_bytes: 65536 },
  });
  finish();
  await expect.poll(async () => (await get(url)).body.state).toBe('succeeded');
  expect((await put('/v1/volumes/thick', body)).status).toBe(200);
});

test('a cancelled operation says so, and cannot be cancelled again', async () => {
  api.volumes.provisioned = new Promise(() => {});
  const { body } = await put('/v1/volumes/thick', { size_bytes: 65536, thick: true });
  await call('POST', `/v1/operations/${body.id}/actions/cancel`);
  const url = `/v1/operations/${body.id}`;
  await expect.poll(async () => (await get(url)).body.state).toBe('cancelled');
  const again = await call('POST', `${url}/actions/cancel`);
  expect([again.status, again.body.code]).toEqual([409, 'op/state']);
});

test.each([
  ['GET', '/v1/pools/none', undefined, 404, 'pool/not-found'],
  ['GET', '/v1/disks/none', undefined, 404, 'disk/not-found'],
  ['DELETE', '/v1/disks/none', undefined, 404, 'disk/not-found'],
  ['DELETE', '/v1/disks/main%2F0', undefined, 409, 'disk/needed'],
  ['GET', '/v1/volumes/none', undefined, 404, 'volume/not-found'],
  ['GET', '/v1/exports/none', undefined, 404, 'export/not-found'],
  ['GET', '/v1/operations/op-9', undefined, 404, 'op/not-found'],
  ['GET', '/v1/clients?export=none', undefined, 404, 'export/not-found'],
  ['GET', '/v1/nothing', undefined, 404, 'request/not-found'],
  ['PUT', '/v1/volumes/x', {}, 400, 'request/invalid'],
  ['PUT', '/v1/volumes/x', { size_bytes: 1.5 }, 400, 'request/invalid'],
  ['PUT', '/v1/volumes/x', { size_bytes: 1, sise: 2 }, 400, 'request/invalid'],
  ['PATCH', '/v1/volumes/gold', {}, 400, 'request/invalid'],
  ['PATCH', '/v1/volumes/gold', { size_bytes: 1 }, 409, 'volume/shrink'],
  ['DELETE', '/v1/volumes/gold', undefined, 409, 'volume/busy'],
  ['GET', '/v1/volumes/gold/map?offset_bytes=99999999', undefined, 400, 'request/invalid'],
  ['GET', '/v1/volumes?limit=0', undefined, 400, 'request/invalid'],
  ['GET', '/v1/events?since=yesterday', undefined, 400, 'request/invalid'],
  ['PUT', '/v1/pools/x', { disks: ['x'.repeat(300_000)] }, 413, 'request/too-large'],
] as const)('%s %s answers problem %i %s', async (method, url, payload, status, code) => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  await put('/v1/exports/gold', { volume: 'gold' });
  const answer = await call(method, url, payload as object | undefined);
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ status, code });
  expect(answer.status).toBe(status);
  expect(Object.keys(answer.body).sort()).toEqual(
    ['actions', 'code', 'detail', 'status', 'title', 'type'].sort(),
  );
});

test('an unknown field is named', async () => {
  const answer = await put('/v1/volumes/x', { size_bytes: 65536, sise: 2 });
  expect(answer.body.detail).toBe('body has an unknown field sise');
});

test('a bug tells the caller nothing of itself', async () => {
  api.pools.list = () => {
    throw new TypeError('secret');
  };
  const answer = await get('/v1/pools');
  expect(answer.body).toMatchObject({ status: 500, code: 'service/internal' });
  expect(JSON.stringify(answer.body)).not.toContain('secret');
});

test('an error of the operating system is told', async () => {
  api.pools.list = () => {
    throw new DataPlaneError(5, 'read of /d: EIO');
  };
  expect((await get('/v1/pools')).body).toMatchObject({
    code: 'disk/io',
    detail: 'read of /d: EIO',
  });
});

test('a volume map comes in pages without gaps', async () => {
  await put('/v1/volumes/gold', { size_bytes: 5 * 65536 });
  const first = (await get('/v1/volumes/gold/map?limit=3')).body;
  const second = (await get(`/v1/volumes/gold/map?limit=3&page_token=${first.next_page_token}`))
    .body;
  const offsets = [...first.items, ...second.items].map((extent) => extent.offset_bytes / 65536);
  expect(offsets).toEqual([0, 1, 2, 3, 4]);
  expect(second.next_page_token).toBeUndefined();
});

test('an attachment names URI, QEMU and libvirt', async () => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  await put('/v1/exports/gold', { volume: 'gold' });
  const { body } = await get('/v1/exports/gold/attach');
  expect(body.uri).toBe(`nbd+unix:///gold?socket=${api.folder}/nbd.sock`);
  expect(body.qmp[0]).toMatchObject({ execute: 'blockdev-add', arguments: { driver: 'nbd' } });
  expect(body.libvirt_xml).toContain("<source protocol='nbd' name='gold'>");
});

test('a disk is found by uuid, its beginning, path, URI, and its number in its pool', async () => {
  const uuid = '11111111-aaaa-0000-0000-000000000000';
  for (const wanted of [uuid, '1111', '/disks/main.img', 'main/0']) {
    const { body } = await get(`/v1/disks/${encodeURIComponent(wanted)}`);
    expect(body.pool).toBe('main');
  }
});

test('a pool that is let go takes its exports along, and brings them back', async () => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  await put('/v1/exports/gold', { volume: 'gold' });
  api.dataPlane.connect('gold');
  const busy = await call('POST', '/v1/pools/main/actions/export');
  expect(busy.body.code).toBe('export/busy');
  api.dataPlane.connected = [];
  expect((await call('POST', '/v1/pools/main/actions/export')).status).toBe(200);
  expect(api.dataPlane.exports.size).toBe(0);
});

test('while stopping, changes are refused and reading goes on', async () => {
  api.service.stopping = true;
  const change = await put('/v1/volumes/gold', { size_bytes: 65536 });
  expect([change.status, change.body.code]).toEqual([503, 'service/stopping']);
  expect((await get('/v1/volumes')).status).toBe(200);
  const ready = await api.app.inject('/readyz?verbose');
  expect([ready.statusCode, ready.body]).toEqual([503, '[-] started\nnot ready\n']);
  expect((await api.app.inject('/livez')).statusCode).toBe(200);
});

test('status gathers what is, and what to do', async () => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  const { body } = await get('/v1/status');
  expect(body).toMatchObject({ kind: 'Status', health: 'ok', ready: true, volume_count: 1 });
  expect(body.pools).toHaveLength(1);
  expect(body.disks).toHaveLength(1);
});

test('metrics carry pools, volumes and exports by name', async () => {
  await put('/v1/volumes/gold', { size_bytes: 65536 });
  await put('/v1/exports/gold', { volume: 'gold' });
  const { body } = await api.app.inject('/metrics');
  expect(body).toContain('varve_pool_used_bytes{pool="main"} 655360');
  expect(body).toContain('varve_volume_reads_completed_total{volume="gold"} 0');
  expect(body).toContain('varve_volume_written_bytes_total{volume="gold"} 0');
  expect(body).toContain('varve_export_clients{export="gold"} 0');
  expect(body).toContain('nodejs_eventloop_lag_seconds');
  expect(body).toContain('varve_pool_background_moved_bytes_total{pool="main"} 65536');
  expect(body).toContain('varve_pool_background_bytes_per_second_max{pool="main"} +Inf');
  expect(body).toContain('varve_pool_held_writes{pool="main"} 3');
});

test('metrics carry the latency of guests as a histogram: fewer buckets, cumulative', async () => {
  const { body } = await api.app.inject('/metrics');
  const reads = body
    .split('\n')
    .filter(
      (line: string) => line.startsWith('varve_pool_request_seconds') && line.includes('read'),
    );
  const labels = 'pool="main",kind="read"';
  expect(body).toContain('# TYPE varve_pool_request_seconds histogram');
  expect(reads).toEqual([
    `varve_pool_request_seconds_bucket{${labels},le="0.008"} 1`,
    `varve_pool_request_seconds_bucket{${labels},le="0.016"} 2`,
    `varve_pool_request_seconds_bucket{${labels},le="+Inf"} 3`,
    `varve_pool_request_seconds_sum{${labels}} 0.5`,
    `varve_pool_request_seconds_count{${labels}} 3`,
  ]);
});
