// Goal: a restart, and an upgrade, of the service are not noticed by clients that cannot reconnect: no error, no lost byte.
// Method: libnbd clients, which never connect twice, write stamped blocks (clients/stamps.py) while the service is taken over by the next one, or
//   restarted by a supervisor that keeps descriptors as systemd does (clients/supervisor.py). Kills in between, and what was left
//   by another version, cost the connection and nothing else.
import { resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { StampedClient } from './stamped-client.ts';

const supervisor = resolve(import.meta.dirname, 'clients/supervisor.py');
const restarts = 3;

let service: Service | undefined;
let client: StampedClient | undefined;
afterEach(async () => {
  await client?.kill();
  await service?.dispose();
});

async function serving(runner: readonly string[]): Promise<Service> {
  service = await Service.start({ runner });
  await service.createPool('1GiB');
  const uri = await service.createExportedVolume('gold', '64MiB');
  client = new StampedClient(service.folder, { uri, volume: 1, firstBlock: 0, blockCount: 4096 });
  client.start(1);
  await client.progress();
  return service;
}

/** Whatever the client was told is there. */
async function expectWhole(writer: StampedClient): Promise<void> {
  await writer.ended();
  const verdict = await writer.verify();
  expect(verdict.wrong).toEqual([]);
}

/** How often clients went on with another process; -1: nobody answers at the moment. */
async function takeOvers(of: Service): Promise<number> {
  const events = await of.rest('GET', '/v1/events').catch(() => undefined);
  if (events === undefined) return -1;
  return (events.items ?? []).filter(({ event }) => event === 'service/clients-taken-over').length;
}

async function connectedSince(of: Service): Promise<unknown> {
  const clients = await of.varve('client', 'list');
  return clients.items?.map(({ connected_at }) => connected_at);
}

test(`a client writes through ${restarts} take-overs on one connection`, {
  timeout: 240_000,
}, async () => {
  const running = await serving([]);
  const since = await connectedSince(running);
  for (let round = 0; round < restarts; round++) {
    await running.takeOver();
    await client?.progress();
  }
  expect(await connectedSince(running)).toEqual(since);
  await running.kill9();
  await running.restart();
  await expectWhole(client as StampedClient);
});

test(`a client writes through ${restarts} restarts by a supervisor that keeps descriptors`, {
  timeout: 240_000,
}, async () => {
  const running = await serving(['/usr/bin/python3', supervisor]);
  const since = await connectedSince(running);
  for (let round = 0; round < restarts; round++) {
    running.signal('SIGHUP');
    await expect.poll(() => takeOvers(running), { timeout: 60_000, interval: 100 }).toBe(round + 1);
    await client?.progress();
  }
  expect(await connectedSince(running)).toEqual(since);
  await running.stop();
  await running.restart();
  await expectWhole(client as StampedClient);
});

test('without anybody to follow, clients are closed behind their answers', {
  timeout: 120_000,
}, async () => {
  const running = await serving([]);
  await running.stop();
  await running.restart();
  await expectWhole(client as StampedClient);
});
