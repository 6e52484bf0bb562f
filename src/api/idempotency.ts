/**
 * Idempotency-Key: a POST repeated under the same key gets the first answer and does nothing again.
 *
 * Bounded and in memory: the newest `keysKept` keys of this life of the service, and only answers that are not
 * errors of the service (those may be tried again).
 */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { StorageError } from '../base/errors.ts';

const keysKept = 1000;
const keyCharsMax = 255;

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: unknown;
}

interface Known {
  readonly request: string;
  answer: Answer | null;
}

/** Adds the hooks to the instance; routes know nothing of them. */
export function addIdempotency(app: FastifyInstance): void {
  const known = new Map<string, Known>();
  const owned = new WeakMap<FastifyRequest, string>();

  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) return;
    const digest = digestOf(request);
    const earlier = known.get(key);
    if (earlier === undefined) {
      forgetOldest(known);
      known.set(key, { request: digest, answer: null });
      owned.set(request, key);
      return;
    }
    const answer = earlierAnswer(key, earlier, digest);
    if (answer.location !== undefined) reply.header('location', answer.location);
    return reply.code(answer.status).type('application/json').send(answer.body);
  });

  app.addHook('onSend', async (request, reply, body) => {
    const key = owned.get(request);
    if (key === undefined) return;
    const entry = known.get(key);
    if (reply.statusCode >= 400 || entry === undefined) {
      known.delete(key);
      return;
    }
    const location = reply.getHeader('location');
    entry.answer = { status: reply.statusCode, location: location as string | undefined, body };
  });
}

function keyOf(request: FastifyRequest): string | undefined {
  if (request.method !== 'POST') return undefined;
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && key.length > 0 && key.length <= keyCharsMax) return key;
  throw new StorageError('request/invalid', `Idempotency-Key has 1 to ${keyCharsMax} characters`);
}

function digestOf(request: FastifyRequest): string {
  const text = `${request.url}\n${JSON.stringify(request.body ?? null)}`;
  return createHash('sha256').update(text).digest('base64');
}

function earlierAnswer(key: string, earlier: Known, digest: string): Answer {
  if (earlier.request !== digest) {
    throw new StorageError('request/idempotency', `key ${key} was sent with another request`, {
      actions: ['use a new Idempotency-Key for every new request'],
    });
  }
  if (earlier.answer !== null) return earlier.answer;
  throw new StorageError('request/idempotency', `the request with key ${key} is still running`, {
    actions: ['wait for its answer'],
  });
}

/** Maps remember insertion: the first key is the oldest. */
function forgetOldest(known: Map<string, Known>): void {
  if (known.size < keysKept) return;
  const oldest = known.keys().next().value;
  if (oldest !== undefined) known.delete(oldest);
}
