/**
 * varve events: the list, or the stream as it comes. A stream that breaks is taken up behind the last event seen.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventItem } from '../api/schemas.ts';
import type { Call } from './client.ts';
import type { Context } from './context.ts';
import { parseSince } from './duration.ts';
import { CommandError } from './errors.ts';
import { writeList } from './output.ts';
import { eventView } from './views.ts';

/** A service that restarts is back within seconds. */
const reconnectMs = 30_000;
const retryMs = 500;

export async function writeEvents(
  context: Context,
  options: { follow?: boolean; since?: string },
): Promise<void> {
  const since = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  if (options.follow) return follow(context, since);
  writeList(context, await context.client.list('/v1/events', { since }), eventView);
}

/** Ends only with an error: when the service stays away. */
async function follow(context: Context, since: string | undefined): Promise<never> {
  let lastId: number | undefined;
  let lastSeenMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      const call = streamCall(lastId, since);
      for await (const event of eventsIn(await context.client.open('/v1/events', call))) {
        lastId = event.id;
        writeEvent(context, event);
      }
      lastSeenMs = Date.now();
    } catch (error) {
      if (!isAway(error) || Date.now() - lastSeenMs > reconnectMs) throw error;
    }
    await sleep(retryMs);
  }
}

function streamCall(lastId: number | undefined, since: string | undefined): Call {
  const accept = { accept: 'text/event-stream' };
  if (lastId === undefined) return { query: { since }, headers: accept };
  return { headers: { ...accept, 'last-event-id': String(lastId) } };
}

/** Reads server-sent events; only their data matters, the id is in it. */
async function* eventsIn(response: IncomingMessage): AsyncGenerator<EventItem> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length)) as EventItem;
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
}

function writeEvent(context: Context, event: EventItem): void {
  context.write(`${eventLine(context, event)}\n`);
}

function eventLine(context: Context, event: EventItem): string {
  if (context.json) return JSON.stringify({ api_version: '1', kind: 'Event', ...event });
  if (context.options.output === 'name') return String(event.id);
  return `${event.time}  ${event.level.padEnd(7)}  ${event.event}  ${event.message}`;
}

function isAway(error: unknown): boolean {
  return error instanceof CommandError && error.code === 'service/unreachable';
}
