/**
 * /v1/volumes: create, list, show, change (name, size), map, delete.
 */
import { Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import type { CreateVolumeOptions, VolumeInfo } from '../../volume/types.ts';
import { envelope, planDocument, volumeItem, volumeMapDocument } from '../documents.ts';
import { PageQuery } from '../paging.ts';
import type { ApiServices } from '../ports.ts';
import { checkIfMatch } from '../precondition.ts';
import {
  type ApiApp,
  body,
  ConditionHeaders,
  createdOr200,
  DryRunQuery,
  defined,
  NameParams,
  problems,
  tag,
} from '../route-kit.ts';
import { listRoute, resultRoute, showRoute } from '../route-shapes.ts';
import { Operation, Plan, Volume, VolumeList, VolumeMap } from '../schemas.ts';
import { readVolumeMap } from '../volume-map.ts';

const VolumeBody = body({
  size_bytes: Type.Integer(),
  pool: Type.Optional(Type.String({ description: 'the only pool, when there is one' })),
  snapshot_mode: Type.Optional(Type.Union([Type.Literal('row'), Type.Literal('cow')])),
  thick: Type.Optional(Type.Boolean({ description: 'take all of its space now' })),
  class: Type.Optional(Type.String({ description: 'of the disks that its data is to lie on' })),
});

const VolumeChanges = body({
  name: Type.Optional(Type.String({ description: 'the new name' })),
  size_bytes: Type.Optional(Type.Integer({ description: 'the new size, not smaller' })),
  snapshot_mode: Type.Optional(Type.Union([Type.Literal('row'), Type.Literal('cow')])),
});

const DeleteQuery = {
  with_snapshots: Type.Optional(Type.Boolean({ description: 'its snapshots go too' })),
  keep_clones: Type.Optional(Type.Boolean({ description: 'also when clones read through it' })),
};

const MapQuery = Type.Object({
  offset_bytes: Type.Optional(Type.Integer({ minimum: 0 })),
  length_bytes: Type.Optional(Type.Integer({ minimum: 1 })),
  ...PageQuery.properties,
});

/** Extents in one answer, when the caller names no limit. */
const extentsDefault = 1000;

/** What an ETag of a volume covers. */
export function configuration({ id, name, pool, sizeBytes, snapshotMode, thick }: VolumeInfo) {
  return { id, name, pool, sizeBytes, snapshotMode, thick };
}

export function volumeRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['volume'];
  const itemOf = (volume: VolumeInfo) =>
    volumeItem(volume, services.exports.nameOfVolume(volume.name));

  listRoute(app, {
    tag: 'volume',
    path: '/v1/volumes',
    kind: 'VolumeList',
    schema: VolumeList,
    items: () => services.volumes.list().map(itemOf),
    key: (volume) => volume.name,
  });
  showRoute(app, {
    tag: 'volume',
    path: '/v1/volumes/:name',
    kind: 'Volume',
    schema: Volume,
    find: (name) => services.volumes.get(name),
    item: itemOf,
    configuration,
  });

  app.put(
    '/v1/volumes/:name',
    {
      schema: {
        tags,
        summary: 'Creates a volume, or confirms it; a thick one as an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: VolumeBody,
        response: { 200: Type.Union([Volume, Plan]), 201: Volume, 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const options = createOptions(name, request.body);
      if (request.query.dry_run || options.thick) {
        const { changed } = await services.volumes.create({ ...options, dryRun: true });
        if (request.query.dry_run) {
          return planDocument({ action: 'volume create', target: name, changed });
        }
        if (changed) {
          const operation = startThick(services, options);
          reply.code(202).header('location', `/v1/operations/${operation.id}`);
          return envelope('Operation', operation);
        }
      }
      const { volume, changed } = await services.volumes.create(options);
      tag(reply, configuration(volume));
      reply.code(createdOr200(changed));
      return envelope('Volume', { ...itemOf(volume), changed });
    },
  );

  app.patch(
    '/v1/volumes/:name',
    {
      schema: {
        tags,
        summary:
          'Renames a volume, makes it larger, or changes its snapshot mode; one of them in a call',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ConditionHeaders,
        body: VolumeChanges,
        response: { 200: Type.Union([Volume, Plan]), ...problems },
      },
    },
    async (request, reply) => {
      const before = services.volumes.get(request.params.name);
      checkIfMatch(request.headers['if-match'], configuration(before));
      const { dry_run: dryRun } = request.query;
      const after = await change(services, before, request.body, defined({ dryRun }));
      const { name } = before;
      if (dryRun) return planDocument({ action: 'volume change', target: name, ...after });
      tag(reply, configuration(after.volume));
      return envelope('Volume', { ...itemOf(after.volume), changed: after.changed });
    },
  );

  app.get(
    '/v1/volumes/:name/map',
    {
      schema: {
        tags,
        summary: 'Which ranges hold data, which are zero, which use no space',
        params: NameParams,
        querystring: MapQuery,
        response: { 200: VolumeMap, ...problems },
      },
    },
    async (request) => {
      const volume = services.volumes.get(request.params.name);
      const range = mapRange(volume, request.query);
      const limit = request.query.limit ?? extentsDefault;
      const given = await readVolumeMap(services.volumes, volume.name, { ...range, limit });
      const last = given.at(-1);
      const next = last === undefined ? range.end : last.offset + last.length;
      return volumeMapDocument(volume.name, given, next < range.end ? String(next) : undefined);
    },
  );

  resultRoute(app, {
    method: 'DELETE',
    tag: 'volume',
    path: '/v1/volumes/:name',
    summary: 'Deletes a volume and all of its data; its space comes back in the background',
    query: DeleteQuery,
    action: 'volume delete',
    find: (name) => services.volumes.get(name),
    configuration,
    work: ({ name }, options, { with_snapshots: withSnapshots, keep_clones: keepClones }) =>
      services.volumes.delete(name, { ...options, ...defined({ withSnapshots, keepClones }) }),
  });
}

interface VolumeBodyFields {
  size_bytes: number;
  pool?: string;
  snapshot_mode?: 'row' | 'cow';
  thick?: boolean;
  class?: string;
}

function createOptions(name: string, fields: VolumeBodyFields): CreateVolumeOptions {
  const { size_bytes: sizeBytes, snapshot_mode: snapshotMode, ...rest } = fields;
  return { name, sizeBytes, ...defined({ snapshotMode, ...rest }) };
}

/** One operation per volume: asking again while it runs names the same one. */
function startThick(services: ApiServices, options: CreateVolumeOptions) {
  const spec = { operation: 'volume-create', target: options.name, phase: 'taking space' };
  const running = services.operations.find(spec.operation, spec.target);
  if (running !== undefined) return running;
  return services.operations.start(spec, async ({ report, signal }) => {
    await services.volumes.create(options, report, signal);
  });
}

interface Changes {
  name?: string;
  size_bytes?: number;
  snapshot_mode?: 'row' | 'cow';
}

async function change(
  services: ApiServices,
  before: VolumeInfo,
  changes: Changes,
  options: { dryRun?: boolean },
): Promise<{ volume: VolumeInfo; changed: boolean }> {
  const { name, size_bytes: sizeBytes, snapshot_mode: snapshotMode } = changes;
  if (Object.keys(changes).length !== 1) {
    throw new StorageError('request/invalid', 'give one of name, size_bytes and snapshot_mode');
  }
  const isSame =
    name === before.name || sizeBytes === before.sizeBytes || snapshotMode === before.snapshotMode;
  if (isSame) return { volume: before, changed: false };
  const { volumes, snapshots } = services;
  if (name !== undefined) {
    return { volume: await volumes.rename(before.name, name, options), changed: true };
  }
  if (sizeBytes !== undefined) {
    return { volume: await volumes.resize(before.name, sizeBytes, options), changed: true };
  }
  await snapshots.setMode(before.name, snapshotMode as 'row' | 'cow', options);
  return { volume: volumes.get(before.name), changed: true };
}

interface MapRangeQuery {
  offset_bytes?: number;
  length_bytes?: number;
  page_token?: string;
}

/** @throws StorageError request/invalid the range leaves the volume */
function mapRange(volume: VolumeInfo, query: MapRangeQuery) {
  const start = query.offset_bytes ?? 0;
  const end = query.length_bytes === undefined ? volume.sizeBytes : start + query.length_bytes;
  const offset = query.page_token === undefined ? start : Number(query.page_token);
  const inside = Number.isSafeInteger(offset) && offset >= start && offset <= end;
  if (inside && end <= volume.sizeBytes) return { offset, end };
  throw new StorageError(
    'request/invalid',
    `the range leaves volume ${volume.name}, which has ${volume.sizeBytes} bytes`,
  );
}
