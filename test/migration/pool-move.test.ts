// Goal: a volume moves to another pool with its snapshots, clones and bookmarks, while it is written to; everything shows what it showed, and
//   is shared as it was. It can be undone, and what cannot be moved is refused before anything is.
// Method: two pools of one disk each, the real data plane; content is compared byte by byte, space by the pools' numbers, the maps by the check.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { hasMoves } from '../../src/pool/format/label.ts';
import { clusterBytes, expectFamily, stamp, subBytes, used, writeFamily } from './family.ts';
import { TwoPools } from './two-pools.ts';

let both: TwoPools;
beforeEach(async () => {
  both = await TwoPools.open({ clusterBytes, diskBytes: 48 * MiB });
});
afterEach(() => both.close());

const names = (pool: string) =>
  both.fixture.volumes.list().flatMap((volume) => (volume.pool === pool ? [volume.name] : []));

function snapshot(volume: string, name: string) {
  return both.fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

const uuid = (volume: string) => both.fixture.volumes.get(volume).uuid;

test.each(['row', 'cow'] as const)(
  'snapshots, clones and bookmarks move together and stay shared, in mode %s',
  async (mode) => {
    const expected = await writeFamily(both, mode);
    const before = used(both.a);
    const listed = both.fixture.snapshots
      .list('v')
      .map(({ name, kind, parent }) => ({ name, kind, parent }));
    const uuids = ['v', 'clone'].map(uuid);
    const plan = await both.moves.plan('v', 'b');
    expect(plan).toMatchObject({ volumes: ['clone', 'v'], changed: true });
    await both.move('v', 'b');
    expect(names('a')).toEqual([]);
    expect(names('b')).toEqual(['clone', 'v']);
    expect(['v', 'clone'].map(uuid)).toEqual(uuids);
    const labels = [both.a, both.b].flatMap(({ disks }) => disks.map(({ label }) => label));
    expect(labels.map(hasMoves), 'older versions refuse them').toEqual([true, true]);
    await expectFamily(both, expected);
    await both.settled();
    expect(used(both.a)).toBe(0);
    expect(used(both.b)).toBe(before);
    expect(plan.copiedBytes).toBe(before);
    const after = both.fixture.snapshots
      .list('v')
      .map(({ name, kind, parent }) => ({ name, kind, parent }));
    expect(after).toEqual(listed);
    expect(both.fixture.volumes.get('clone').origin).toBe('v@s2');
    await both.restart();
    await expectFamily(both, expected);
  },
);

test('what is written while it moves is there, and what was moved back too', async () => {
  const expected = await writeFamily(both, 'row');
  const { plane, close } = await both.fixture.volumes.open('v');
  let copies = 0;
  const moving = both.move('v', 'b', {
    keepSeconds: 3600,
    whileRunning: async () => {
      copies += 1;
      if (copies > 20) return;
      const at = (copies % 16) * 9 * subBytes;
      await plane.write(at, stamp(subBytes + 100, copies));
      expected.v.fill(copies, at, at + subBytes + 100);
      if (copies === 20) await close();
    },
  });
  await moving;
  expect(copies).toBeGreaterThanOrEqual(20);
  await expectFamily(both, expected);
});

test('a move that is undone is as if it had not been, but for what was written since', async () => {
  const expected = await writeFamily(both, 'row');
  await both.settled();
  const before = used(both.a);
  const known = uuid('v');
  await both.move('v', 'b', { keepSeconds: 3600 });
  expect(used(both.a), 'kept').toBe(before);
  const { plane, close } = await both.fixture.volumes.open('v');
  await plane.write(7 * clusterBytes + subBytes, stamp(subBytes, 9));
  expected.v.fill(9, 7 * clusterBytes + subBytes, 7 * clusterBytes + 2 * subBytes);
  await plane.flush();
  await snapshot('v', 's3');
  await both.fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {});
  await both.settled();
  const plan = await both.moves.planUndo('v');
  expect(plan).toMatchObject({ to: 'a', volumes: ['clone', 'v'] });
  expect(plan.copiedBytes).toBe(clusterBytes);
  await close();
  await both.restart();
  await both.move('v', 'a', { undo: true });
  expect(names('a')).toEqual(['clone', 'v']);
  expect(uuid('v')).toBe(known);
  await both.settled();
  expect(used(both.b)).toBe(0);
  expect((await both.content('v')).equals(expected.v)).toBe(true);
  expect((await both.content('clone')).equals(expected.clone)).toBe(true);
  expect((await both.snapshotContent('v', 's2')).equals(expected.s2)).toBe(true);
  expect((await both.snapshotContent('v', 's3')).equals(expected.v)).toBe(true);
  expect(await both.findings()).toEqual([]);
  await expect(both.moves.planUndo('v')).rejects.toMatchObject({ code: 'op/state' });
});

test('when the window is closed the source has nothing left, and nothing can be undone', async () => {
  const expected = await writeFamily(both, 'row');
  const before = used(both.a);
  await both.move('v', 'b', { keepSeconds: 3600 });
  expect(await both.moves.finish('v', { dryRun: true })).toEqual({ changed: true });
  await expect(both.moves.plan('v', 'a')).rejects.toMatchObject({ code: 'volume/busy' });
  expect(await both.moves.finish('v')).toEqual({ changed: true });
  expect(await both.moves.finish('v')).toEqual({ changed: false });
  await both.settled();
  expect([used(both.a), used(both.b)]).toEqual([0, before]);
  await expect(both.moves.planUndo('v')).rejects.toMatchObject({ code: 'op/state' });
  await both.move('v', 'a');
  await both.settled();
  expect([used(both.a), used(both.b)]).toEqual([before, 0]);
  await expectFamily(both, expected);
});

test('what cannot be moved is refused before anything is', async () => {
  const { pools, volumes } = both.fixture;
  await volumes.create({ name: 'v', sizeBytes: 40 * MiB, pool: 'a' });
  const { plane, close } = await volumes.open('v');
  await plane.write(0, stamp(30 * MiB, 1));
  await plane.flush();
  await close();
  await volumes.create({ name: 'other', sizeBytes: 40 * MiB, pool: 'b', thick: true });
  await pools.create('large', [`file:${both.fixture.path('large')}?size=${64 * MiB}`], {
    clusterBytes: 64 * KiB,
  });
  const before = [used(both.a), used(both.b)];
  await expect(both.move('v', 'b')).rejects.toMatchObject({
    code: 'pool/full',
    message: expect.stringMatching(/^30MiB are to be copied to pool b, which has room for \d/),
  });
  await expect(both.move('v', 'large')).rejects.toMatchObject({ code: 'request/invalid' });
  await expect(both.move('v', 'nowhere')).rejects.toMatchObject({ code: 'pool/not-found' });
  expect(await both.moves.plan('v', 'a')).toMatchObject({ changed: false });
  await both.move('v', 'a');
  expect([used(both.a), used(both.b)]).toEqual(before);
  expect(both.a.records('move/')).toEqual([]);
  expect(names('a')).toEqual(['v']);
});

test('when the target fails in the moment of the switch, its clients alone are given up', async () => {
  await writeFamily(both, 'row');
  await both.exports.add({ name: 'v', volume: 'v' });
  const commit = both.b.commit.bind(both.b);
  vi.spyOn(both.b, 'commit').mockImplementation((ops) => {
    const isArrival = ops.some((op) => op.op === 'put' && Buffer.from(op.key).includes('arrival/'));
    return isArrival ? Promise.reject(new Error('no answer')) : commit(ops);
  });
  await expect(both.move('v', 'b')).rejects.toMatchObject({ code: 'pool/failed' });
  vi.restoreAllMocks();
  expect(both.exports.list()).toEqual([]);
  await both.moves.settle();
  expect(names('a')).toEqual(['clone', 'v']);
  await snapshot('v', 'later');
});

test('a start does not wait for other changes where no move has left anything', async () => {
  await writeFamily(both, 'row');
  let end = () => {};
  const other = both.fixture.volumes.exclusively(
    both.a,
    () =>
      new Promise<void>((resolve) => {
        end = resolve;
      }),
  );
  expect(await both.moves.settle()).toEqual([]);
  await both.moves.dropAbandoned(() => false);
  end();
  await other;
});

test('two moves of one family are refused, and so is deleting what moves', async () => {
  await writeFamily(both, 'row');
  let asked: Promise<unknown> | undefined;
  await both.move('v', 'b', {
    whileRunning: async () => {
      asked ??= (async () => {
        expect(() => both.moves.expectNotMoving('clone')).toThrow(/shares data with v, which is/);
        expect(() => both.moves.expectNotMoving('v')).toThrow(/it is being moved to pool b/);
        await expect(both.fixture.volumes.delete('clone')).rejects.toMatchObject({
          code: 'volume/busy',
        });
      })();
      await asked;
    },
  });
  expect(asked).toBeDefined();
  both.moves.expectNotMoving('v');
});

test('a move that is cancelled leaves the volume where it was, and nothing in the other pool', async () => {
  const expected = await writeFamily(both, 'row');
  const before = used(both.a);
  const cancelled = new Error('cancelled');
  let steps = 0;
  const moving = both.move('v', 'b', {
    whileRunning: async () => {
      steps += 1;
      if (steps > 3) throw cancelled;
    },
  });
  await expect(moving).rejects.toBe(cancelled);
  await both.settled();
  expect([used(both.a), used(both.b)]).toEqual([before, 0]);
  expect(both.b.records('layer/')).toEqual([]);
  await expectFamily(both, expected);
  await both.move('v', 'b');
  await expectFamily(both, expected);
});

test('requests go on while another change of structure takes long, and the volume is moved behind it', async () => {
  const expected = await writeFamily(both, 'row');
  await both.exports.add({ name: 'v', volume: 'v' });
  const { dataPlane, volumes } = both.fixture;
  const pauseExport = dataPlane.pauseExport.bind(dataPlane);
  const resumeExport = vi.spyOn(dataPlane, 'resumeExport');
  let endOther = () => {};
  let other: Promise<void> | undefined;
  vi.spyOn(dataPlane, 'pauseExport').mockImplementation((name) => {
    other ??= volumes.exclusively(
      both.a,
      () =>
        new Promise<void>((resolve) => {
          endOther = resolve;
        }),
    );
    return pauseExport(name);
  });
  const phases: string[] = [];
  await both.move('v', 'b', {
    setPhase: (phase) => {
      if (!phase.startsWith('waiting')) return;
      phases.push(phase);
      expect(resumeExport).toHaveBeenCalledTimes(1);
      endOther();
    },
  });
  vi.restoreAllMocks();
  await other;
  expect(phases).toEqual(['waiting for the moment to switch: another change takes its time']);
  expect(names('b')).toEqual(['clone', 'v']);
  await expectFamily(both, expected);
});

test('a volume that others than exports use is moved when they have let go', async () => {
  const expected = await writeFamily(both, 'row');
  const reader = await both.fixture.snapshots.open('a', both.fixture.snapshots.get('v', 's1').id);
  const phases: string[] = [];
  let isClosed = false;
  await both.move('v', 'b', {
    setPhase: (phase) => {
      phases.push(phase);
      if (!phase.startsWith('waiting') || isClosed) return;
      isClosed = true;
      void reader.close();
    },
  });
  expect(phases).toContain('waiting for the moment to switch: snapshot s1 is in use');
  await expectFamily(both, expected);
});
