// Goal: no JavaScript is on the path of a read, of a write into fresh space, or of a flush.
// Method: block the service's event loop for seconds (a busy loop, put there through Node's inspector) while a
//   client reads, overwrites, writes fresh clusters and flushes; no request may take as long as a fraction of
//   the block. The busy loop itself reports how long it held the event loop.
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Daemon } from '../../tools/lib/daemon.ts';
import { evaluate, inspectorAddress } from '../../tools/lib/inspector.ts';
import { Service } from '../../tools/lib/service.ts';

const script = resolve(import.meta.dirname, 'clients/latency.py');
const blockedMs = 3000;
const busyLoop = `(() => {
  const began = Date.now();
  while (Date.now() < began + ${blockedMs});
  return Date.now() - began;
})()`;
// The client must still be at it when the event loop comes back.
const clientSeconds = 5;
// Far below the block, far above a slow disk's sync on a busy two-core machine.
const requestMsMax = 1000;

let service: Service;

beforeAll(async () => {
  service = await Service.start({ nodeFlags: ['--inspect=127.0.0.1:0'] });
  await service.createPool('4GiB');
});
afterAll(() => service?.dispose());

test('reads, fresh writes and flushes go on while the event loop is blocked', async () => {
  const uri = await service.createExportedVolume('busy', '1GiB');
  const client = new Daemon('/usr/bin/python3', [script, uri, `${clientSeconds}`]);
  const lines = createInterface(client.stdout);
  await once(lines, 'line');
  const report = once(lines, 'line');
  const heldMs = await evaluate(inspectorAddress(service.log), busyLoop);
  expect(heldMs).toBeGreaterThanOrEqual(blockedMs);

  const latencies = JSON.parse((await report)[0]) as Record<
    string,
    { count: number; max_ms: number }
  >;
  expect(Object.keys(latencies).sort()).toEqual(['flush', 'fresh', 'overwrite', 'read']);
  for (const [kind, { count, max_ms }] of Object.entries(latencies)) {
    expect(max_ms, `${kind}: slowest of ${count}`).toBeLessThan(requestMsMax);
    expect(count, kind).toBeGreaterThan(50);
  }
});
