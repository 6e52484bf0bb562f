// Goal: operations are remembered; what a dying process left running is said to be interrupted.
// Method: the real files; a "kill" is a second opening without closing the first.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type OperationContext, Operations } from '../../src/api/operations.ts';
import { systemClock } from '../../src/base/clock.ts';
import { StorageError } from '../../src/base/errors.ts';
import type { EventInput } from '../../src/pool/types.ts';

const log = pino({ level: 'silent' });
const spec = { operation: 'volume-create', target: 'gold', phase: 'taking space' };
let folder: string;
let events: EventInput[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-ops-'));
  events = [];
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(): Operations {
  const path = join(folder, 'operations.jsonl');
  return new Operations(systemClock, log, (event) => events.push(event), path);
}

/** Work that ends only when it is aborted. */
function untilAborted({ signal }: OperationContext): Promise<void> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

const stateOf = (operations: Operations, id: string) => () => operations.get(id).state;

test('success, failure and cancellation are told apart', async () => {
  const operations = open();
  const good = operations.start(spec, async ({ report }) => report(5, 10));
  const bad = operations.start(spec, async () => {
    throw new StorageError('pool/full', 'no space', { actions: ['add a disk'] });
  });
  const stopped = operations.start(spec, untilAborted);
  operations.cancel(stopped.id);
  await expect.poll(stateOf(operations, good.id)).toBe('succeeded');
  await expect.poll(stateOf(operations, bad.id)).toBe('failed');
  await expect.poll(stateOf(operations, stopped.id)).toBe('cancelled');
  expect(operations.get(good.id).progress).toEqual({ done_bytes: 5, total_bytes: 10 });
  expect(operations.get(bad.id).error).toEqual({
    code: 'pool/full',
    detail: 'no space',
    actions: ['add a disk'],
  });
  expect(events.map((event) => event.kind).sort()).toEqual([
    'operation/cancelled',
    'operation/failed',
    'operation/succeeded',
  ]);
});

test('a kill leaves operations failed, and ids are not reused', async () => {
  const killed = open();
  const { id } = killed.start(spec, untilAborted);
  const after = open();
  expect(after.get(id)).toMatchObject({ state: 'failed', error: { code: 'service/stopping' } });
  expect(after.start(spec, async () => {}).id).toBe('op-2');
});

test('closing ends what runs and says why', async () => {
  const operations = open();
  const { id } = operations.start(spec, untilAborted);
  await operations.close();
  expect(operations.get(id)).toMatchObject({
    state: 'failed',
    error: { code: 'service/stopping' },
  });
  expect(open().get(id).state).toBe('failed');
});

test('a bug in the work is no secret to the log, and none of the caller’s business', async () => {
  const operations = open();
  const { id } = operations.start(spec, async () => {
    throw new TypeError('x is undefined');
  });
  await expect.poll(stateOf(operations, id)).toBe('failed');
  expect(operations.get(id).error).toMatchObject({ code: 'service/internal' });
});

test('old operations are forgotten, the file stays bounded', async () => {
  const operations = open();
  for (let at = 0; at < 2500; at++) {
    const { id } = operations.start(spec, async () => {});
    if (at === 2499) await expect.poll(stateOf(operations, id)).toBe('succeeded');
    else await Promise.resolve();
  }
  const lines = readFileSync(join(folder, 'operations.jsonl'), 'utf8').split('\n').length;
  expect(lines).toBeLessThanOrEqual(4001);
  expect(operations.list()[0]?.id).toBe('op-2500');
});
