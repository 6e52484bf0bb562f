/**
 * The OpenAPI document, from the routes' schemas.
 *
 * Made when somebody asks for it: what makes it, a library for YAML among it, would stay in the memory of every service otherwise.
 */
import Fastify from 'fastify';
import { lazySchemas } from './lazy-schemas.ts';
import type { ApiServices } from './ports.ts';
import type { ApiApp } from './route-kit.ts';
import { addRoutes } from './routes/all.ts';
import { apiVersion } from './schemas.ts';

/** Its head. */
const openapi = {
  openapi: '3.1.0',
  info: {
    title: 'varve',
    description:
      'Pools of backing disks, thin volumes, NBD exports. Served on the unix socket of the service.',
    version: apiVersion,
  },
};

/** Of every route but its own; made anew each time. */
export async function openapiDocument(services: ApiServices) {
  const { default: swagger } = await import('@fastify/swagger');
  const app = Fastify({ schemaController: lazySchemas });
  await app.register(swagger, { openapi });
  await app.register((scope) => addRoutes(scope as ApiApp, services));
  await app.ready();
  return app.swagger();
}
