/**
 * /v1/volumes/{name}/actions/leave: a volume is written out as a plain disk.
 */
import { Type } from 'typebox';
import { planDocument } from '../documents.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan } from '../schemas.ts';
import { RateField } from './movements.ts';

const LeaveBody = body({
  disk: Type.String({ minLength: 1, maxLength: 4096, description: 'URI of a disk or a file' }),
  snapshot: Type.Optional(
    Type.String({ description: 'of the volume, in place of what it is now' }),
  ),
  force: Type.Optional(Type.Boolean({ description: 'overwrite whatever the disk carries' })),
  ...RateField,
});

export function leaveRoutes(app: ApiApp, { leave, operations }: ApiServices): void {
  app.post(
    '/v1/volumes/:name/actions/leave',
    {
      schema: {
        tags: ['volume'],
        summary:
          'Writes the volume to a plain disk or file and compares; the volume stays; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        body: LeaveBody,
        response: { 200: Plan, 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { name: volume } = request.params;
      const { disk, snapshot, force, rate_bytes_per_second } = request.body;
      const found = await leave.plan({ volume, disk, ...defined({ snapshot, force }) });
      const target = snapshot === undefined ? volume : `${volume}@${snapshot}`;
      if (request.query.dry_run) {
        const { copiedBytes } = found;
        return planDocument({ action: 'volume leave', target, copiedBytes });
      }
      const parameters = { ...found.plan, ...defined({ rate_bytes_per_second }) };
      const spec = { operation: 'volume-leave', target, phase: 'copying', parameters };
      return answerOperation(reply, operations.begin(spec, 'disk'));
    },
  );
}
