/**
 * Backups: /v1/volumes/{name}/actions/send writes a stream to a file, GET …/backup answers one; …/actions/receive reads one from a file, or from
 * what is sent to /v1/operations/{id}/input.
 */
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Type } from 'typebox';
import type { SentSnapshot } from '../../backup/backup-send.ts';
import { StorageError } from '../../base/errors.ts';
import { MiB } from '../../base/units.ts';
import { BackupInputs } from '../backup-inputs.ts';
import { envelope, planDocument, resultDocument } from '../documents.ts';
import type { Parameters } from '../operations.ts';
import type { ApiServices } from '../ports.ts';
import { paced } from '../resumable.ts';
import { type ApiApp, body, DryRunQuery, defined, NameParams, problems } from '../route-kit.ts';
import { answerOperation } from '../route-shapes.ts';
import { Operation, Plan, Result } from '../schemas.ts';
import { RateField } from './movements.ts';

const octets = 'application/octet-stream';
const partBytesMax = 8 * MiB;

const FileName = Type.String({
  minLength: 1,
  maxLength: 4096,
  description: "an absolute path on the service's host",
});
const Snapshot = Type.String({ description: 'of the volume' });
const From = Type.Optional(
  Type.String({ description: 'an earlier snapshot or bookmark of it: only what changed is sent' }),
);

const SendBody = body({
  snapshot: Snapshot,
  from: From,
  file: FileName,
  force: Type.Optional(Type.Boolean({ description: 'replace a file that is there' })),
  ...RateField,
});
const StreamQuery = Type.Object({
  snapshot: Snapshot,
  from: From,
  ...RateField,
  ...DryRunQuery.properties,
});
const ReceiveBody = body({
  file: Type.Optional(FileName),
  pool: Type.Optional(Type.String({ description: 'the only pool, when there is one' })),
  class: Type.Optional(Type.String({ description: 'of the disks that its data is to lie on' })),
  ...RateField,
});
const InputQuery = Type.Object({
  offset: Type.Integer({ minimum: 0, description: 'bytes of the stream before this part' }),
  last: Type.Optional(Type.Boolean({ description: 'nothing comes behind it' })),
});

/** Streams, and what is refused. */
const streamed = {
  200: {
    description: 'the stream; what would be sent, with dry_run',
    content: { [octets]: { schema: {} }, 'application/json': { schema: Plan } },
  },
  ...problems,
};

export function backupRoutes(app: ApiApp, services: ApiServices): void {
  sendRoutes(app, services);
  receiveRoutes(app, services);
}

function sendRoutes(app: ApiApp, { backups, operations }: ApiServices): void {
  const common = { tags: ['volume'], params: NameParams };

  app.post(
    '/v1/volumes/:name/actions/send',
    {
      schema: {
        ...common,
        summary: 'Writes a snapshot, or what changed since another, to a file; an operation',
        querystring: DryRunQuery,
        body: SendBody,
        response: { 200: Type.Union([Plan, Result]), 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { snapshot, from, file, force = false, rate_bytes_per_second } = request.body;
      const sent = { volume: request.params.name, snapshot, ...defined({ from }) };
      const target = `${sent.volume}@${snapshot}`;
      const plan = await backups.send.plan(sent);
      const changed = await backups.send.expectTarget({ ...sent, file }, { force });
      const told = { action: 'backup send', target, changed };
      if (request.query.dry_run) {
        return planDocument({ ...told, copiedBytes: changed ? plan.copiedBytes : 0 });
      }
      if (!changed) return resultDocument(told);
      const parameters = { ...sent, file, ...defined({ rate_bytes_per_second }) };
      const spec = { operation: 'backup-send', target, phase: 'copying', parameters };
      return answerOperation(reply, operations.begin(spec, 'file'));
    },
  );

  app.get(
    '/v1/volumes/:name/backup',
    {
      schema: {
        ...common,
        summary: 'A snapshot, or what changed since another, as a stream; location: its operation',
        querystring: StreamQuery,
        response: streamed,
      },
    },
    async (request, reply) => {
      const { snapshot, from, rate_bytes_per_second, dry_run: dryRun } = request.query;
      const sent = { volume: request.params.name, snapshot, ...defined({ from }) };
      const target = `${sent.volume}@${snapshot}`;
      const { copiedBytes } = await backups.send.plan(sent);
      if (dryRun) {
        const plan = planDocument({ action: 'backup send', target, copiedBytes });
        return reply.type('application/json').send(plan as never);
      }
      const parameters = { ...sent, ...defined({ rate_bytes_per_second }) };
      const { stream, id } = beginStream({ backups, operations }, parameters, target);
      reply.header('location', `/v1/operations/${id}`);
      return reply.type(octets).send(stream as never);
    },
  );
}

function beginStream(
  { backups, operations }: Pick<ApiServices, 'backups' | 'operations'>,
  sent: SentSnapshot & Parameters,
  target: string,
): { stream: PassThrough; id: string } {
  const stream = new PassThrough({ highWaterMark: 2 * MiB });
  const spec = { operation: 'backup-send-stream', target, phase: 'copying', parameters: sent };
  const { id } = operations.start(spec, async (context) => {
    try {
      const bytes = backups.send.stream(sent, paced(sent, context));
      await pipeline(bytes, stream, { signal: context.signal });
    } catch (error) {
      throw hasGone(error) ? new StorageError('backup/cut', 'whoever read it has gone') : error;
    }
  });
  return { stream, id };
}

function hasGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function receiveRoutes(app: ApiApp, { backups, operations }: ApiServices): void {
  const inputs = new BackupInputs(operations);

  app.post(
    '/v1/volumes/:name/actions/receive',
    {
      schema: {
        tags: ['volume'],
        summary:
          'Makes of a stream what was sent: the volume, or one more snapshot of it; an operation. Without a file it reads its input',
        params: NameParams,
        querystring: DryRunQuery,
        body: ReceiveBody,
        response: { 200: Type.Union([Plan, Result]), 202: Operation, ...problems },
      },
    },
    async (request, reply) => {
      const { name: target } = request.params;
      const { file, pool, class: label, rate_bytes_per_second } = request.body;
      const asked = defined({ pool, class: label, rate_bytes_per_second });
      const parameters = { name: target, ...asked };
      const { dry_run: dryRun } = request.query;
      if (file === undefined) {
        if (dryRun) throw new StorageError('request/invalid', 'what is to come is not known yet');
        expectNotReceiving(operations, target);
        const spec = { operation: 'backup-receive-input', target, phase: 'copying', parameters };
        const begun = inputs.begin(spec, async (source, context) => {
          const paces = paced(parameters, context);
          const { changed } = await backups.receive.receive(source, parameters, paces);
          context.remember({ changed });
        });
        return answerOperation(reply, begun);
      }
      const plan = { ...parameters, file };
      const running = operations.find('backup-receive', target);
      if (running === undefined || dryRun) {
        const effect = await backups.receive.plan(plan);
        const told = { action: 'backup receive', target, ...effect };
        if (dryRun) return planDocument(told);
        if (!effect.changed) return resultDocument(told);
      }
      const spec = { operation: 'backup-receive', target, phase: 'copying', parameters: plan };
      return answerOperation(reply, operations.begin(spec, 'file'));
    },
  );

  app.register(async (scope) => {
    scope.addContentTypeParser(octets, { parseAs: 'buffer' }, (_, part, done) => done(null, part));
    scope.put(
      '/v1/operations/:id/input',
      {
        bodyLimit: partBytesMax,
        schema: {
          tags: ['op'],
          summary: 'Gives an operation the next part of what it reads; answers when it was read',
          params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
          querystring: InputQuery,
          body: { content: { [octets]: { schema: {} } } },
          response: { 200: Operation, ...problems },
        },
      },
      async (request) => {
        const { id } = request.params as { id: string };
        const { offset, last = false } = request.query as { offset: number; last?: boolean };
        const part: unknown = request.body ?? Buffer.alloc(0);
        if (!Buffer.isBuffer(part)) {
          throw new StorageError('request/invalid', `a part of a stream is ${octets}`);
        }
        await inputs.push(id, offset, part, last);
        return envelope('Operation', operations.get(id));
      },
    );
  });
}

/** @throws StorageError volume/busy */
function expectNotReceiving(operations: ApiServices['operations'], name: string): void {
  const running = operations.find('backup-receive-input', name);
  if (running === undefined) return;
  const message = `volume ${name} is being received by operation ${running.id}`;
  throw new StorageError('volume/busy', message, {
    actions: [`varve op wait ${running.id}, then repeat`, `varve op cancel ${running.id}`],
  });
}
