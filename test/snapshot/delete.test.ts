// Goal: what is in use is not deleted, alone or with its volume, and the refusal says what to do; of several all go or none.
// Method: a real pool; snapshots that clones read through, or that somebody guards as an export does.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { bookmarkOp, snapshotRecords } from '../../src/snapshot/records.ts';
import type { DeleteSnapshotOptions, SnapshotRecord } from '../../src/snapshot/types.ts';
import type { DeleteVolumeOptions } from '../../src/volume/types.ts';
import { Fixture } from '../pool/fixture.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 60_000 });
  await createPool('p');
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB, pool: 'p' });
  for (const snapshot of ['a', 'b', 'c']) await take('v', snapshot);
});
afterEach(async () => {
  await fixture.close();
});

function createPool(name: string) {
  return fixture.pools.create(name, [`file:${fixture.path(name)}?size=${64 * MiB}`], {});
}

function take(volume: string, snapshot: string) {
  return fixture.snapshots.create({ names: [{ volume, snapshot }] });
}

function clone(snapshot: string, name: string) {
  return fixture.snapshots.clone({ volume: 'v', snapshot }, name);
}

/** Deletes VOLUME@SNAPSHOT. */
function remove(names: readonly string[], options: DeleteSnapshotOptions = {}) {
  const split = names.map((name) => name.split('@') as [string, string]);
  return fixture.snapshots.delete(
    split.map(([volume, snapshot]) => ({ volume, snapshot })),
    options,
  );
}

/** b0, b1 … as if snapshots had been deleted, on the layer of the oldest. */
async function addBookmarks(volume: string, count: number): Promise<void> {
  const { pool, record } = fixture.volumes.find(volume);
  const [{ layer }] = snapshotRecords(pool) as [SnapshotRecord];
  const mark = { volume: record.id, layer, sizeBytes: 1, createdAt: record.createdAt };
  for (let at = 0; at < count; at += 200) {
    const some = Array.from({ length: 200 }, (_, n) => ({
      id: 10_000 + at + n,
      name: `b${at + n}`,
    }));
    await pool.commit(some.map((each) => bookmarkOp({ ...mark, ...each })));
  }
}

const names = (volume?: string) => fixture.snapshots.list(volume).map(({ name }) => name);

describe('snapshots', () => {
  test('of several pools go together', async () => {
    await createPool('q');
    await fixture.volumes.create({ name: 'w', sizeBytes: MiB, pool: 'q' });
    await take('w', 'a');
    await remove(['v@a', 'w@a', 'v@c']);
    expect([names('v'), names('w')]).toEqual([['b'], []]);
  });

  test.each([
    ['that is missing', ['v@a', 'v@none'], 'snapshot/not-found'],
    ['that a clone reads through', ['v@a', 'v@b'], 'volume/has-clones'],
    ['that is guarded', ['v@a', 'v@c'], 'snapshot/busy'],
  ])('with one %s all stay', async (_, together, code) => {
    await clone('b', 'clone');
    const { id } = fixture.snapshots.get('v', 'c');
    fixture.snapshots.addGuard((_pool, other) => (other === id ? 'it is exported as x' : null));
    await expect(remove(together)).rejects.toMatchObject({ code });
    await expect(remove(together, { dryRun: true })).rejects.toMatchObject({ code });
    expect(names()).toEqual(['a', 'b', 'c']);
  });

  test('that clones read through go when the clones are kept, or need them no more', async () => {
    await clone('a', 'one');
    await expect(remove(['v@a'])).rejects.toMatchObject({
      message:
        'cannot delete snapshot v@a: 1 linked clone reads through it and --keep-clones was not given',
      actions: [
        'varve snapshot delete v@a --keep-clones   (its data stays until the last clone is gone)',
      ],
    });
    await clone('a', 'two');
    await expect(remove(['v@a'])).rejects.toThrow('2 linked clones read through it');
    await remove(['v@a'], { keepClones: true });
    await clone('b', 'three');
    await fixture.snapshots.flatten('three', () => {}, new AbortController().signal);
    await remove(['v@b']);
    expect(names()).toEqual(['c']);
  });

  test('that are guarded say why', async () => {
    fixture.snapshots.addGuard(() => null);
    fixture.snapshots.addGuard(() => 'it is exported as x');
    await expect(remove(['v@a'], { keepClones: true })).rejects.toThrow(
      'snapshot v@a cannot be deleted: it is exported as x',
    );
  });

  test('that are named twice are one', async () => {
    await remove(['v@a', 'v@b', 'v@a'], { bookmark: true });
    expect(names()).toEqual(['c', 'a', 'b']);
    const deleted = fixture.events.filter(({ kind }) => kind === 'snapshot/deleted');
    expect(deleted.map(({ subject }) => subject)).toEqual(['v@a', 'v@b']);
  });

  test('become bookmarks; bookmarks go without a trace', async () => {
    await remove(['v@a', 'v@b'], { bookmark: true });
    expect(fixture.snapshots.list('v').map(({ name, kind }) => [name, kind])).toEqual([
      ['c', 'snapshot'],
      ['a', 'bookmark'],
      ['b', 'bookmark'],
    ]);
    await remove(['v@a'], { bookmark: true });
    expect(names()).toEqual(['c', 'b']);
  });
});

test('so many that they are no one record are refused before anything is done, and go in parts', async () => {
  // The smallest journal: a record takes 60 KiB.
  await fixture.pools.create('small', [`file:${fixture.path('small')}?size=${16 * MiB}`], {
    clusterBytes: 16 * KiB,
  });
  await fixture.volumes.create({ name: 'w', sizeBytes: MiB, pool: 'small' });
  const all = Array.from({ length: 450 }, (_, n) => `w@${'s'.repeat(50)}${n}`);
  for (const name of all) await take('w', name.slice(2));
  const refused = { code: 'request/invalid', actions: ['delete fewer together'] };
  for (const dryRun of [true, false]) {
    const both = remove(['v@a', ...all], { bookmark: true, dryRun });
    await expect(both).rejects.toMatchObject(refused);
  }
  expect(names()).toHaveLength(453);
  await addBookmarks('w', 4000);
  const whole = fixture.volumes.delete('w', { withSnapshots: true });
  await expect(whole).rejects.toMatchObject({
    code: 'request/invalid',
    actions: ['delete some of its snapshots and bookmarks first'],
  });
  await remove(Array.from({ length: 2000 }, (_, n) => `w@b${n}`));
  await remove(all.slice(200), { bookmark: true });
  await remove(all.slice(100));
  await fixture.volumes.delete('w', { withSnapshots: true });
  expect(names()).toEqual(['a', 'b', 'c']);
});

describe('a volume', () => {
  const drop = (options: DeleteVolumeOptions = {}) => fixture.volumes.delete('v', options);

  test('with snapshots goes only with them', async () => {
    await expect(drop()).rejects.toMatchObject({
      code: 'volume/has-snapshots',
      message: 'cannot delete volume v: it has 3 snapshots and --with-snapshots was not given',
      actions: ['varve volume delete v --with-snapshots'],
    });
    await remove(['v@a'], { bookmark: true });
    await fixture.snapshots.schedule({ volume: 'v', keep: { last: 1 } });
    await drop({ withSnapshots: true });
    const left = (['snapshot/', 'bookmark/', 'schedule/'] as const).flatMap((kind) =>
      fixture.pools.get('p').records(kind),
    );
    expect(left).toEqual([]);
  });

  test('that clones read through goes only when they are kept', async () => {
    await clone('a', 'one');
    await clone('b', 'two');
    const refused = (all: string) => ({
      code: 'volume/has-clones',
      message: expect.stringContaining('volume v: 2 linked clones read through it'),
      actions: [expect.stringContaining(`varve volume delete v${all} --keep-clones `)],
    });
    await expect(drop()).rejects.toMatchObject(refused(' --with-snapshots'));
    await expect(drop({ withSnapshots: true })).rejects.toMatchObject(refused(''));
    await drop({ keepClones: true });
    expect(fixture.volumes.list().map(({ name }) => name)).toEqual(['one', 'two']);
  });

  test('stays with a snapshot that has to stay', async () => {
    const { id } = fixture.snapshots.get('v', 'b');
    fixture.snapshots.addGuard((_pool, other) => (other === id ? 'it is exported as x' : null));
    await expect(drop({ withSnapshots: true, keepClones: true })).rejects.toMatchObject({
      code: 'snapshot/busy',
      message: 'volume v cannot be deleted: its snapshot b has to stay: it is exported as x',
    });
    expect(names()).toEqual(['a', 'b', 'c']);
  });
});
