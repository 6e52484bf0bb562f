// Goal: of two hosts that reach the same disks one has the pool. Who was taken over writes nothing afterwards, whatever it was in
//   the middle of, and tells no client that something was written.
// Method: two services without each other's file locks (two-hosts.ts), the owner under writes of a stamping client. It is exported,
//   killed, stopped (SIGSTOP) or has its event loop blocked; the other takes the pool when it may, stamps every block, and the
//   disks are compared before and after the first one comes back. Moments are random: replay with SEED=n; ROUNDS=n for more.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluate, inspectorAddress } from '../../tools/lib/inspector.ts';
import type { Service } from '../../tools/lib/service.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { readStamps, StampingClient, stampAll } from './stamping-client.ts';
import { leaseMs, TwoHosts } from './two-hosts.ts';

const blocks = 256;
const rounds = Number(process.env.ROUNDS ?? 3);
const seed = chooseSeed();
const random = randomFrom(seed);

interface PoolShown {
  readonly fenced_by?: { readonly host: string; readonly epoch: number };
}

let hosts: TwoHosts;
let stamp = 0;

beforeAll(async () => {
  hosts = await TwoHosts.start({ size: '256MiB', count: 2 });
  await hosts.a.varve('volume', 'create', 'v', '--size', '16MiB', '--pool', 'main');
  await hosts.a.varve('export', 'add', 'v');
});
afterAll(() => hosts?.dispose());

async function load(host: Service): Promise<StampingClient> {
  const client = await StampingClient.start(host.nbdSocket, { blocks, stamp, random });
  const enough = random(30, 400);
  await expect
    .poll(() => client.acknowledged, { timeout: 30_000, interval: 1 })
    .toBeGreaterThan(enough);
  return client;
}

async function isFenced(host: Service): Promise<boolean> {
  return (
    ((await host.varve('pool', 'show', 'main')) as unknown as PoolShown).fenced_by !== undefined
  );
}

/** Everything that was said to be durable is there, and nothing that was never sent. @returns what each block holds */
async function expectWhole(host: Service, client: StampingClient): Promise<number[]> {
  const found = await readStamps(host.nbdSocket, blocks);
  expect(lostOf(client, found), `SEED=${seed}`).toEqual([]);
  expect(Math.max(...found)).toBeLessThanOrEqual(client.lastStamp);
  stamp = client.lastStamp;
  return found;
}

/** Blocks that hold something older than what was said to be durable. */
function lostOf(client: StampingClient, found: readonly number[]): number[] {
  return found.flatMap((value, block) => (value < (client.durable.get(block) ?? 0) ? [block] : []));
}

/** The new owner makes all of the volume its own. */
async function stampAllNew(host: Service): Promise<void> {
  stamp += 1;
  await stampAll(host.nbdSocket, blocks, stamp);
}

async function expectAllStamped(host: Service): Promise<void> {
  const found = await readStamps(host.nbdSocket, blocks);
  expect(new Set(found), `SEED=${seed}`).toEqual(new Set([stamp]));
  const { items = [] } = await host.varve('pool', 'check', 'main');
  expect(items, `SEED=${seed}`).toEqual([]);
}

/** `old` comes back into what `now` took over: it writes nothing, and tells nobody that it did. */
async function expectFenced(
  [old, now]: readonly [Service, Service],
  client: StampingClient,
  comeBack: () => void,
): Promise<void> {
  const taken = await expectWhole(now, client);
  await stampAllNew(now);
  const before = hosts.content();
  comeBack();
  await expect.poll(() => isFenced(old), { timeout: 30_000 }).toBe(true);
  await client.ended;
  // Answers to what was done before the stop may still have come: then the new owner had it.
  expect(lostOf(client, taken), `SEED=${seed}: promised after the takeover`).toEqual([]);
  expect(client.refused, `SEED=${seed}: errors for a guest`).toBe(0);
  expect(hosts.content() === before, `SEED=${seed}: the disks changed`).toBe(true);
  await expectAllStamped(now);
}

/** Back to host A, so that the next test finds what this one found. */
async function giveBack(from: Service, to: Service): Promise<void> {
  await to.outcome(['pool', 'export', 'main', '--yes']);
  await from.varve('pool', 'export', 'main', '--disconnect');
  await to.varve('pool', 'import', ...hosts.disks);
  await expectAllStamped(to);
}

test('a pool that is let go is taken at once, with its exports', async () => {
  const { a, b } = hosts;
  const client = await load(a);
  const busy = await a.outcome(['pool', 'export', 'main', '--yes']);
  expect(busy.status, busy.stderr).toBe(4);
  await a.varve('pool', 'export', 'main', '--disconnect');
  await client.ended;
  expect(client.refused).toBe(0);
  expect(await hosts.importWhenFree(b)).toBe(0);
  await expectWhole(b, client);
  await stampAllNew(b);
  await giveBack(b, a);
});

test('a killed owner is waited for; with --takeover it is not', async () => {
  const { a, b } = hosts;
  const client = await load(a);
  await a.kill9();
  await client.ended;
  const held = await b.outcome(['pool', 'import', ...hosts.disks]);
  expect(held.status).toBe(4);
  expect(held.stderr).toMatch(
    /held by host [0-9a-f-]{36}, heard of \d s ago; its lease ends in \d s/,
  );
  expect(await hosts.importWhenFree(b)).toBeGreaterThan(0);
  await expectWhole(b, client);

  await b.kill9();
  await a.restart();
  const items = (await a.varve('pool', 'list')).items as {
    state: string;
    warnings: { code: string }[];
  }[];
  expect(items).toMatchObject([{ state: 'failed', warnings: [{ code: 'pool/held' }] }]);
  await a.varve('pool', 'import', ...hosts.disks, '--takeover');
  await expectWhole(a, client);
  await b.restart();
  expect((await b.varve('pool', 'list')).items).toMatchObject([{ state: 'failed' }]);
  await stampAllNew(a);
  await expectAllStamped(a);
  await b.varve('pool', 'export', 'main');
});

describe(`an owner that was stopped, SEED=${seed}`, () => {
  test.each(Array.from({ length: rounds }, (_, round) => round))(
    'writes nothing when it goes on, round %i',
    async () => {
      const { a, b } = hosts;
      const client = await load(a);
      a.signal('SIGSTOP');
      await hosts.importWhenFree(b);
      await expectFenced([a, b], client, () => a.signal('SIGCONT'));
      await giveBack(b, a);
    },
  );
});

test('an owner whose event loop is blocked holds its writes by itself', async () => {
  const { a, b } = hosts;
  await a.stop();
  await a.restart({ nodeFlags: ['--inspect=127.0.0.1:0'] });
  const client = await load(a);
  const blockedMs = 3 * leaseMs;
  const unblocked = evaluate(
    inspectorAddress(a.log),
    `(() => { const began = Date.now(); while (Date.now() < began + ${blockedMs}); })()`,
  );
  await hosts.importWhenFree(b);
  // The data plane of A runs all the time; only its lease keeps it from writing.
  await expectFenced([a, b], client, () => void unblocked);
  await unblocked;
  await giveBack(b, a);
});
