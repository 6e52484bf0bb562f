/**
 * /v1/events: what happened, as a list or, for `Accept: text/event-stream`, as it happens (SSE).
 *
 * A stream begins behind `Last-Event-ID` (or `after`), so that a client that lost its connection misses nothing that
 * is still remembered. A reader that does not keep up is let go; it comes back with its last id.
 */
import type { ServerResponse } from 'node:http';
import { Type } from 'typebox';
import { StorageError } from '../../base/errors.ts';
import { envelope } from '../documents.ts';
import type { EventLog } from '../event-log.ts';
import type { ApiServices } from '../ports.ts';
import { type ApiApp, problems } from '../route-kit.ts';
import { type EventItem, EventList } from '../schemas.ts';

const EventQuery = Type.Object({
  after: Type.Optional(Type.Integer({ minimum: 0, description: 'only events with a larger id' })),
  since: Type.Optional(Type.String({ description: 'RFC 3339: only events from then on' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  page_token: Type.Optional(Type.String({ maxLength: 32 })),
});

const EventHeaders = Type.Object({
  accept: Type.Optional(Type.String()),
  'last-event-id': Type.Optional(Type.String()),
});

/** Proxies close connections that are silent for longer. */
const heartbeatMs = 15_000;
const unreadBytesMax = 1024 * 1024;
const eventsDefault = 1000;

export function eventRoutes(app: ApiApp, services: ApiServices): void {
  const { events } = services;
  const streams = new Set<ServerResponse>();
  app.addHook('preClose', async () => {
    for (const stream of streams) stream.end();
  });

  app.get(
    '/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Events; with Accept: text/event-stream as a stream',
        querystring: EventQuery,
        headers: EventHeaders,
        response: { 200: EventList, ...problems },
      },
    },
    async (request, reply) => {
      const { after, since, limit = eventsDefault, page_token: token } = request.query;
      const sinceMs = since === undefined ? 0 : parseTime(since);
      if (!(request.headers.accept ?? '').includes('text/event-stream')) {
        const found = events.after(Math.max(after ?? 0, Number(token ?? 0)), sinceMs);
        return envelope('EventList', firstOf(found, limit));
      }
      const lastId = after ?? lastEventId(request.headers['last-event-id']);
      // Who asks for no past gets none.
      const begin = lastId ?? (since === undefined ? events.lastId : 0);
      reply.hijack();
      streams.add(reply.raw);
      reply.raw.once('close', () => streams.delete(reply.raw));
      stream(reply.raw, events, begin, sinceMs);
    },
  );
}

function firstOf(found: EventItem[], limit: number) {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  if (last === undefined || items.length === found.length) return { items };
  return { items, next_page_token: String(last.id) };
}

function stream(
  response: ServerResponse,
  events: EventLog,
  afterId: number,
  sinceMs: number,
): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const write = (text: string) => {
    response.write(text);
    if (response.writableLength > unreadBytesMax) response.destroy();
  };
  const tell = (event: EventItem) =>
    write(`id: ${event.id}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
  // Says at once that the stream is open.
  write(': open\n\n');
  for (const event of events.after(afterId, sinceMs)) tell(event);
  const unsubscribe = events.subscribe(tell);
  const heartbeat = setInterval(() => write(': \n\n'), heartbeatMs);
  response.once('close', () => {
    unsubscribe();
    clearInterval(heartbeat);
  });
}

function lastEventId(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,15}$/.test(header)) return Number(header);
  throw new StorageError('request/invalid', `Last-Event-ID ${header} is no event's id`);
}

function parseTime(text: string): number {
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new StorageError('request/invalid', `${text} is no time as RFC 3339 writes it`);
}
