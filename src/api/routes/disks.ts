/**
 * /v1/disks: add, list, show, remove; those of pools and those that are passed through. How a disk is named: find-disk.ts.
 */
import { Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import type { DiskInfo } from '../../pool/types.ts';
import { redactedUri } from '../../pool/uri-parts.ts';
import { diskItem, envelope, foundDiskItem, passthroughItem, planDocument } from '../documents.ts';
import { expectNotPassedThrough, findDisk, findPoolDisk } from '../find-disk.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, problems } from '../route-kit.ts';
import { listRoute, resultRoute } from '../route-shapes.ts';
import { Disk, type DiskItem, DiskList, FoundDiskList, Plan } from '../schemas.ts';

const DiskBody = body({
  pool: Type.String(),
  uri: Type.String({ minLength: 1, maxLength: 4096 }),
  force: Type.Optional(Type.Boolean({ description: 'overwrite whatever the disk carries' })),
});

const ScanBody = body({
  address: Type.String({
    minLength: 1,
    maxLength: 4096,
    description: 'iscsi://[user%secret@]host[:port], nfs://host or nfs://host/folder',
  }),
});

export const DiskParams = Type.Object({ disk: Type.String() });

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

  app.post(
    '/v1/disks/actions/scan',
    {
      schema: {
        tags,
        summary: 'Lists what a server offers as disks, and what they hold',
        body: ScanBody,
        response: { 200: FoundDiskList, ...problems },
      },
    },
    async (request) => {
      const found = await services.scanDisks(request.body.address);
      return envelope('FoundDiskList', { items: found.map(foundDiskItem) });
    },
  );

  app.get(
    '/v1/disks/:disk',
    {
      schema: {
        tags,
        params: DiskParams,
        response: { 200: Disk, ...problems },
      },
    },
    async (request) => envelope('Disk', findDisk(allDisks(services), request.params.disk)),
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

  resultRoute(app, {
    method: 'DELETE',
    tag: 'disk',
    path: '/v1/disks/:disk',
    params: DiskParams,
    summary: 'Takes an empty disk out of its pool, online; it belongs to nobody afterwards',
    action: 'disk remove',
    find: (disk) => memberOrName(services, disk),
    configuration: (found) =>
      typeof found === 'string' ? {} : { uuid: found.uuid, pool: found.pool },
    work: async (found, options) => {
      if (typeof found === 'string') return alreadyOut(services, found);
      await services.pools.removeDisk(found.pool, found.number, options);
      return {};
    },
  });
}

function allDisks({ pools, exports }: ApiServices): DiskItem[] {
  return [
    ...pools.list().flatMap((pool) => pool.disks.map(diskItem)),
    ...exports.passthroughs().map(passthroughItem),
  ];
}

/** What was named, when it is a disk's place and no pool has that disk. @throws StorageError disk/not-found, disk/in-use */
function memberOrName({ pools, exports }: ApiServices, wanted: string): DiskInfo | string {
  expectNotPassedThrough(exports.passthroughs(), wanted);
  try {
    return findPoolDisk(pools, wanted);
  } catch (error) {
    const isPlace = wanted.startsWith('/') || wanted.includes(':');
    if (isPlace && error instanceof StorageError && error.code === 'disk/not-found') return wanted;
    throw error;
  }
}

/** A disk that is there and nobody's is out of its pool. @throws StorageError disk/not-found nobody can tell */
async function alreadyOut({ pools }: ApiServices, uri: string): Promise<{ changed: boolean }> {
  if (await pools.isNobodys(uri)) return { changed: false };
  throw new StorageError('disk/not-found', `no pool here has a disk ${uri}`, {
    actions: ['varve disk list'],
  });
}

/** Those of no pool come last. */
function keyOf(disk: DiskItem): string {
  if (disk.pool === null) return `~/${disk.export}`;
  return `${disk.pool}/${String(disk.number).padStart(3, '0')}`;
}
