/**
 * /v1/pools/{name}/actions/scrub, /v1/disks/{disk}/actions/scrub.
 */
import { planDocument } from '../documents.ts';
import { findPoolDisk } from '../find-disk.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan } from '../schemas.ts';
import { DiskParams } from './disks.ts';
import { RateField } from './movements.ts';

export function scrubRoutes(app: ApiApp, services: ApiServices): void {
  const { operations, pools, scrubs } = services;
  const schema = {
    querystring: DryRunQuery,
    body: body(RateField),
    response: { 200: Plan, 202: Operation, ...problems },
  };

  app.post(
    '/v1/pools/:name/actions/scrub',
    {
      schema: {
        ...schema,
        tags: ['pool'],
        summary:
          'Reads and verifies everything of the pool while guests run; an operation, which has the findings',
        params: NameParams,
      },
    },
    async (request, reply) => {
      const { name: target } = request.params;
      scrubs.expectScrubbable(target);
      if (request.query.dry_run) return planDocument({ action: 'pool scrub', target });
      const parameters = request.body;
      const phase = 'reading';
      const operation = operations.begin({ operation: 'pool-scrub', target, phase, parameters });
      return answerOperation(reply, operation);
    },
  );

  app.post(
    '/v1/disks/:disk/actions/scrub',
    {
      schema: {
        ...schema,
        tags: ['disk'],
        summary:
          'Reads and verifies everything on the disk while guests run; an operation, which has the findings',
        params: DiskParams,
      },
    },
    async (request, reply) => {
      const { uri: target, uuid, pool } = findPoolDisk(pools, request.params.disk);
      scrubs.expectScrubbable(pool);
      if (request.query.dry_run) return planDocument({ action: 'disk scrub', target });
      const parameters = { disk: uuid, ...request.body };
      const phase = 'reading';
      const operation = operations.begin({ operation: 'disk-scrub', target, phase, parameters });
      return answerOperation(reply, operation);
    },
  );
}
