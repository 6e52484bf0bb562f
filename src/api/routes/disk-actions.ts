/**
 * /v1/disks/{disk}: change of class, and the actions cordon, uncordon, drain, replace.
 */
import { Type } from 'typebox';
import { diskItem, envelope, planDocument } from '../documents.ts';
import { findPoolDisk } from '../find-disk.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, body, DryRunQuery, defined, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Disk, Operation, Plan } from '../schemas.ts';
import { DiskParams } from './disks.ts';
import { movePlanDocument, RateField } from './movements.ts';

const DiskChanges = body({
  class: Type.Union([Type.String(), Type.Null()], { description: 'null: none' }),
});

const ReplaceBody = body({
  uri: Type.String({ minLength: 1, maxLength: 4096, description: 'of the disk that takes over' }),
  force: Type.Optional(Type.Boolean({ description: 'overwrite whatever that disk carries' })),
  ...RateField,
});

export function diskActionRoutes(app: ApiApp, services: ApiServices): void {
  const { migration, operations, pools } = services;
  const tags = ['disk'];

  app.patch(
    '/v1/disks/:disk',
    {
      schema: {
        tags,
        summary: 'Labels the disk for placement',
        params: DiskParams,
        querystring: DryRunQuery,
        body: DiskChanges,
        response: { 200: Type.Union([Disk, Plan]), ...problems },
      },
    },
    async (request) => {
      const found = findPoolDisk(pools, request.params.disk);
      const { dry_run: dryRun } = request.query;
      const label = request.body.class;
      const { disk, changed } = await migration.setClass(found, label, defined({ dryRun }));
      if (dryRun) return planDocument({ action: 'disk set-class', target: disk.uri, changed });
      return envelope('Disk', { ...diskItem(disk), changed });
    },
  );

  for (const action of ['cordon', 'uncordon'] as const) {
    app.post(
      `/v1/disks/:disk/actions/${action}`,
      {
        schema: {
          tags,
          summary:
            action === 'cordon' ? 'The disk takes no new data' : 'The disk takes new data again',
          params: DiskParams,
          querystring: DryRunQuery,
          response: { 200: Type.Union([Disk, Plan]), ...problems },
        },
      },
      async (request) => {
        const found = findPoolDisk(pools, request.params.disk);
        const { dry_run: dryRun } = request.query;
        const cordoned = action === 'cordon';
        const { disk, changed } = await migration.setCordoned(found, cordoned, defined({ dryRun }));
        if (dryRun) return planDocument({ action: `disk ${action}`, target: disk.uri, changed });
        return envelope('Disk', { ...diskItem(disk), changed });
      },
    );
  }

  app.post(
    '/v1/disks/:disk/actions/drain',
    {
      schema: {
        tags,
        summary: 'Moves all data off the disk while guests run; an operation',
        params: DiskParams,
        querystring: DryRunQuery,
        body: body(RateField),
        response: { 200: Plan, 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const disk = findPoolDisk(pools, request.params.disk);
      const plan = await migration.planDrain(disk);
      if (request.query.dry_run) {
        const changed = plan.copiedBytes > 0 || !disk.cordoned;
        return movePlanDocument({ action: 'disk drain', target: disk.uri, changed }, plan);
      }
      const operation = operations.begin({
        operation: 'disk-drain',
        target: disk.uri,
        phase: 'moving',
        parameters: { disk: disk.uuid, ...request.body },
      });
      return answerOperation(reply, operation);
    },
  );

  app.post(
    '/v1/disks/:disk/actions/replace',
    {
      schema: {
        tags,
        summary: 'Adds a disk, moves everything from this one, removes it; an operation',
        params: DiskParams,
        querystring: DryRunQuery,
        body: ReplaceBody,
        response: { 200: Plan, 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const disk = findPoolDisk(pools, request.params.disk);
      const { uri, force, ...rate } = request.body;
      const { dry_run: dryRun } = request.query;
      const options = defined({ force, dryRun });
      const { plan, replacement } = await migration.beginReplace(disk, uri, options);
      if (dryRun) {
        return movePlanDocument({ action: 'disk replace', target: disk.uri, changed: true }, plan);
      }
      return answerOperation(
        reply,
        operations.begin({
          operation: 'disk-replace',
          target: disk.uri,
          phase: 'moving',
          parameters: { disk: disk.uuid, replacement: replacement.uuid, ...rate },
        }),
      );
    },
  );
}
