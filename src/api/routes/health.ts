/**
 * /livez, /readyz, /metrics: for supervisors and Prometheus. Plain text, as both expect.
 */
import { Type } from 'typebox';
import type { Metrics } from '../metrics.ts';
import type { ApiServices } from '../ports.ts';
import type { ApiApp } from '../route-kit.ts';

const ReadyQuery = Type.Object({
  verbose: Type.Optional(Type.String({ description: 'name every condition' })),
});

export function healthRoutes(app: ApiApp, services: ApiServices): void {
  const tags = ['health'];
  let metrics: Promise<Metrics> | undefined;

  app.get('/livez', { schema: { tags, summary: 'The process answers' } }, async (_, reply) => {
    reply.type('text/plain');
    return 'ok\n';
  });

  app.get(
    '/readyz',
    { schema: { tags, summary: '200 when it serves, 503 when not', querystring: ReadyQuery } },
    async (request, reply) => {
      const conditions = services.service.readiness();
      const ready = conditions.every((condition) => condition.ok);
      reply.code(ready ? 200 : 503).type('text/plain');
      const lines = conditions.map(({ name, ok }) => `[${ok ? '+' : '-'}] ${name}\n`);
      const verdict = ready ? 'ok\n' : 'not ready\n';
      return request.query.verbose === undefined ? verdict : `${lines.join('')}${verdict}`;
    },
  );

  app.get('/metrics', { schema: { tags, summary: 'For Prometheus' } }, async (_, reply) => {
    // A service that nobody scrapes has neither the library nor its samplers; those of the process begin with the first scrape.
    metrics ??= import('../metrics.ts').then((module) => new module.Metrics(services));
    const ready = await metrics;
    reply.type(ready.contentType);
    return ready.text();
  });
}
