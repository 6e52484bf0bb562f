/**
 * /v1/volumes/{name}/actions: clone, revert, flatten.
 */
import { Type } from 'typebox';
import { formatSnapshotName, parseSnapshotName } from '../../snapshot/names.ts';
import { envelope, planDocument, volumeItem } from '../documents.ts';
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
} from '../route-kit.ts';
import { Operation, Plan, Reversion, Volume } from '../schemas.ts';
import { configuration } from './volumes.ts';

const CloneBody = body({ source: Type.String({ description: 'VOLUME@SNAPSHOT' }) });

const RevertBody = body({
  snapshot: Type.String({ description: 'its name, without the volume' }),
  force: Type.Optional(Type.Boolean({ description: 'connections of clients are closed first' })),
  discard: Type.Optional(Type.Boolean({ description: 'what the volume is now is not kept' })),
});

export function volumeActionRoutes(app: ApiApp, services: ApiServices): void {
  const { snapshots, volumes } = services;
  const tags = ['volume'];
  const document = (name: string, changed: boolean) => {
    const volume = volumes.get(name);
    const exported = services.exports.nameOfVolume(name);
    return envelope('Volume', { ...volumeItem(volume, exported), changed });
  };

  app.post(
    '/v1/volumes/:name/actions/clone',
    {
      schema: {
        tags,
        summary: 'Makes the volume as a linked clone of a snapshot, or confirms it',
        params: NameParams,
        querystring: DryRunQuery,
        body: CloneBody,
        response: { 200: Type.Union([Volume, Plan]), 201: Volume, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { dry_run: dryRun } = request.query;
      const source = parseSnapshotName(request.body.source);
      const { changed } = await snapshots.clone(source, name, defined({ dryRun }));
      if (dryRun) return planDocument({ action: 'volume clone', target: name, changed });
      reply.code(createdOr200(changed));
      return document(name, changed);
    },
  );

  app.post(
    '/v1/volumes/:name/actions/revert',
    {
      schema: {
        tags,
        summary: 'Makes the volume what it was at a snapshot; what it is now is kept as another',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ConditionHeaders,
        body: RevertBody,
        response: { 200: Type.Union([Reversion, Plan]), ...problems },
      },
    },
    async (request) => {
      const { name } = request.params;
      const { snapshot, force, discard } = request.body;
      const { dry_run: dryRun } = request.query;
      const before = volumes.get(name);
      checkIfMatch(request.headers['if-match'], configuration(before));
      const options = defined({ force, discard, dryRun });
      const { safety, pauseSeconds, changed } = await snapshots.revert(name, snapshot, options);
      const freedBytes = discard && changed ? before.exclusiveBytes : 0;
      if (dryRun) {
        const target = formatSnapshotName({ volume: name, snapshot });
        return planDocument({ action: 'volume revert', target, changed, freedBytes });
      }
      return envelope('Reversion', {
        volume: name,
        snapshot,
        safety,
        pause_seconds: pauseSeconds,
        freed_bytes: freedBytes,
        changed,
      });
    },
  );

  app.post(
    '/v1/volumes/:name/actions/flatten',
    {
      schema: {
        tags,
        summary: 'Copies what the volume inherits, so that it needs no parent; an operation',
        params: NameParams,
        querystring: DryRunQuery,
        headers: ConditionHeaders,
        response: { 200: Type.Union([Volume, Plan]), 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { dry_run: dryRun } = request.query;
      const before = volumes.get(name);
      checkIfMatch(request.headers['if-match'], configuration(before));
      const changed = before.hasParent;
      if (dryRun) {
        const copiedBytes = changed ? await snapshots.inheritedBytes(name) : 0;
        return planDocument({ action: 'volume flatten', target: name, changed, copiedBytes });
      }
      if (!changed) return document(name, false);
      const operation = startFlatten(services, name);
      reply.code(202).header('location', `/v1/operations/${operation.id}`);
      return envelope('Operation', operation);
    },
  );
}

/** One operation per volume: asking again while it runs names the same one. */
function startFlatten({ operations, snapshots }: ApiServices, name: string) {
  const spec = { operation: 'volume-flatten', target: name, phase: 'copying' };
  const running = operations.find(spec.operation, spec.target);
  if (running !== undefined) return running;
  return operations.start(spec, async ({ report, signal }) => {
    await snapshots.flatten(name, report, signal);
  });
}
