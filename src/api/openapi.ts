/**
 * The head of the OpenAPI document; its rest comes from the routes' schemas.
 */
import { apiVersion } from './schemas.ts';

export const openapiInfo = {
  openapi: '3.1.0',
  info: {
    title: 'varve',
    description:
      'Pools of backing disks, thin volumes, NBD exports. Served on the unix socket of the service.',
    version: apiVersion,
  },
};
