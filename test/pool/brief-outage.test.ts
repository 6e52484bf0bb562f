/**
 * Goal: a command that meets disks which are away for a moment is done, as if nothing had been.
 * Method: every disk refuses what it is asked while a command runs, and is well again shortly behind its beginning. The whole table, by count of
 *   calls, is test/faults.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { labelNow, type PoolDisk } from '../../src/pool/disk-set.ts';
import { encodeLabel, labelOffset } from '../../src/pool/format/label.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture } from './fixture.ts';

const ENODEV = 19;
const outageMs = 300;
const disks = ['a', 'b', 'c', 'n'];

let plane: FaultyPlane;
let fixture: Fixture;
beforeEach(async () => {
  plane = new FaultyPlane({ loops: 2 });
  plane.waitsAtOpenings = true;
  fixture = await Fixture.open({ dataPlane: plane, patienceSeconds: 60 });
  await fixture.pools.create('gold', [uri('a'), uri('b')]);
  await fixture.pools.create('silver', [uri('n')]);
});
afterEach(async () => {
  plane.healAll();
  await fixture.close();
});

const path = (name: string) => fixture.path(name);
const uri = (name: string) => `file:${path(name)}?size=64MiB`;

function fail(after: number): void {
  const refused = (['read', 'write', 'zero'] as const).map(
    (op) => ({ op, kind: 'error', error: ENODEV, after }) as const,
  );
  for (const disk of disks) plane.setFaults(path(disk), refused);
}

const commands: Readonly<Record<string, () => Promise<unknown>>> = {
  'pool create': () => fixture.pools.create('new', [uri('c')]),
  'pool export': () => fixture.pools.export('gold'),
  'pool delete': () => fixture.pools.delete('silver'),
  'disk add': () => fixture.pools.addDisk('gold', uri('c')),
  'disk remove': () => fixture.pools.removeDisk('gold', 1),
};

const cases = Object.keys(commands).flatMap((name) => [0, 1, 3].map((after) => [name, after]));

test.each(cases)('%s, disks away from call %i on', async (name, after) => {
  fail(Number(after));
  const work = (commands[String(name)] as () => Promise<unknown>)();
  const [, result] = await Promise.allSettled([delay(outageMs).then(() => plane.healAll()), work]);
  expect(result).toMatchObject({ status: 'fulfilled' });
});

test('pool import, disks away', async () => {
  await fixture.pools.export('gold');
  fail(0);
  const work = fixture.pools.import([path('a'), path('b')]);
  await delay(outageMs);
  plane.healAll();
  await work;
  await fixture.pools.export('gold');
  expect((await checkOffline([path('a'), path('b')])).findings).toEqual([]);
});

test("a label that was written, and of which it was not heard, is nobody else's", async () => {
  await fixture.pools.export('gold');
  for (const disk of ['a', 'b']) plane.setFaults(path(disk), [{ op: 'sync', kind: 'error' }]);
  const told = { code: 'disk/io' };
  await expect(fixture.pools.import([path('a'), path('b')])).rejects.toMatchObject(told);
  plane.healAll();
  await fixture.pools.import([path('a'), path('b')]);
});

test('a label that is read wrong once is read again', async () => {
  await fixture.pools.export('gold');
  const disk = await plane.openDisk({ kind: 'file', path: path('a') });
  const found = await labelNow(disk, path('a'));
  // The newer copy is the second one, whose first byte is the one that is read wrong (native/io/fault_disk.cc).
  const { generation: last } = found;
  const generation = labelOffset(last) === 0 ? last + 1 : last;
  await disk.write(labelOffset(generation), encodeLabel({ ...found, generation }));
  plane.setFaults(path('a'), [{ op: 'read', kind: 'flip', times: 1 }]);
  expect((await labelNow(disk, path('a'))).generation).toBe(generation);
  await disk.close();
});

test('a volume that is made while a deletion waits for a disk keeps the pool', async () => {
  const names = ['d0', 'd1', 'd2', 'd3', 'd4'];
  await fixture.pools.create('wide', names.map(uri));
  const { disks } = fixture.pools.get('wide');
  const away = disks.find(({ label }) => label.journalBytes === 0) as PoolDisk;
  plane.setFaults(away.location.path, [{ op: 'read', kind: 'error', error: ENODEV }]);
  const held = away.plane.read(0, 512);
  await expect.poll(() => away.plane.condition.state).toBe('suspended');
  const deleting = fixture.pools.delete('wide').catch(({ code }) => code);
  await fixture.volumes.create({ name: 'v', sizeBytes: 64 * 1024, pool: 'wide' });
  plane.healAll();
  await held;
  expect(await deleting).toBe('pool/not-empty');
  expect(fixture.volumes.get('v').pool).toBe('wide');
});

test('what stays away is told within seconds, and nothing has changed', async () => {
  fail(0);
  const told = { code: 'disk/io' };
  await expect(fixture.pools.create('new', [uri('c')])).rejects.toMatchObject(told);
  plane.healAll();
  await expect(fixture.pools.create('new', [uri('c')])).resolves.toMatchObject({ changed: true });
});
