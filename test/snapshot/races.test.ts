// Goal: what is done while layers change answers as if it had been done before or behind the change, or is refused.
// Method: the change is made to happen in the middle: between two regions of a diff, in one turn of copy on write, or
//   while a read hangs.
import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { DataPlaneError, VolumePlane } from '../../src/dataplane/data-plane.ts';
import { Pool } from '../../src/pool/pool.ts';
import type { OpenSnapshot } from '../../src/snapshot/open.ts';
import { snapshotRecords } from '../../src/snapshot/records.ts';
import { Scheduler } from '../../src/snapshot/scheduler.ts';
import type { SnapshotRecord } from '../../src/snapshot/types.ts';
import { moveOp } from '../../src/volume/moves.ts';
import type { OpenVolume } from '../../src/volume/volume-service.ts';
import { FaultyPlane } from '../pool/faulty-plane.ts';
import { Fixture } from '../pool/fixture.ts';
import { FakeAgent } from './fake-agent.ts';

const clusterBytes = 16 * KiB;
const EBUSY = 16;
const ENODEV = 19;
const regionBytes = 4096 * clusterBytes;

let faulty: FaultyPlane;
let fixture: Fixture;
let pool: Pool;
beforeEach(async () => {
  faulty = new FaultyPlane({ loops: 2 });
  fixture = await Fixture.open({ flushWindowMs: 50, dataPlane: faulty, patienceSeconds: 3600 });
});
afterEach(async () => {
  await fixture.close();
});

async function createPool(sizeBytes: number): Promise<void> {
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${sizeBytes}`], {
    clusterBytes,
  });
  pool = fixture.pools.get('p');
}

function snapshot(volume: string, name: string) {
  return fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

/** Volume `v`, open, and its snapshot, by id; `old` is what both show first. */
async function frozenCowVolume() {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes, snapshotMode: 'cow' });
  const { plane, close } = await fixture.volumes.open('v');
  const old = Buffer.alloc(clusterBytes, 1);
  await plane.write(0, old);
  await snapshot('v', 's');
  return { plane, close, old, id: fixture.snapshots.get('v', 's').id };
}

test('a diff misses nothing when the layers between are merged in its middle', async () => {
  await createPool(64 * MiB);
  const regions = 4;
  await fixture.volumes.create({ name: 'v', sizeBytes: regions * regionBytes });
  await snapshot('v', 'a');
  const { plane, close } = await fixture.volumes.open('v');
  for (let at = 0; at < regions; at++) {
    await plane.write(at * regionBytes, new Uint8Array(clusterBytes).fill(1));
  }
  // What was written is in the head when the diff begins, and in the layer of another head when it ends.
  const { index } = pool;
  const readChainRegion = index.readChainRegion.bind(index);
  let isChanged = false;
  index.readChainRegion = async (chain, region) => {
    const found = await readChainRegion(chain, region);
    if (!isChanged && region === 0) {
      isChanged = true;
      await snapshot('v', 'b');
      await fixture.snapshots.delete([{ volume: 'v', snapshot: 'b' }], {});
      await fixture.snapshots.settled(pool);
    }
    return found;
  };
  const diff = await fixture.snapshots.diff('v', 'a');
  expect(isChanged).toBe(true);
  expect(diff.extents.map(({ offset }) => offset / regionBytes)).toEqual([0, 1, 2, 3]);
  await close();
});

test('a head that is frozen while it takes in a layer keeps what was written to it', async () => {
  await createPool(64 * MiB);
  const regions = 4;
  await fixture.volumes.create({ name: 'v', sizeBytes: regions * regionBytes });
  const { plane, close } = await fixture.volumes.open('v');
  const fillAll = async (value: number, length: number) => {
    for (let at = 0; at < regions; at++) {
      await plane.write(at * regionBytes, new Uint8Array(length).fill(value));
    }
  };
  const shownIn = async (shown: Pick<VolumePlane, 'read'>) => {
    const found: number[] = [];
    for (let at = 0; at < regions; at++) {
      const bytes = await shown.read(at * regionBytes, clusterBytes);
      found.push(bytes[0] as number, bytes[clusterBytes - 1] as number);
    }
    return found;
  };
  await fillAll(1, clusterBytes);
  await snapshot('v', 'a');
  await fillAll(2, KiB);
  const frozen = await shownIn(plane);
  // The deletion begins the taking in; the snapshot comes behind its first region.
  const { index } = pool;
  const readRegion = index.readRegion.bind(index);
  let taken: Promise<unknown> | undefined;
  index.readRegion = (layer, region) => {
    taken ??= snapshot('v', 'b');
    return readRegion(layer, region);
  };
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 'a' }], {});
  await fixture.snapshots.settled(pool);
  expect(taken).toBeDefined();
  await taken;
  await fillAll(3, KiB);
  await fixture.snapshots.settled(pool);
  const { pool: name, id } = fixture.snapshots.get('v', 'b');
  const open = await fixture.snapshots.open(name, id);
  expect(await shownIn(open.plane)).toEqual(frozen);
  await open.close();
  expect(await shownIn(plane)).toEqual(frozen.map((value) => (value === 2 ? 3 : value)));
  await close();
});

test('a snapshot that is opened while its content moves away goes on showing it', async () => {
  const { plane, close, old, id } = await frozenCowVolume();
  // Between the copy and the batch that names it.
  const commit = pool.commit.bind(pool);
  let opened: Awaited<ReturnType<typeof fixture.snapshots.open>> | undefined;
  pool.commit = async (ops) => {
    opened = await fixture.snapshots.open('p', id);
    expect(await opened.plane.read(0, clusterBytes)).toEqual(old);
    pool.commit = commit;
    return commit(ops);
  };
  await plane.write(0, Buffer.alloc(clusterBytes, 2));
  expect(await opened?.plane.read(0, clusterBytes)).toEqual(old);
  await opened?.close();
  await close();
});

test('copy on write waits for whoever still reads the old place for a snapshot', async () => {
  const { plane, close, old, id } = await frozenCowVolume();
  const opened = await fixture.snapshots.open('p', id);
  await opened.plane.read(0, KiB);
  const disk = fixture.path('disk');
  faulty.setFaults(disk, [{ op: 'read', kind: 'hang', times: 1 }]);
  const slow = opened.plane.read(0, clusterBytes);
  const write = plane.write(0, Buffer.alloc(clusterBytes, 2));
  // It is not to end, so there is nothing else to wait for.
  await Promise.race([write, new Promise((resolve) => setTimeout(resolve, 500))]);
  faulty.setFaults(disk, []);
  expect(await slow).toEqual(old);
  await write;
  await opened.close();
  await close();
});

test('a read of a clone that is slow does not see what is written in place once the clone is flattened', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  const { plane, close } = await fixture.volumes.open('v');
  const old = Buffer.alloc(clusterBytes, 1);
  await plane.write(0, old);
  await snapshot('v', 's');
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'c');
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }], { keepClones: true });
  const clone = await fixture.volumes.open('c');
  await clone.plane.read(0, KiB);
  const disk = fixture.path('disk');
  faulty.setFaults(disk, [{ op: 'read', kind: 'hang', times: 1 }]);
  const slow = clone.plane.read(0, clusterBytes);
  await fixture.snapshots.flatten('c', () => {}, new AbortController().signal);
  const settled = fixture.snapshots.settled(pool);
  // It is not to end, so there is nothing else to wait for.
  await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, 500))]);
  await plane.write(0, Buffer.alloc(clusterBytes, 2));
  faulty.setFaults(disk, []);
  expect(await slow).toEqual(old);
  await settled;
  expect(pool.records('layer/')).toHaveLength(2);
  expect(await clone.plane.read(0, clusterBytes)).toEqual(old);
  await clone.close();
  await close();
});

test('a pool whose disk hangs holds up neither guests nor changes of another', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes, snapshotMode: 'cow' });
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, Buffer.alloc(clusterBytes, 1));
  await snapshot('v', 's');
  await fixture.pools.create('q', [`file:${fixture.path('other')}?size=${16 * MiB}`], {
    clusterBytes,
  });
  await fixture.volumes.create({ name: 'w', sizeBytes: 4 * clusterBytes, pool: 'q' });
  const other = await fixture.volumes.open('w');
  await other.plane.write(0, Buffer.alloc(clusterBytes, 1));
  faulty.setFaults(fixture.path('other'), [{ op: 'sync', kind: 'hang' }]);
  const held = [
    snapshot('w', 's'),
    fixture.volumes.create({ name: 'x', sizeBytes: MiB, pool: 'q' }),
  ];
  // By copy on write, which is a change of structure.
  await plane.write(0, Buffer.alloc(KiB, 2));
  await snapshot('v', 't');
  await fixture.volumes.create({ name: 'y', sizeBytes: MiB, pool: 'p' });
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 't' }]);
  faulty.setFaults(fixture.path('other'), []);
  await Promise.all(held);
  expect(fixture.volumes.list().map(({ name, pool: where }) => `${name} in ${where}`)).toEqual([
    'v in p',
    'w in q',
    'x in q',
    'y in p',
  ]);
  await other.close();
  await close();
});

test('a change that waits for a disk that is away does not keep the pools from being closed', async () => {
  faulty.waitsAtOpenings = true;
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  await fixture.snapshots.schedule({ volume: 'v', keep: { hourly: 1 } });
  const away = (['read', 'write', 'zero'] as const).map(
    (op) => ({ op, kind: 'error', error: ENODEV }) as const,
  );
  faulty.setFaults(fixture.path('disk'), away);
  const clock = { nowMs: () => Date.now() + 2 * 3600_000, every: () => () => {} };
  const { pools, snapshots } = fixture;
  const scheduler = new Scheduler({ pools, clock, emit() {}, snapshots });
  const scheduled = scheduler.runDue();
  const asked = snapshot('v', 's').catch((error: unknown) => error);
  // As a service does when its clients are gone.
  pools.hurry();
  await scheduler.close();
  await fixture.stop();
  expect(await asked).toMatchObject({ code: 'pool/failed' });
  await scheduled;
  faulty.healAll();
  await fixture.start();
});

test('a volume that is opened while it is frozen writes to its new head', async () => {
  await createPool(16 * MiB);
  const sizeBytes = 4 * clusterBytes;
  await fixture.volumes.create({ name: 'v', sizeBytes });
  const before = await fixture.volumes.open('v');
  await before.plane.write(0, Buffer.alloc(sizeBytes, 1));
  await before.close();
  const commit = pool.commit.bind(pool);
  let opening: Promise<OpenVolume> | undefined;
  pool.commit = async (ops) => {
    if (opening !== undefined) return commit(ops);
    opening = fixture.volumes.open('v');
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 200))]);
    return commit(ops);
  };
  await snapshot('v', 's');
  const opened = (await opening) as OpenVolume;
  await opened.plane.write(0, Buffer.alloc(KiB, 2));
  await opened.plane.flush();
  const expected = Buffer.alloc(sizeBytes, 1).fill(2, 0, KiB);
  expect(await opened.plane.read(0, sizeBytes)).toEqual(expected);
  await opened.close();
  await fixture.restart();
  const again = await fixture.volumes.open('v');
  expect(await again.plane.read(0, sizeBytes)).toEqual(expected);
  await again.close();
  const { id } = fixture.snapshots.get('v', 's');
  const frozen = await fixture.snapshots.open('p', id);
  expect(await frozen.plane.read(0, sizeBytes)).toEqual(Buffer.alloc(sizeBytes, 1));
  await frozen.close();
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});

test('a snapshot that somebody reads is deleted neither by itself nor with its volume', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  await snapshot('v', 's');
  const opened = await fixture.snapshots.open('p', fixture.snapshots.get('v', 's').id);
  const busy = { code: 'snapshot/busy', message: expect.stringContaining('is being read') };
  const alone = [{ volume: 'v', snapshot: 's' }];
  await expect(fixture.snapshots.delete(alone)).rejects.toMatchObject(busy);
  await expect(fixture.snapshots.delete(alone, { dryRun: true })).rejects.toMatchObject(busy);
  const withSnapshots = { withSnapshots: true };
  await expect(fixture.volumes.delete('v', withSnapshots)).rejects.toMatchObject(busy);
  await opened.close();
  await fixture.volumes.delete('v', withSnapshots);
});

test('a snapshot of a guest that did not stay frozen is taken back, but for one that is read already', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  let opened: OpenSnapshot | undefined;
  let isReadEarly = false;
  const thawedBefore = async (agent: FakeAgent, socket: Socket) => {
    const { id } = fixture.snapshots.get('v', 's');
    if (isReadEarly) opened = await fixture.snapshots.open('p', id);
    agent.setFrozen(0);
    agent.answer(socket, { return: 0 });
  };
  const agent = await new FakeAgent({
    'guest-fsfreeze-thaw': (...asked) => void thawedBefore(...asked),
  }).listen();
  const names = [{ volume: 'v', snapshot: 's' }];
  const take = () => fixture.snapshots.create({ names, quiesceSocket: agent.path });
  await expect(take()).rejects.toMatchObject({ code: 'snapshot/quiesce' });
  expect(fixture.snapshots.list('v')).toEqual([]);
  isReadEarly = true;
  await expect(take()).rejects.toMatchObject({ code: 'snapshot/quiesce' });
  expect(opened).toBeDefined();
  expect(fixture.snapshots.list('v')).toHaveLength(1);
  await opened?.close();
  agent.close();
});

test('a snapshot of a volume that has left for another pool meanwhile is not opened', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  await snapshot('v', 's');
  const { id } = fixture.snapshots.get('v', 's');
  const volume = fixture.volumes.find('v').record.id;
  const openVolume = pool.openVolume.bind(pool);
  // As it is when the opening waited for the switch.
  pool.openVolume = async (asked) => {
    const switching = { volumes: [volume], names: ['v'], pairs: [], layers: [], until: null };
    const target = { uuid: 'another', name: 'q' };
    await pool.commit([moveOp({ id: 'm', volume, target, switching })]);
    return openVolume(asked);
  };
  await expect(fixture.snapshots.open('p', id)).rejects.toMatchObject({
    code: 'snapshot/not-found',
    message: expect.stringContaining('went to another pool'),
  });
  expect(pool.usersOf(`s${id}`)).toBe(0);
});

test('a snapshot that is opened while it is deleted is not, or stays', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  await snapshot('v', 's');
  const { id } = fixture.snapshots.get('v', 's');
  const commit = pool.commit.bind(pool);
  let opening: Promise<unknown> | undefined;
  pool.commit = async (ops) => {
    opening ??= fixture.snapshots.open('p', id).catch((error: unknown) => error);
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 200))]);
    return commit(ops);
  };
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }]);
  expect(await opening).toMatchObject({ code: 'snapshot/not-found' });
  expect(pool.usersOf(`s${id}`)).toBe(0);
});

test('a layer that writers kept from going is looked at again, though nothing else has happened', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, new Uint8Array(clusterBytes).fill(1));
  await snapshot('v', 's');
  const lockSlots = vi.spyOn(VolumePlane.prototype, 'lockSlots');
  lockSlots.mockRejectedValueOnce(new DataPlaneError(EBUSY, 'writers are in the way'));
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }]);
  await fixture.snapshots.settled(pool);
  await fixture.snapshots.settled(pool);
  expect(lockSlots).toHaveBeenCalledTimes(2);
  expect(pool.records('layer/')).toHaveLength(1);
  lockSlots.mockRestore();
  expect((await plane.read(0, KiB))[0]).toBe(1);
  await close();
});

test('a bookmark that writers kept from giving up its space keeps no other from it', async () => {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes });
  const { plane, close } = await fixture.volumes.open('v');
  const data = new Uint8Array(clusterBytes).fill(1);
  await plane.write(0, data);
  await snapshot('v', 'lower');
  await plane.write(clusterBytes, data);
  await snapshot('v', 'upper');
  await plane.write(0, new Uint8Array(2 * clusterBytes).fill(2));
  const { layer } = snapshotRecords(pool).find(({ name }) => name === 'lower') as SnapshotRecord;
  const lock = VolumePlane.prototype.lockSlots;
  let calls = 0;
  // The upper layer comes first.
  const lockSlots = vi.spyOn(VolumePlane.prototype, 'lockSlots');
  lockSlots.mockImplementation(function (this: VolumePlane, ...range) {
    const isBusy = ++calls % 2 === 1;
    if (isBusy) return Promise.reject(new DataPlaneError(EBUSY, 'writers are in the way'));
    return lock.apply(this, range);
  });
  const names = ['lower', 'upper'].map((each) => ({ volume: 'v', snapshot: each }));
  await fixture.snapshots.delete(names, { bookmark: true });
  await fixture.snapshots.settled(pool);
  lockSlots.mockRestore();
  expect(pool.clustersOf(layer)).toBe(0);
  await close();
});

/** Of one snapshot, in mode `cow`, open. */
async function twoClones(): Promise<[OpenVolume, OpenVolume]> {
  await createPool(16 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 4 * clusterBytes, snapshotMode: 'cow' });
  const origin = await fixture.volumes.open('v');
  await origin.plane.write(0, new Uint8Array(2 * clusterBytes).fill(1));
  await origin.plane.flush();
  await origin.close();
  await snapshot('v', 's');
  for (const name of ['c', 'd']) {
    await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, name);
    await fixture.snapshots.setMode(name, 'cow');
  }
  return [await fixture.volumes.open('c'), await fixture.volumes.open('d')];
}

/** Writes into the same two clusters of both; all of them wait in one turn. */
async function writeTogether([c, d]: [OpenVolume, OpenVolume]): Promise<string[]> {
  const part = new Uint8Array(KiB).fill(3);
  let answers: Promise<PromiseSettledResult<void>[]> | undefined;
  await fixture.volumes.exclusively(pool, async () => {
    const writes = [c.plane.write(0, part), d.plane.write(0, part)];
    writes.push(c.plane.write(clusterBytes, part), d.plane.write(clusterBytes, part));
    answers = Promise.allSettled(writes);
    // Answered by the data plane behind the asking of those above.
    for (const { plane } of [c, d]) await plane.read(0, KiB);
    await new Promise((resolve) => setImmediate(resolve));
  });
  return ((await answers) ?? []).map(({ status }) => status);
}

test('clones that copy the same cluster on write, and find no room at first, each get one answer a time', async () => {
  const clones = await twoClones();
  const unlocked = vi.spyOn(VolumePlane.prototype, 'unlockSlots');
  const hold = vi.spyOn(Pool.prototype, 'holdClusters');
  const full = () => {
    throw new StorageError('pool/full', 'the space is gone');
  };
  // For the two clusters together, then for each of the four that wait; afterwards there is room.
  for (let at = 0; at < 5; at++) hold.mockImplementationOnce(full);
  expect(await writeTogether(clones)).toEqual(Array(4).fill('fulfilled'));
  // Another turn would have come by now.
  await fixture.volumes.exclusively(pool, async () => {});
  expect(unlocked).toHaveBeenCalledTimes(8);
  hold.mockRestore();
  unlocked.mockRestore();
  for (const { plane, close } of clones) {
    const shown = await plane.read(0, 2 * KiB);
    expect([shown[KiB - 1], shown[KiB]]).toEqual([3, 1]);
    await close();
  }
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});

test('in a full pool clones that copy the same cluster on write are refused, and go on when there is room', async () => {
  const clones = await twoClones();
  const [c, d] = clones;
  await fixture.volumes.create({ name: 'filler', sizeBytes: 16 * MiB });
  const filler = await fixture.volumes.open('filler');
  let isFull = false;
  for (let at = 0; !isFull && at < 16 * MiB; at += clusterBytes) {
    const write = filler.plane.write(at, new Uint8Array(clusterBytes).fill(2));
    isFull = await write.then(
      () => false,
      () => true,
    );
  }
  expect(isFull).toBe(true);
  expect(await writeTogether(clones)).toEqual(Array(4).fill('rejected'));
  const part = new Uint8Array(KiB).fill(3);
  await filler.plane.trim(0, 8 * MiB);
  await filler.plane.flush();
  await expect
    .poll(
      () =>
        c.plane.write(0, part).then(
          () => true,
          () => false,
        ),
      { timeout: 10_000 },
    )
    .toBe(true);
  for (const volume of [c, d]) {
    await volume.plane.write(0, part);
    await volume.plane.write(clusterBytes, part);
    const shown = await volume.plane.read(0, 2 * KiB);
    expect([shown[KiB - 1], shown[KiB]]).toEqual([3, 1]);
  }
  for (const volume of [c, d, filler]) await volume.close();
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});
