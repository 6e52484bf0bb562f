/**
 * What every file in routes/ shares: the app's type, common schemas, answers to changing calls.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import { type TProperties, Type } from 'typebox';
import { etagOf } from './precondition.ts';
import { Problem } from './schemas.ts';

export type ApiApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

const problem = {
  description: 'RFC 9457 problem; `code` is stable',
  content: { 'application/problem+json': { schema: Problem } },
};

/** Every route may answer so. */
export const problems = { '4xx': problem, '5xx': problem };

export const NameParams = Type.Object({ name: Type.String({ maxLength: 255 }) });

export const ConditionHeaders = Type.Object({
  'if-match': Type.Optional(Type.String({ description: 'ETag that the change was decided on' })),
});

export const DryRunQuery = Type.Object({ dry_run: dryRun() });

/** Unknown fields are refused by name: a mistyped one must not be taken for a default. */
export function body<P extends TProperties>(fields: P) {
  return Type.Object(fields, { additionalProperties: false });
}

export function dryRun() {
  return Type.Optional(
    Type.Boolean({ description: 'make every check, tell what would happen, do nothing' }),
  );
}

/** 201 for what was made, 200 for what was there already. */
export function createdOr200(changed: boolean): 200 | 201 {
  return changed ? 201 : 200;
}

export function tag(reply: FastifyReply, configuration: object): void {
  reply.header('etag', etagOf(configuration));
}

/** Copies the fields that are set: absent and undefined mean the same to a caller, not to the compiler. */
export function defined<T extends object>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
