/**
 * /v1/volumes/{name}/actions/adopt: an existing disk becomes a volume; …/absorb: and comes to need the disk no more.
 */
import { Type } from 'typebox';
import type { AdoptionPlan } from '../../volume/adoption.ts';
import type { VolumeInfo } from '../../volume/types.ts';
import { envelope, planDocument, volumeItem } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan, Volume } from '../schemas.ts';
import { movePlanDocument, RateField } from './movements.ts';

const AdoptBody = body({
  source: Type.String({ minLength: 1, maxLength: 4096, description: 'URI of a disk or raw image' }),
  pool: Type.Optional(Type.String({ description: 'the only pool, when there is one' })),
  absorb: Type.Optional(
    Type.Boolean({ description: 'copy everything into the pool then, so that the disk may go' }),
  ),
  ...RateField,
});

export function adoptionRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['volume'];
  const response = { 200: Type.Union([Volume, Plan]), 202: Operation, ...problems };

  app.post(
    '/v1/volumes/:name/actions/adopt',
    {
      schema: {
        tags,
        summary:
          'Makes the volume of an existing disk, read in place and never written to; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: AdoptBody,
        response,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { source, pool, absorb = false, ...rate } = request.body;
      const found = await services.adoption.plan({ name, source, ...defined({ pool }) });
      const isNew = 'disk' in found;
      if (request.query.dry_run) {
        const copiedBytes = absorb ? await bytesToCopy(services, found) : 0;
        const changed = isNew || copiedBytes > 0;
        return planDocument({ action: 'volume adopt', target: name, changed, copiedBytes });
      }
      if (isNew) {
        const begun = absorb ? adoptAndAbsorb(services, found, rate) : adopt(services, found);
        return answerOperation(reply, begun);
      }
      const isLeft = absorb && (await services.migration.planAbsorb(name)) !== undefined;
      if (isLeft) return answerOperation(reply, beginAbsorb(services, name, rate));
      return unchanged(services, found);
    },
  );

  app.post(
    '/v1/volumes/:name/actions/absorb',
    {
      schema: {
        tags,
        summary:
          'Copies what the volume reads from the disk that it was adopted from into the pool, while it is served; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: body(RateField),
        response,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const found = await services.migration.planAbsorb(name);
      const effect = { action: 'volume absorb', target: name, changed: found !== undefined };
      if (request.query.dry_run) {
        return found === undefined ? planDocument(effect) : movePlanDocument(effect, found.plan);
      }
      if (found === undefined) return unchanged(services, services.volumes.get(name));
      return answerOperation(reply, beginAbsorb(services, name, request.body));
    },
  );
}

/** At most, of a disk whose data has not been looked for yet. */
async function bytesToCopy(
  { migration }: ApiServices,
  found: AdoptionPlan | VolumeInfo,
): Promise<number> {
  if ('disk' in found) return found.disk.sizeBytes;
  return (await migration.planAbsorb(found.name))?.plan.copiedBytes ?? 0;
}

function unchanged({ exports }: ApiServices, volume: VolumeInfo) {
  const exported = exports.nameOfVolume(volume.name);
  return envelope('Volume', { ...volumeItem(volume, exported), changed: false });
}

function adopt({ operations, adoption }: ApiServices, plan: AdoptionPlan) {
  const spec = { operation: 'volume-adopt', target: plan.name, phase: 'mapping' };
  const running = operations.find(spec.operation, spec.target);
  if (running !== undefined) return running;
  return operations.start(spec, (watch) => adoption.adopt(plan, watch));
}

type Rate = { readonly rate_bytes_per_second?: number };

function adoptAndAbsorb({ operations }: ApiServices, plan: AdoptionPlan, rate: Rate) {
  const { name, pool, disk } = plan;
  const parameters = { source: disk.location.uri, pool: pool.name, ...rate };
  return operations.begin({
    operation: 'volume-absorb',
    target: name,
    phase: 'mapping',
    parameters,
  });
}

/** @throws StorageError volume/busy something else moves it */
function beginAbsorb({ operations, migration }: ApiServices, name: string, rate: Rate) {
  const spec = { operation: 'volume-absorb', target: name, phase: 'copying' };
  if (operations.find(spec.operation, name) === undefined) migration.expectNotMoving(name);
  return operations.begin({ ...spec, parameters: { ...rate } });
}
