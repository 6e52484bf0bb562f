// Goal: nobody who comes back with his last id misses an event, and ids outlive restarts and torn files.
// Method: the log on a real file, cut and reopened; the stream over a real socket.
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EventLog } from '../../src/api/event-log.ts';
import { systemClock } from '../../src/base/clock.ts';
import { openApi, type TestApi } from './fakes.ts';

const log = pino({ level: 'silent' });
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-events-'));
  path = join(folder, 'events.jsonl');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function happen(events: EventLog, count: number): void {
  for (let at = 0; at < count; at++) {
    events.emit({ kind: 'test/happened', level: 'info', subject: 'x', message: `event ${at}` });
  }
}

test('ids go on after a restart', () => {
  const before = new EventLog(systemClock, log, path);
  happen(before, 3);
  before.close();
  const after = new EventLog(systemClock, log, path);
  happen(after, 1);
  expect(after.after(0).map((event) => event.id)).toEqual([1, 2, 3, 4]);
  expect(after.after(2).map((event) => event.id)).toEqual([3, 4]);
});

test('a torn last line costs that line, no other', () => {
  const before = new EventLog(systemClock, log, path);
  happen(before, 2);
  before.close();
  appendFileSync(path, '{"id":3,"time":"20');
  const after = new EventLog(systemClock, log, path);
  happen(after, 1);
  after.close();
  expect(new EventLog(systemClock, log, path).after(0).map((event) => event.id)).toEqual([1, 2, 3]);
});

test('the file stays bounded, the newest are kept', () => {
  const events = new EventLog(systemClock, log, path);
  happen(events, 9000);
  const lines = readFileSync(path, 'utf8').split('\n').length;
  expect(lines).toBeLessThan(8200);
  expect(events.after(0).length).toBeGreaterThanOrEqual(4096);
  expect(events.lastId).toBe(9000);
});

test('a stream begins behind the last event seen, and ends with the service', async () => {
  const api = await openApi();
  const { events } = api.services;
  happen(events as EventLog, 3);
  const stream = await openStream(api, { 'last-event-id': '2' });
  const read = idsOf(stream);
  expect((await read.next()).value).toBe(3);
  happen(events as EventLog, 1);
  expect((await read.next()).value).toBe(4);
  await api.close();
  expect((await read.next()).done).toBe(true);
});

test('a stream without a past begins with what comes', async () => {
  const api = await openApi();
  const { events } = api.services;
  happen(events as EventLog, 3);
  const read = idsOf(await openStream(api, {}));
  // Opens the stream for reading before anything happens.
  const next = read.next();
  happen(events as EventLog, 1);
  expect((await next).value).toBe(4);
  await api.close();
});

async function openStream(api: TestApi, headers: Record<string, string>): Promise<IncomingMessage> {
  const socketPath = join(api.folder, 'rest.sock');
  await api.app.listen({ path: socketPath });
  return new Promise((resolve, reject) => {
    const accept = { accept: 'text/event-stream', ...headers };
    request({ socketPath, path: '/v1/events', headers: accept }, resolve)
      .once('error', reject)
      .end();
  });
}

async function* idsOf(stream: IncomingMessage): AsyncGenerator<number> {
  stream.setEncoding('utf8');
  let text = '';
  for await (const chunk of stream) {
    text += chunk as string;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('id: ')) yield Number(line.slice(4));
  }
}
