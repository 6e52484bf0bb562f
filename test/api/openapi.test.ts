// Goal: docs/openapi.json is what the service answers, and every route says enough to be used.
// Method: generate it and compare with the committed file (`npx vitest run test/api/openapi.test.ts -u` rewrites it).
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openApi, type TestApi } from './fakes.ts';

interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string };
  readonly paths: Readonly<
    Record<string, Record<string, { readonly tags?: string[]; readonly responses: object }>>
  >;
}

let api: TestApi;
let document: OpenApiDocument;

beforeAll(async () => {
  api = await openApi();
  document = (await api.app.inject('/v1/openapi.json')).json();
});

afterAll(() => api.close());

test('the committed document is what the service answers', async () => {
  expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'varve' } });
  const text = `${JSON.stringify(document, undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot('../../docs/openapi.json');
});

test('every route of /v1 has a tag, an answer and problems', () => {
  const lacking = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { tags, responses }]) => {
        const answers = Object.keys(responses);
        return !tags?.length || (path.startsWith('/v1') && !answers.includes('4XX'));
      })
      .map(([method]) => `${method} ${path}`),
  );
  expect(lacking).toEqual([]);
});

test('no document names an address that is not served', () => {
  const paths = Object.keys(document.paths).sort();
  expect(paths).toEqual([
    '/livez',
    '/metrics',
    '/readyz',
    '/v1/clients',
    '/v1/disks',
    '/v1/disks/actions/scan',
    '/v1/disks/{disk}',
    '/v1/disks/{disk}/actions/cordon',
    '/v1/disks/{disk}/actions/drain',
    '/v1/disks/{disk}/actions/replace',
    '/v1/disks/{disk}/actions/scrub',
    '/v1/disks/{disk}/actions/uncordon',
    '/v1/events',
    '/v1/exports',
    '/v1/exports/{name}',
    '/v1/exports/{name}/attach',
    '/v1/operations',
    '/v1/operations/{id}',
    '/v1/operations/{id}/actions/cancel',
    '/v1/operations/{id}/actions/pause',
    '/v1/operations/{id}/actions/resume',
    '/v1/operations/{id}/input',
    '/v1/pools',
    '/v1/pools/actions/import',
    '/v1/pools/{name}',
    '/v1/pools/{name}/actions/check',
    '/v1/pools/{name}/actions/export',
    '/v1/pools/{name}/actions/rebalance',
    '/v1/pools/{name}/actions/scrub',
    '/v1/schedules',
    '/v1/schedules/{volume}',
    '/v1/snapshots',
    '/v1/snapshots/{snapshot}',
    '/v1/snapshots/{snapshot}/attachment',
    '/v1/snapshots/{snapshot}/diff',
    '/v1/status',
    '/v1/volumes',
    '/v1/volumes/{name}',
    '/v1/volumes/{name}/actions/absorb',
    '/v1/volumes/{name}/actions/adopt',
    '/v1/volumes/{name}/actions/announce-size',
    '/v1/volumes/{name}/actions/attach',
    '/v1/volumes/{name}/actions/clone',
    '/v1/volumes/{name}/actions/detach',
    '/v1/volumes/{name}/actions/flatten',
    '/v1/volumes/{name}/actions/leave',
    '/v1/volumes/{name}/actions/load',
    '/v1/volumes/{name}/actions/move',
    '/v1/volumes/{name}/actions/receive',
    '/v1/volumes/{name}/actions/revert',
    '/v1/volumes/{name}/actions/save',
    '/v1/volumes/{name}/actions/send',
    '/v1/volumes/{name}/backup',
    '/v1/volumes/{name}/map',
  ]);
});
