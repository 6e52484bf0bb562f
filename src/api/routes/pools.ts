/**
 * /v1/pools: create, list, show, delete, and the actions export, import, check.
 */
import { Type } from 'typebox';
import type { PoolInfo } from '../../pool/types.ts';
import { checkReportDocument, envelope, planDocument, poolItem } from '../documents.ts';
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
import { CheckReport, Plan, Pool, PoolList } from '../schemas.ts';

const DiskUris = Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
  minItems: 1,
  maxItems: 255,
  description: 'disk URIs, as `/path`, `file:/path?size=100GiB`, `block:/dev/sdb`',
});

const PatienceSeconds = Type.Integer({
  minimum: 0,
  maximum: 86_400,
  description: 'how long a disk may fail, or space be missing, before requests fail',
});

const PoolBody = body({
  disks: DiskUris,
  cluster_size_bytes: Type.Optional(Type.Integer({ minimum: 1 })),
  patience_seconds: Type.Optional(PatienceSeconds),
  force: Type.Optional(Type.Boolean({ description: 'overwrite whatever the disks carry' })),
});

const PoolChanges = body({ patience_seconds: PatienceSeconds });

const ImportBody = body({
  disks: DiskUris,
  takeover: Type.Optional(Type.Boolean({ description: 'although its last owner may be alive' })),
  read_only: Type.Optional(
    Type.Boolean({ description: 'also with disks missing; no disk is written to' }),
  ),
});

const disconnectQuery = {
  disconnect: Type.Optional(
    Type.Boolean({ description: 'also when clients are connected: they may reconnect elsewhere' }),
  ),
};

/** What an ETag of a pool covers. */
function configuration(pool: PoolInfo) {
  const { uuid, name, patienceSeconds } = pool;
  return { uuid, name, patienceSeconds, disks: pool.disks.map((disk) => disk.uuid) };
}

export function poolRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['pool'];

  listRoute(app, {
    tag: 'pool',
    path: '/v1/pools',
    kind: 'PoolList',
    schema: PoolList,
    items: () => services.pools.list().map(poolItem),
    key: (pool) => pool.name,
  });
  showRoute(app, {
    tag: 'pool',
    path: '/v1/pools/:name',
    kind: 'Pool',
    schema: Pool,
    find: (name) => shownPool(services, name),
    item: poolItem,
    configuration,
  });

  app.put(
    '/v1/pools/:name',
    {
      schema: {
        tags,
        summary: 'Creates a pool on the disks, or confirms that it is there',
        params: NameParams,
        querystring: DryRunQuery,
        body: PoolBody,
        response: { 200: Type.Union([Pool, Plan]), 201: Pool, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { disks, force } = request.body;
      const { cluster_size_bytes: clusterBytes, patience_seconds: patienceSeconds } = request.body;
      const { dry_run: dryRun } = request.query;
      const options = defined({ clusterBytes, patienceSeconds, force, dryRun });
      const { pool, changed } = await services.pools.create(name, disks, options);
      if (dryRun) return planDocument({ action: 'pool create', target: name, changed });
      tag(reply, configuration(pool));
      reply.code(createdOr200(changed));
      return envelope('Pool', { ...poolItem(pool), changed });
    },
  );

  app.patch(
    '/v1/pools/:name',
    {
      schema: {
        tags,
        summary: 'Changes settings of a pool that serves',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ConditionHeaders,
        body: PoolChanges,
        response: { 200: Type.Union([Pool, Plan]), ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      checkIfMatch(request.headers['if-match'], configuration(services.pools.get(name).info()));
      const { dry_run: dryRun } = request.query;
      const settings = { patienceSeconds: request.body.patience_seconds };
      const { pool, changed } = await services.pools.set(name, settings, defined({ dryRun }));
      if (dryRun) return planDocument({ action: 'pool set', target: name, changed });
      tag(reply, configuration(pool));
      return envelope('Pool', { ...poolItem(pool), changed });
    },
  );

  resultRoute(app, {
    method: 'DELETE',
    tag: 'pool',
    path: '/v1/pools/:name',
    summary: 'Deletes an empty pool; its disks keep nothing that names it',
    action: 'pool delete',
    find: (name) => services.pools.get(name).info(),
    configuration,
    work: async ({ name, usedBytes }, options) => {
      await services.pools.delete(name, options);
      return { freedBytes: usedBytes };
    },
  });
  resultRoute(app, {
    method: 'POST',
    tag: 'pool',
    path: '/v1/pools/:name/actions/export',
    summary: 'Lets the pool go cleanly, so that another host may import it',
    action: 'pool export',
    find: (name) => shownPool(services, name),
    configuration,
    query: disconnectQuery,
    work: async ({ name }, { dryRun }, query) => {
      const disconnect = query.disconnect ?? false;
      if (!disconnect) services.exports.checkIdle(name);
      if (dryRun) await services.pools.export(name, { dryRun });
      else await letGo(services, name, disconnect);
      return undefined;
    },
  });

  app.post(
    '/v1/pools/actions/import',
    {
      schema: {
        tags,
        summary: 'Takes a pool from its disks alone, and serves its exports',
        querystring: DryRunQuery,
        body: ImportBody,
        response: { 200: Type.Union([Pool, Plan]), 201: Pool, ...problems },
      },
    },
    async (request, reply) => {
      const { disks, takeover, read_only: readOnly } = request.body;
      const { dry_run: dryRun } = request.query;
      const options = defined({ takeover, readOnly, dryRun });
      const pool = await services.pools.import(disks, options);
      if (dryRun) return planDocument({ action: 'pool import', target: pool.name });
      await services.arrivals.arrived(pool.name);
      tag(reply, configuration(pool));
      reply.code(201);
      return envelope('Pool', { ...poolItem(pool), changed: true });
    },
  );

  app.post(
    '/v1/pools/:name/actions/check',
    {
      schema: {
        tags,
        summary: 'Verifies that every cluster is owned once and every checksum holds',
        params: NameParams,
        response: { 200: CheckReport, ...problems },
      },
    },
    async (request) => checkReportDocument(await services.pools.check(request.params.name)),
  );
}

/** A pool that could not be opened is shown all the same, with its reason among the warnings. */
function shownPool({ pools }: ApiServices, name: string): PoolInfo {
  return pools.list().find((pool) => pool.name === name) ?? pools.get(name).info();
}

/** Exports stop first; they are served again when the pool could not be let go. */
async function letGo(services: ApiServices, name: string, disconnect: boolean): Promise<void> {
  const pool = services.pools.all().find((open) => open.info().name === name);
  if (pool === undefined) return services.pools.export(name, {});
  await services.exports.release(name, { disconnect });
  try {
    await services.pools.export(name, {});
  } catch (error) {
    await services.exports.restore(pool);
    throw error;
  }
}
