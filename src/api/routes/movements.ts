/**
 * What moves data and is no disk's: /v1/pools/{name}/actions/rebalance, /v1/volumes/{name}/actions/move.
 */
import { type Static, Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import type { PoolMovePlan } from '../../migration/pool-move/types.ts';
import type { MovePlan } from '../../migration/types.ts';
import { type Effect, planDocument, resultDocument } from '../documents.ts';
import type { OperationSpec, Parameters } from '../operations.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan, Result } from '../schemas.ts';

export const RateField = {
  rate_bytes_per_second: Type.Optional(
    Type.Integer({ minimum: 1, description: 'no faster than that' }),
  ),
};

const day = 86_400;

const MoveBody = body({
  to: Type.Optional(Type.String({ description: 'a class or a disk of the pool, or another pool' })),
  undo: Type.Optional(
    Type.Boolean({ description: 'back to the pool it came from; only what is new is copied' }),
  ),
  finish: Type.Optional(
    Type.Boolean({ description: 'give back what the pool it came from keeps: no undo any more' }),
  ),
  keep_seconds: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 30 * day,
      description: 'how long the move to another pool can be undone; a day unless given',
    }),
  ),
  ...RateField,
});
type MoveFields = Static<typeof MoveBody>;

/** What a movement would do. */
export function movePlanDocument(
  effect: Pick<Effect, 'action' | 'target' | 'changed'>,
  { copiedBytes, roomBytes, volumes, exports }: MovePlan & Pick<Partial<PoolMovePlan>, 'exports'>,
) {
  const changed = effect.changed ?? copiedBytes > 0;
  const affected = [...volumes];
  const served = exports === undefined ? {} : { exports };
  return planDocument({ ...effect, changed, copiedBytes, roomBytes, affected, ...served });
}

/** What is to be done, its plan, and what of it is remembered with the operation. */
interface WantedMove {
  readonly plan: MovePlan & Partial<Pick<PoolMovePlan, 'exports' | 'changed'>>;
  readonly parameters: Parameters;
}

async function wantedMove(
  services: ApiServices,
  name: string,
  fields: MoveFields,
): Promise<WantedMove> {
  const { migration, pools, poolMoves } = services;
  const { to, undo, keep_seconds: keepSeconds = day } = fields;
  if (undo) {
    const plan = await poolMoves.planUndo(name);
    return { plan, parameters: { pool: plan.to, keep_seconds: 0, undo } };
  }
  const target = String(to);
  const placement = migration.findPlacement(name, target);
  if (placement === undefined && pools.list().some((pool) => pool.name === target)) {
    const plan = await poolMoves.plan(name, target);
    return { plan, parameters: { pool: target, keep_seconds: keepSeconds } };
  }
  const found = migration.placementFor(name, target);
  return { plan: await migration.planPlacement(name, found), parameters: { ...found } };
}

/** @throws StorageError request/invalid */
function expectOneWish({ to, undo, finish }: MoveFields): void {
  const wishes = [to !== undefined, undo === true, finish === true].filter(Boolean);
  if (wishes.length === 1) return;
  throw new StorageError('request/invalid', 'give one of to, undo and finish');
}

export function movementRoutes(app: ApiApp, services: ApiServices): void {
  const { migration, operations, poolMoves } = services;
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
          'Moves a volume and its snapshots to a class, a disk or another pool while it is served; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: MoveBody,
        response: { ...response, 200: Type.Union([Plan, Result]) },
      },
    },
    async (request, reply) => {
      const { name: target } = request.params;
      const { dry_run: dryRun = false } = request.query;
      const { rate_bytes_per_second: rate, ...fields } = request.body;
      const effect = { action: 'volume move', target };
      expectOneWish(fields);
      if (fields.finish) {
        const finished = { ...effect, ...(await poolMoves.finish(target, { dryRun })) };
        return dryRun ? planDocument(finished) : resultDocument(finished);
      }
      const { plan, parameters } = await wantedMove(services, target, fields);
      if (dryRun)
        return movePlanDocument({ ...effect, ...defined({ changed: plan.changed }) }, plan);
      if (plan.changed === false) return resultDocument({ ...effect, changed: false });
      const spec = {
        operation: 'volume-move',
        target,
        phase: 'moving',
        parameters: { ...parameters, ...defined({ rate_bytes_per_second: rate }) },
      };
      expectNotMoving(services, spec);
      return answerOperation(reply, operations.begin(spec));
    },
  );
}

/** The same again names the operation that runs. @throws StorageError volume/busy */
function expectNotMoving(
  { migration, operations, poolMoves }: ApiServices,
  { operation, target, parameters }: OperationSpec & { readonly parameters: Parameters },
): void {
  const running = operations.find(operation, target);
  const isSame = (['pool', 'class', 'disk', 'undo'] as const).every(
    (key) => running?.parameters[key] === parameters[key],
  );
  if (running !== undefined && isSame) return;
  migration.expectNotMoving(target);
  poolMoves.expectNotMoving(target);
}
