// Goal: a volume moves to another pool with its snapshots, clones and bookmarks, while it is written to; everything shows what it showed, and
//   is shared as it was. It can be undone, and what cannot be moved is refused before anything is.
// Method: two pools of one disk each, the real data plane; content is compared byte by byte, space by the pools' numbers, the maps by the check.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { TwoPools } from './two-pools.ts';

const clusterBytes = 16 * KiB;
const subBytes = clusterBytes / 16;
const sizeBytes = 4 * MiB;

let both: TwoPools;
beforeEach(async () => {
  both = await TwoPools.open({ clusterBytes, diskBytes: 48 * MiB });
});
afterEach(() => both.close());

/** What layers own, which is all that is used. */
function used(pool: Pool): number {
  const layers = pool.records<{ id: number }>('layer/');
  return layers.reduce((sum, { id }) => sum + pool.clustersOf(id), 0) * clusterBytes;
}

const names = (pool: string) =>
  both.fixture.volumes.list().flatMap((volume) => (volume.pool === pool ? [volume.name] : []));

function snapshot(volume: string, name: string) {
  return both.fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

function stamp(bytes: number, value: number): Buffer {
  return Buffer.alloc(bytes, value);
}

/** Volume `v` with snapshots, a bookmark and a clone, whose clusters are partly written in several layers; and what each shows. */
async function writeFamily(snapshotMode: 'row' | 'cow') {
  const { volumes, snapshots } = both.fixture;
  await volumes.create({ name: 'v', sizeBytes, snapshotMode, pool: 'a' });
  const { plane, close } = await volumes.open('v');
  const model = Buffer.alloc(sizeBytes);
  const write = async (offset: number, data: Buffer) => {
    await plane.write(offset, data);
    data.copy(model, offset);
  };
  await write(0, stamp(sizeBytes / 2, 1));
  await snapshot('v', 's1');
  const s1 = Buffer.from(model);
  for (let at = 0; at < sizeBytes; at += 4 * clusterBytes) {
    await write(at + subBytes, stamp(subBytes, 2));
  }
  await plane.trim(MiB, 64 * KiB);
  model.fill(0, MiB, MiB + 64 * KiB);
  await snapshot('v', 's2');
  const s2 = Buffer.from(model);
  await snapshots.clone({ volume: 'v', snapshot: 's2' }, 'clone');
  await write(3 * subBytes, stamp(subBytes, 3));
  await snapshot('v', 'mark');
  await snapshots.delete([{ volume: 'v', snapshot: 'mark' }], { bookmark: true });
  await write(MiB / 2, stamp(clusterBytes, 4));
  await plane.flush();
  await close();
  const clone = await volumes.open('clone');
  await clone.plane.write(2 * MiB, stamp(clusterBytes, 5));
  await clone.close();
  const ofClone = Buffer.from(s2);
  ofClone.fill(5, 2 * MiB, 2 * MiB + clusterBytes);
  await both.settled();
  return { v: model, s1, s2, clone: ofClone };
}

async function expectContent(expected: Awaited<ReturnType<typeof writeFamily>>): Promise<void> {
  expect((await both.content('v')).equals(expected.v), 'v').toBe(true);
  expect((await both.content('clone')).equals(expected.clone), 'clone').toBe(true);
  expect((await both.snapshotContent('v', 's1')).equals(expected.s1), 's1').toBe(true);
  expect((await both.snapshotContent('v', 's2')).equals(expected.s2), 's2').toBe(true);
  expect(await both.findings()).toEqual([]);
}

test.each(['row', 'cow'] as const)(
  'snapshots, clones and bookmarks move together and stay shared, in mode %s',
  async (mode) => {
    const expected = await writeFamily(mode);
    const before = used(both.a);
    const listed = both.fixture.snapshots
      .list('v')
      .map(({ name, kind, parent }) => ({ name, kind, parent }));
    const plan = await both.moves.plan('v', 'b');
    expect(plan).toMatchObject({ volumes: ['clone', 'v'], changed: true });
    await both.move('v', 'b');
    expect(names('a')).toEqual([]);
    expect(names('b')).toEqual(['clone', 'v']);
    await expectContent(expected);
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
    await expectContent(expected);
  },
);

test('what is written while it moves is there, and what was moved back too', async () => {
  const expected = await writeFamily('row');
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
  await expectContent(expected);
});

test('a move that is undone is as if it had not been, but for what was written since', async () => {
  const expected = await writeFamily('row');
  await both.settled();
  const before = used(both.a);
  await both.move('v', 'b', { keepSeconds: 3600 });
  expect(used(both.a), 'kept').toBe(before);
  const { plane, close } = await both.fixture.volumes.open('v');
  await plane.write(7 * clusterBytes + subBytes, stamp(subBytes, 9));
  expected.v.fill(9, 7 * clusterBytes + subBytes, 7 * clusterBytes + 2 * subBytes);
  await plane.flush();
  await snapshot('v', 's3');
  await both.fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {});
  await both.settled();
  expect(both.moves.undoableUntil(both.fixture.volumes.find('v'))).not.toBeNull();
  const plan = await both.moves.planUndo('v');
  expect(plan).toMatchObject({ to: 'a', volumes: ['clone', 'v'] });
  expect(plan.copiedBytes).toBe(clusterBytes);
  await close();
  await both.restart();
  await both.move('v', 'a', { undo: true });
  expect(names('a')).toEqual(['clone', 'v']);
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
  const expected = await writeFamily('row');
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
  await expectContent(expected);
});
