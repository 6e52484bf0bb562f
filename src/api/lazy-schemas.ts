/**
 * Compilers of the routes' schemas that work when a schema is first used, not at the start.
 *
 * Compiling all of them takes most of a second of the event loop, in which guests that have just got their disks back would wait for
 * what the page table does not know yet. A schema that cannot be compiled is found by the tests, which use every route.
 */
import buildValidator from '@fastify/ajv-compiler';
import buildSerializer from '@fastify/fast-json-stringify-compiler';
import type { FastifyServerOptions } from 'fastify';

/** A validator or a serializer; a validator says what was wrong in `errors`, where Fastify looks for it. */
interface Compiled {
  (data: unknown): unknown;
  errors?: unknown;
}
type Compile = (route: unknown) => Compiled;
type Build = (schemas: unknown, options: unknown) => Compile;

export const lazySchemas = {
  compilersFactory: {
    buildValidator: lazy(buildValidator() as Build),
    buildSerializer: lazy(buildSerializer() as Build),
  },
} as NonNullable<FastifyServerOptions['schemaController']>;

function lazy(build: Build): Build {
  return (schemas, options) => {
    const compiler = once(() => build(schemas, options));
    return (route) => lazilyCompiled(once(() => compiler()(route)));
  };
}

function lazilyCompiled(compiled: () => Compiled): Compiled {
  const call: Compiled = (data) => {
    const result = compiled()(data);
    call.errors = compiled().errors;
    return result;
  };
  return call;
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
