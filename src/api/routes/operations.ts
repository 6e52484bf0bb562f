/**
 * /v1/operations: list (newest first), show, cancel, pause, resume.
 */
import { Type } from 'typebox';
import { envelope, planDocument } from '../documents.ts';
import { isEnded } from '../operations.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, DryRunQuery, problems } from '../route-kit.ts';
import { listRoute } from '../route-shapes.ts';
import { Operation, OperationList, Plan } from '../schemas.ts';

const IdParams = Type.Object({ id: Type.String({ maxLength: 64 }) });

/** Larger than any operation's number will be; subtracting turns the order around. */
const numberCeiling = 10 ** 15;

const actions = [
  ['cancel', 'Asks the operation to stop; what it has done stays or is undone, as its kind says'],
  ['pause', 'The operation stops at its next step; not every kind can'],
  ['resume', 'The operation goes on'],
] as const;

export function operationRoutes(app: ApiApp, services: ApiServices): void {
  const { operations } = services;
  const tags = ['op'];

  listRoute(app, {
    tag: 'op',
    path: '/v1/operations',
    kind: 'OperationList',
    schema: OperationList,
    items: () => operations.list(),
    key: newestFirst,
  });

  app.get(
    '/v1/operations/:id',
    { schema: { tags, params: IdParams, response: { 200: Operation, ...problems } } },
    async (request) => envelope('Operation', operations.get(request.params.id)),
  );

  for (const [action, summary] of actions) {
    app.post(
      `/v1/operations/:id/actions/${action}`,
      {
        schema: {
          tags,
          summary,
          params: IdParams,
          querystring: DryRunQuery,
          response: { 200: Type.Union([Operation, Plan]), ...problems },
        },
      },
      async (request) => {
        const { id } = request.params;
        if (!request.query.dry_run) return envelope('Operation', operations[action](id));
        const changed = !isEnded(operations.get(id));
        return planDocument({ action: `op ${action}`, target: id, changed });
      },
    );
  }
}

function newestFirst({ id }: { id: string }): string {
  return String(numberCeiling - Number(id.slice('op-'.length)));
}
