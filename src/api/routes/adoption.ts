/**
 * /v1/volumes/{name}/actions/adopt: an existing disk becomes a volume.
 */
import { Type } from 'typebox';
import type { AdoptionPlan } from '../../volume/adoption.ts';
import { envelope, planDocument, volumeItem } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan, Volume } from '../schemas.ts';

const AdoptBody = body({
  source: Type.String({ minLength: 1, maxLength: 4096, description: 'URI of a disk or raw image' }),
  pool: Type.Optional(Type.String({ description: 'the only pool, when there is one' })),
});

export function adoptionRoutes(app: ApiApp, services: ApiServices): void {
  app.post(
    '/v1/volumes/:name/actions/adopt',
    {
      schema: {
        tags: ['volume'],
        summary:
          'Makes the volume of an existing disk, read in place and never written to; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: AdoptBody,
        response: { 200: Type.Union([Volume, Plan]), 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { source, pool } = request.body;
      const found = await services.adoption.plan({ name, source, ...defined({ pool }) });
      const changed = 'disk' in found;
      if (request.query.dry_run) {
        return planDocument({ action: 'volume adopt', target: name, changed });
      }
      if (!('disk' in found)) {
        const exported = services.exports.nameOfVolume(name);
        return envelope('Volume', { ...volumeItem(found, exported), changed });
      }
      return answerOperation(reply, start(services, found));
    },
  );
}

function start({ operations, adoption }: ApiServices, plan: AdoptionPlan) {
  const spec = { operation: 'volume-adopt', target: plan.name, phase: 'mapping' };
  const running = operations.find(spec.operation, spec.target);
  if (running !== undefined) return running;
  return operations.start(spec, (watch) => adoption.adopt(plan, watch));
}
