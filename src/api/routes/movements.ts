/**
 * What moves data and is no disk's: /v1/pools/{name}/actions/rebalance, /v1/volumes/{name}/actions/move.
 */
import { Type } from 'typebox';
import type { MovePlan } from '../../migration/types.ts';
import { type Effect, planDocument } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan } from '../schemas.ts';

export const RateField = {
  rate_bytes_per_second: Type.Optional(
    Type.Integer({ minimum: 1, description: 'no faster than that' }),
  ),
};

const MoveBody = body({
  to: Type.String({ description: 'a class or a disk of the pool' }),
  ...RateField,
});

/** What a movement would do. */
export function movePlanDocument(
  effect: Pick<Effect, 'action' | 'target' | 'changed'>,
  { copiedBytes, roomBytes, volumes }: MovePlan,
) {
  const changed = effect.changed ?? copiedBytes > 0;
  return planDocument({ ...effect, changed, copiedBytes, roomBytes, affected: [...volumes] });
}

export function movementRoutes(app: ApiApp, { migration, operations }: ApiServices): void {
  const response = { 200: Plan, 202: Operation, ...problems };

  app.post(
    '/v1/pools/:name/actions/rebalance',
    {
      schema: {
        tags: ['pool'],
        summary: 'Makes disks of one class equally full while guests run; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: body(RateField),
        response,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const plan = await migration.planRebalance(name);
      if (request.query.dry_run) {
        return movePlanDocument({ action: 'pool rebalance', target: name }, plan);
      }
      return answerOperation(
        reply,
        operations.begin({
          operation: 'pool-rebalance',
          target: name,
          phase: 'moving',
          parameters: request.body,
        }),
      );
    },
  );

  app.post(
    '/v1/volumes/:name/actions/move',
    {
      schema: {
        tags: ['volume'],
        summary:
          'Moves a volume and its snapshots to a class or a disk while it is served; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: MoveBody,
        response,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { to, ...rate } = request.body;
      const placement = migration.placementFor(name, to);
      const plan = await migration.planPlacement(name, placement);
      if (request.query.dry_run) {
        return movePlanDocument({ action: 'volume move', target: name }, plan);
      }
      migration.expectNotMoving(name);
      return answerOperation(
        reply,
        operations.begin({
          operation: 'volume-move',
          target: name,
          phase: 'moving',
          parameters: { ...placement, ...rate },
        }),
      );
    },
  );
}
