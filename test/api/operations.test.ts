// Goal: operations are remembered; what a dying process left running is said to be interrupted.
// Method: the real files; a "kill" is a second opening without closing the first.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type OperationContext, Operations, type ResumableWork } from '../../src/api/operations.ts';
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

function open(
  kinds: Readonly<Record<string, ResumableWork>> = {},
  clock = systemClock,
): Operations {
  const path = join(folder, 'operations.jsonl');
  return new Operations(clock, log, (event) => events.push(event), path, kinds);
}

/** Work that ends only when it is aborted. */
function untilAborted({ signal }: OperationContext): Promise<void> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

const stateOf = (operations: Operations, id: string) => () => operations.get(id).state;

test('while it runs, an operation tells how fast it is now and who holds it back', async () => {
  const clock = { ...systemClock, nowMs: () => ms };
  let ms = 0;
  const operations = open({}, clock);
  let goOn = () => {};
  const running = operations.start(spec, async ({ report }) => {
    for (const isHeldBack of [false, true]) {
      report(ms, 10_000, { isHeldBack });
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
  });
  expect(operations.get(running.id).progress).toMatchObject({
    bytes_per_second: 0,
    held_back_by: null,
  });
  ms = 2000;
  goOn();
  await expect
    .poll(() => operations.get(running.id).progress)
    .toEqual({
      done_bytes: 2000,
      total_bytes: 10_000,
      bytes_per_second: 1000,
      held_back_by: 'guests',
    });
  goOn();
  await expect.poll(stateOf(operations, running.id)).toBe('succeeded');
  expect(operations.get(running.id).progress).toEqual({ done_bytes: 2000, total_bytes: 10_000 });
});

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

test('what can goes on after a kill and after a stop, under its id, with what it was asked for', async () => {
  const begun: unknown[] = [];
  const kinds = {
    'disk-drain': (asked: object, context: OperationContext) => {
      begun.push(asked);
      return untilAborted(context);
    },
  };
  const killed = open(kinds);
  const drain = {
    operation: 'disk-drain',
    target: '/d',
    phase: 'moving',
    parameters: { disk: 'u' },
  };
  const { id } = killed.begin(drain);
  expect(killed.begin(drain).id).toBe(id);
  const stopped = open(kinds);
  await stopped.close();
  const last = open(kinds);
  expect(last.get(id)).toMatchObject({ state: 'running', parameters: { disk: 'u' } });
  expect(begun).toMatchObject(Array(3).fill({ target: '/d', parameters: { disk: 'u' } }));
  last.cancel(id);
  await expect.poll(stateOf(last, id)).toBe('cancelled');
});

test('a paused operation waits at its next step, over a restart too', async () => {
  let steps = 0;
  const kinds = {
    'disk-drain': async (_: object, { whileRunning }: OperationContext) => {
      for (;;) {
        await whileRunning();
        steps += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
  const first = open(kinds);
  const { id } = first.begin({ operation: 'disk-drain', target: '/d', phase: 'moving' });
  await expect.poll(() => steps).toBeGreaterThan(2);
  expect(first.pause(id).state).toBe('paused');
  await first.close();
  const second = open(kinds);
  expect(second.get(id).state).toBe('paused');
  const before = steps;
  expect(second.resume(id).state).toBe('running');
  await expect.poll(() => steps).toBeGreaterThan(before + 2);
  second.cancel(id);
  await expect.poll(stateOf(second, id)).toBe('cancelled');
});

test('only what goes on after a restart can be paused', async () => {
  const operations = open();
  const { id } = operations.start(spec, untilAborted);
  expect(() => operations.pause(id)).toThrow(/cannot be paused/);
  operations.cancel(id);
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
