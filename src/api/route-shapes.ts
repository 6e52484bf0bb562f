/**
 * The shapes that most routes have: a list in pages, one thing with its ETag, a change that leaves nothing to show.
 *
 * Guarantees for every route made here: lists page alike; what is shown with a tag can be changed only on that tag
 * when If-Match asks for it; a dry run makes every check and answers a Plan.
 */
import type { FastifyReply } from 'fastify';
import { type Static, type TObject, type TProperties, type TSchema, Type } from 'typebox';
import { type Effect, envelope, planDocument, resultDocument } from './documents.ts';
import { PageQuery, page } from './paging.ts';
import { checkIfMatch } from './precondition.ts';
import {
  type ApiApp,
  ConditionHeaders,
  DryRunQuery,
  defined,
  NameParams,
  problems,
  tag,
} from './route-kit.ts';
import { type OperationItem, Plan, Result } from './schemas.ts';

/** What a call that begins an operation answers. */
export function answerOperation(reply: FastifyReply, operation: OperationItem) {
  reply.code(202).header('location', `/v1/operations/${operation.id}`);
  return envelope('Operation', operation);
}

interface ListRoute<T> {
  readonly tag: string;
  readonly path: string;
  /** Of the document: `PoolList`. */
  readonly kind: string;
  readonly schema: TSchema;
  /** The field of the query that chooses among the items. */
  readonly filter?: string;
  readonly items: (filter: string | undefined) => T[] | Promise<T[]>;
  /** Unique; items come in its order. */
  readonly key: (item: T) => string;
}

/** GET of a list, in pages. */
export function listRoute<T>(app: ApiApp, route: ListRoute<T>): void {
  const { filter, kind } = route;
  const chosen = filter === undefined ? {} : { [filter]: Type.Optional(Type.String()) };
  const querystring = Type.Object({ ...chosen, ...PageQuery.properties });
  const response = { 200: route.schema, ...problems };
  app.get(route.path, { schema: { tags: [route.tag], querystring, response } }, async (request) => {
    const query = request.query as Static<typeof PageQuery> & Readonly<Record<string, string>>;
    const items = await route.items(filter === undefined ? undefined : query[filter]);
    return envelope(kind, page(items, route.key, query));
  });
}

interface OneRoute<T> {
  readonly tag: string;
  /** With one parameter in it, that names the thing. */
  readonly path: string;
  /** `name`, unless it is given. */
  readonly params?: TObject;
  readonly find: (name: string) => T;
  /** What its ETag covers. */
  readonly configuration: (found: T) => object;
}

interface ShowRoute<T> extends OneRoute<T> {
  readonly kind: string;
  readonly schema: TSchema;
  readonly item: (found: T) => object | Promise<object>;
}

/** GET of one thing, with its ETag. */
export function showRoute<T>(app: ApiApp, route: ShowRoute<T>): void {
  const { params = NameParams, kind } = route;
  const response = { 200: route.schema, ...problems };
  app.get(
    route.path,
    { schema: { tags: [route.tag], params, response } },
    async (request, reply) => {
      const found = route.find(onlyParam(request.params));
      tag(reply, route.configuration(found));
      return envelope(kind, await route.item(found));
    },
  );
}

interface ResultRoute<T, Q extends TProperties> extends OneRoute<T> {
  readonly method: 'DELETE' | 'POST';
  readonly summary: string;
  /** Fields of the query besides `dry_run`. */
  readonly query?: Q;
  /** As the command has it: `pool delete`. */
  readonly action: string;
  /** Does it, or with `dryRun` only checks; what it returns joins the Result, or the Plan. */
  readonly work: (
    found: T,
    options: { dryRun?: boolean },
    query: Static<TObject<Q>>,
  ) => Promise<Partial<Effect> | undefined>;
}

/** A change of one thing that leaves nothing to show. */
export function resultRoute<T, Q extends TProperties = Record<never, never>>(
  app: ApiApp,
  route: ResultRoute<T, Q>,
): void {
  const { action, params = NameParams } = route;
  app.route({
    method: route.method,
    url: route.path,
    schema: {
      tags: [route.tag],
      summary: route.summary,
      params,
      querystring: Type.Object({ ...route.query, ...DryRunQuery.properties }),
      headers: ConditionHeaders,
      response: { 200: Type.Union([Result, Plan]), ...problems },
    },
    handler: async (request) => {
      const target = onlyParam(request.params);
      const found = route.find(target);
      checkIfMatch(request.headers['if-match'], route.configuration(found));
      const { dry_run: dryRun } = request.query as Static<typeof DryRunQuery>;
      const query = request.query as Static<TObject<Q>>;
      const done = await route.work(found, defined({ dryRun }), query);
      const effect = { action, target, ...done };
      return dryRun ? planDocument(effect) : resultDocument(effect);
    },
  });
}

function onlyParam(params: object): string {
  return Object.values(params)[0] as string;
}
