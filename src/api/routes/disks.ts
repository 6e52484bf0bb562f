/**
 * /v1/disks: add, list, show; those of pools and those that are passed through. A disk is named by its uuid, the beginning of it, its path or its URI.
 */
import { Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import { redactedUri } from '../../pool/uri-parts.ts';
import { diskItem, envelope, passthroughItem, planDocument } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, problems } from '../route-kit.ts';
import { listRoute } from '../route-shapes.ts';
import { Disk, type DiskItem, DiskList, Plan } from '../schemas.ts';

const DiskBody = body({
  pool: Type.String(),
  uri: Type.String({ minLength: 1, maxLength: 4096 }),
  force: Type.Optional(Type.Boolean({ description: 'overwrite whatever the disk carries' })),
});

/** Shorter beginnings of a uuid are too easily another's. */
const uuidPrefixCharsMin = 4;

export function diskRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['disk'];

  listRoute(app, {
    tag: 'disk',
    path: '/v1/disks',
    kind: 'DiskList',
    schema: DiskList,
    items: () => allDisks(services),
    key: keyOf,
  });

  app.get(
    '/v1/disks/:disk',
    {
      schema: {
        tags,
        params: Type.Object({ disk: Type.String() }),
        response: { 200: Disk, ...problems },
      },
    },
    async (request) => envelope('Disk', findDisk(services, request.params.disk)),
  );

  app.post(
    '/v1/disks',
    {
      schema: {
        tags,
        summary: 'Adds a disk to a pool, online',
        querystring: DryRunQuery,
        body: DiskBody,
        response: { 200: Plan, 201: Disk, ...problems },
      },
    },
    async (request, reply) => {
      const { pool, uri, force } = request.body;
      const { dry_run: dryRun } = request.query;
      const disk = await services.pools.addDisk(pool, uri, defined({ force, dryRun }));
      if (dryRun)
        return planDocument({ action: 'disk add', target: `${pool} ${redactedUri(uri)}` });
      reply.code(201);
      return envelope('Disk', { ...diskItem(disk), changed: true });
    },
  );
}

function allDisks({ pools, exports }: ApiServices): DiskItem[] {
  return [
    ...pools.list().flatMap((pool) => pool.disks.map(diskItem)),
    ...exports.passthroughs().map(passthroughItem),
  ];
}

/** Those of no pool come last. */
function keyOf(disk: DiskItem): string {
  if (disk.pool === null) return `~/${disk.export}`;
  return `${disk.pool}/${String(disk.number).padStart(3, '0')}`;
}

/** @throws StorageError disk/not-found none, or more than one by that beginning */
function findDisk(services: ApiServices, wanted: string): DiskItem {
  const disks = allDisks(services);
  const exact = disks.find((disk) => [disk.uuid, disk.uri, disk.path].includes(wanted));
  if (exact !== undefined) return exact;
  const long = wanted.length >= uuidPrefixCharsMin;
  const alike = long ? disks.filter((disk) => disk.uuid.startsWith(wanted)) : [];
  const [only] = alike;
  if (only !== undefined && alike.length === 1) return only;
  const why = alike.length > 1 ? `${alike.length} disks begin with` : 'there is no disk';
  throw new StorageError('disk/not-found', `${why} ${wanted}`, { actions: ['varve disk list'] });
}
