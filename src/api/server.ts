/**
 * The REST server: routes, limits, errors, OpenAPI. Listens on nothing by itself (service.ts does).
 *
 * Guarantees: bodies over `bodyBytesMax` and requests slower than `requestMs` are refused; every error leaves as a
 * problem (problem.ts); while stopping, changing calls are refused and reading ones answered.
 */
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { StorageError } from '../base/errors.ts';
import { addIdempotency } from './idempotency.ts';
import { lazySchemas } from './lazy-schemas.ts';
import { openapiDocument } from './openapi.ts';
import type { ApiServices } from './ports.ts';
import { problemOf, problemType, toStorageError } from './problem.ts';
import type { ApiApp } from './route-kit.ts';
import { addRoutes } from './routes/all.ts';

const bodyBytesMax = 256 * 1024;
const requestMs = 60_000;
/** A disk may be named by its path, percent-encoded. */
const paramCharsMax = 3 * 4096;

export async function buildServer(
  services: ApiServices,
  logger: FastifyBaseLogger,
): Promise<ApiApp> {
  const app: ApiApp = Fastify({
    loggerInstance: logger,
    // One line per request of our own, see onResponse.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyBytesMax,
    requestTimeout: requestMs,
    routerOptions: { maxParamLength: paramCharsMax },
    // Of addresses that cannot even be read.
    frameworkErrors: (error, request, reply) => {
      answerProblem(error, request as never, reply as never);
    },
    ajv: { customOptions: { removeAdditional: false } },
    schemaController: lazySchemas,
    schemaErrorFormatter: (errors, part) => new Error(describe(part, errors)),
  });
  addErrors(app);
  addIdempotency(app as never);
  app.addHook('onRequest', async (request) => {
    if (!services.service.stopping || request.method === 'GET') return;
    throw new StorageError('service/stopping', 'the service is stopping', {
      actions: ['repeat it when the service runs again'],
    });
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request;
    request.log.debug({ method, url, status: reply.statusCode, ms: reply.elapsedTime }, 'request');
  });
  await app.register((scope) => addRoutes(scope as ApiApp, services));
  app.get('/v1/openapi.json', () => openapiDocument(services));
  await app.ready();
  return app;
}

function addErrors(app: ApiApp): void {
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request) => {
    throw new StorageError(
      'request/not-found',
      `nothing answers ${request.method} ${request.url}`,
      {
        actions: ['GET /v1/openapi.json lists what there is'],
      },
    );
  });
}

function answerProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
  const error = toStorageError(thrown);
  if (error.code === 'service/internal') request.log.error({ err: thrown }, 'request failed');
  const problem = problemOf(error);
  return reply.code(problem.status).type(problemType).serializer(JSON.stringify).send(problem);
}

type SchemaErrors = NonNullable<FastifyError['validation']>;

/** Names the field, also the one that does not belong there. */
function describe(part: string, errors: SchemaErrors): string {
  const [error] = errors;
  if (error === undefined) return `${part} is not valid`;
  const where = error.instancePath.slice(1).replaceAll('/', '.') || part;
  const extra = error.params.additionalProperty;
  if (extra !== undefined) return `${part} has an unknown field ${String(extra)}`;
  return `${where} ${error.message ?? 'is not valid'}`;
}
