// Goal: a snapshot that was sent and received shows what it showed, full or on top of another; onto anything else than what it was made from it does
//   not go; until all of it is here nothing has changed; what came before a cut is not written again.
// Method: two pools of one service, streams in memory: whole, cut, damaged, of another volume, in the wrong order.
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { snapshotOp, snapshotRecords } from '../../src/snapshot/records.ts';
import { used } from '../migration/family.ts';
import { ManualClock } from '../pool/fixture.ts';
import { idle, TwoEnds } from './two-ends.ts';

const sizeBytes = 8 * MiB;

let ends: TwoEnds;

beforeEach(async () => {
  ends = await TwoEnds.open();
  await ends.fixture.volumes.create({ name: 'v', sizeBytes, pool: 'a' });
});

afterEach(() => ends.close());

const stamp = (bytes: number, value: number) => Buffer.alloc(bytes, value);

/** v@s1: 3 MiB of ones; v@s2: some of it changed, some trimmed. */
async function takeTwo(): Promise<void> {
  await ends.write('v', 0, stamp(3 * MiB, 1));
  await ends.snapshot('v', 's1', { note: 'first', labels: { by: 'hand' }, attachment: '<xml/>' });
  await ends.write('v', MiB, stamp(256 * KiB, 2));
  const { plane, close } = await ends.fixture.volumes.open('v');
  await plane.trim(2 * MiB, MiB);
  await close();
  await ends.snapshot('v', 's2');
}

async function expectSame(volume: string, snapshot: string, there: string): Promise<void> {
  const sent = await ends.both.snapshotContent(volume, snapshot);
  const received = await ends.both.snapshotContent(there, snapshot);
  expect(sent.equals(received), `${there}@${snapshot}`).toBe(true);
}

test('a snapshot and what changed since arrive with everything that is kept with them', async () => {
  await takeTwo();
  const full = await ends.send('v', 's1');
  const increment = await ends.send('v', 's2', 's1');
  expect(full.length).toBeLessThan(3 * MiB + 64 * KiB);
  expect(increment.length).toBeLessThan(256 * KiB + 4 * KiB);
  expect(await ends.receive(full, 'w')).toBe(true);
  expect(await ends.receive(increment, 'w')).toBe(true);
  await expectSame('v', 's1', 'w');
  await expectSame('v', 's2', 'w');
  expect((await ends.both.content('w')).equals(await ends.both.content('v'))).toBe(true);
  const { snapshots } = ends.fixture;
  const { id: _, ...sent } = snapshots.get('v', 's1');
  expect(snapshots.get('w', 's1')).toMatchObject({ ...sent, volume: 'w', pool: 'b' });
  expect(snapshots.attachment('w', 's1')).toBe('<xml/>');
  await ends.both.settled();
  expect(used(ends.both.b)).toBe(used(ends.both.a));
  expect(ends.volumesThere()).toEqual(['w']);
  expect(await ends.both.findings()).toEqual([]);
});

test('what is here already is not received again', async () => {
  await takeTwo();
  const streams = [await ends.send('v', 's1'), await ends.send('v', 's2', 's1')];
  for (const stream of streams) expect(await ends.receive(stream, 'w')).toBe(true);
  for (const stream of streams) expect(await ends.receive(stream, 'w')).toBe(false);
});

test('from what was received it can be sent on, and back', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  await ends.write('w', 5 * MiB, stamp(MiB, 9));
  await ends.snapshot('w', 's3');
  const back = await ends.send('w', 's3', 's1');
  await ends.fixture.snapshots.delete([{ volume: 'v', snapshot: 's2' }]);
  await ends.fixture.snapshots.revert('v', 's1', { discard: true });
  await ends.receive(back, 'v');
  await expectSame('w', 's3', 'v');
});

test('an increment goes on from a bookmark, and onto a volume that moved', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  await ends.fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], { bookmark: true });
  await ends.both.settled();
  await ends.both.move('w', 'a');
  await ends.both.move('v', 'b');
  await ends.receive(await ends.send('v', 's2', 's1'), 'w');
  await expectSame('v', 's2', 'w');
});

test('a volume that has grown arrives as large as it is', async () => {
  await takeTwo();
  await ends.fixture.volumes.resize('v', 2 * sizeBytes);
  await ends.write('v', 2 * sizeBytes - MiB, stamp(MiB, 7));
  await ends.snapshot('v', 's3');
  await ends.receive(await ends.send('v', 's1'), 'w');
  await ends.receive(await ends.send('v', 's3', 's1'), 'w');
  await expectSame('v', 's3', 'w');
  expect(ends.fixture.volumes.get('w').sizeBytes).toBe(2 * sizeBytes);
});

test('onto anything else than what it was made from it does not go', async () => {
  await takeTwo();
  const full = await ends.send('v', 's1');
  const increment = await ends.send('v', 's2', 's1');
  const refused = (code: string, stream = increment) =>
    expect(ends.receive(stream, 'w')).rejects.toMatchObject({ code });
  await refused('volume/not-found');
  // Another volume, with a snapshot of that name.
  await ends.fixture.volumes.create({ name: 'w', sizeBytes, pool: 'b' });
  await ends.snapshot('w', 's1');
  await refused('backup/base');
  await refused('volume/exists', full);
  await ends.fixture.volumes.delete('w', { withSnapshots: true });
  await ends.receive(full, 'w');
  await ends.write('w', 0, stamp(4096, 9));
  await refused('backup/changed');
  await ends.fixture.snapshots.revert('w', 's1');
  await ends.receive(increment, 'w');
  await expectSame('v', 's2', 'w');
});

test('a name that another snapshot has is not taken from it', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  await ends.snapshot('w', 's2');
  await expect(ends.receive(await ends.send('v', 's2', 's1'), 'w')).rejects.toMatchObject({
    code: 'snapshot/exists',
  });
});

test('what was written while it was received is not lost', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  const increment = await ends.send('v', 's2', 's1');
  let steps = 0;
  const context = {
    ...idle(),
    whileRunning: async () => {
      if (steps++ === 0) await ends.write('w', 7 * MiB, stamp(4096, 9));
    },
  };
  await expect(ends.receive(increment, 'w', context)).rejects.toMatchObject({
    code: 'backup/changed',
  });
  expect((await ends.both.content('w'))[7 * MiB]).toBe(9);
  expect(ends.volumesThere()).toEqual(['w']);
});

test('what is written in the very moment in which it would get its snapshot is not lost', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  const increment = await ends.send('v', 's2', 's1');
  const { plane, close } = await ends.fixture.volumes.open('w');
  const hold = vi.spyOn(plane, 'hold').mockImplementationOnce(async () => {
    hold.mockRestore();
    await plane.write(7 * MiB, stamp(4096, 9));
    await plane.hold();
  });
  await expect(ends.receive(increment, 'w')).rejects.toMatchObject({ code: 'backup/changed' });
  expect((await plane.read(7 * MiB, 1))[0]).toBe(9);
  await close();
});

test('cut off, it goes on behind what came, also after a restart', async () => {
  await takeTwo();
  const full = await ends.send('v', 's1');
  const cut = ends.receive(full.subarray(0, 2.5 * MiB), 'w');
  await expect(cut).rejects.toMatchObject({ code: 'backup/cut' });
  expect(ends.volumesThere()).toEqual(['w.receiving']);
  await ends.restart();
  // Whoever looks at it or writes to it would spoil it.
  await expect(ends.fixture.volumes.open('w.receiving')).rejects.toMatchObject({
    code: 'volume/busy',
  });
  await expect(ends.snapshot('w.receiving', 's')).rejects.toMatchObject({ code: 'volume/busy' });
  const { record } = ends.fixture.volumes.find('w.receiving');
  expect(record.receiving).toMatchObject({ toBytes: 2 * MiB });
  expect(await ends.receive(full, 'w')).toBe(true);
  await expectSame('v', 's1', 'w');
  expect(ends.volumesThere()).toEqual(['w']);
});

test('damaged in the middle, it goes on with a good copy; an increment leaves the volume alone', async () => {
  await takeTwo();
  await ends.receive(await ends.send('v', 's1'), 'w');
  const good = await ends.send('v', 's2', 's1');
  const bad = Buffer.from(good);
  bad[bad.length - 100] = (bad[bad.length - 100] as number) ^ 1;
  await expect(ends.receive(bad, 'w')).rejects.toMatchObject({ code: 'backup/damaged' });
  const s1 = await ends.both.snapshotContent('w', 's1');
  expect((await ends.both.content('w')).equals(s1)).toBe(true);
  await ends.receive(good, 'w');
  await expectSame('v', 's2', 'w');
});

test('another stream in place of the one that was cut begins anew', async () => {
  await takeTwo();
  const [first, second] = [await ends.send('v', 's1'), await ends.send('v', 's2')];
  await expect(ends.receive(first.subarray(0, 2.5 * MiB), 'w')).rejects.toThrow();
  await ends.receive(second, 'w');
  await expectSame('v', 's2', 'w');
});

test('cancelled, or without room, it leaves nothing', async () => {
  await takeTwo();
  const full = await ends.send('v', 's1');
  let steps = 0;
  const context = {
    ...idle(),
    whileRunning: async () => {
      if (steps++ === 1) throw new StorageError('op/state', 'cancelled on request');
    },
  };
  await expect(ends.receive(full, 'w', context)).rejects.toMatchObject({ code: 'op/state' });
  expect(ends.volumesThere()).toEqual([]);
  await ends.both.settled();
  const { b } = ends.both;
  await ends.fixture.volumes.create({
    name: 'hog',
    sizeBytes: b.freeBytes - 2 * MiB,
    pool: 'b',
    thick: true,
  });
  await expect(ends.receive(full, 'w')).rejects.toMatchObject({ code: 'pool/full' });
  expect(ends.volumesThere()).toEqual(['hog']);
});

test('a file that holds the finished backup is not written again; any other is not taken for it', async () => {
  await takeTwo();
  const file = ends.fixture.path('out');
  const sent = { volume: 'v', snapshot: 's2', from: 's1', file };
  const remembered: object[] = [];
  const context = { ...idle(), remember: (parameters: object) => remembered.push(parameters) };
  const wanted = (plan = sent, force = false) => ends.sending.expectTarget(plan, { force });
  const refused = async (how: RegExp, plan: Parameters<typeof wanted>[0] = sent) => {
    const expected = { code: 'backup/exists', message: expect.stringMatching(how) };
    await expect(wanted(plan)).rejects.toMatchObject(expected);
  };
  expect(await wanted()).toBe(true);
  await ends.sending.toFile(sent, context);
  const whole = readFileSync(file);
  expect(await wanted()).toBe(false);
  expect(await wanted(sent, true)).toBe(true);

  const { from: _, ...full } = sent;
  await refused(/holds v@s2 since s1, taken at/, full as typeof sent);
  writeFileSync(file, whole.subarray(0, whole.length - 48));
  await refused(/lacks its end/);
  // Ends as it should, and something is missing in between.
  writeFileSync(file, Buffer.concat([whole.subarray(0, 1000), whole.subarray(-48)]));
  await refused(/lacks its end/);
  writeFileSync(file, 'a text');
  await refused(/is no backup/);
  writeFileSync(file, whole);
  await ends.fixture.volumes.rename('v', 'x');
  await refused(/has it with other names/, { ...sent, volume: 'x' });
  await ends.fixture.volumes.rename('x', 'v');

  // Cut off behind its last step it is not begun again after the restart, whatever has become of the file.
  expect(remembered).toEqual([{ finished: true }]);
  writeFileSync(file, 'in use');
  await ends.sending.toFile({ ...sent, finished: true }, context);
  expect(readFileSync(file, 'utf8')).toBe('in use');
});

test('a sending that was cut off anywhere goes on, and makes the same stream', async () => {
  // Some frames that touch, and islands that are smaller than one, at odd places.
  await ends.write(
    'v',
    2000 * KiB,
    Buffer.from(Array.from({ length: 2500 * KiB }, (_, at) => 1 + (at % 251))),
  );
  for (const at of [0, 100, 1000, 1016, 5000, 8000]) {
    await ends.write('v', at * KiB, stamp(20 * KiB, 1 + (at % 255)));
  }
  await ends.snapshot('v', 's1');
  const whole = await ends.send('v', 's1');
  const sent = { volume: 'v', snapshot: 's1', file: ends.fixture.path('out') };
  for (const share of [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999, 1]) {
    const part = whole.subarray(0, Math.floor(share * whole.length));
    writeFileSync(`${sent.file}.varve-sending`, part);
    await ends.sending.toFile(sent, idle());
    expect(readFileSync(sent.file).equals(whole), `cut at ${part.length}`).toBe(true);
  }
});

test('what is read and what is written takes its turns from the governor of its pool', async () => {
  // Nothing else that takes turns comes to its time.
  await ends.close();
  ends = await TwoEnds.open({ clock: new ManualClock() });
  await ends.fixture.volumes.create({ name: 'v', sizeBytes, pool: 'a' });
  await takeTwo();
  const { a, b } = ends.both;
  const full = await ends.send('v', 's1');
  expect([a.governor.movedBytes, b.governor.movedBytes]).toEqual([3 * MiB, 0]);
  await ends.receive(full, 'w');
  expect([a.governor.movedBytes, b.governor.movedBytes]).toEqual([3 * MiB, 3 * MiB]);
  // Zeroes cost nothing.
  await ends.receive(await ends.send('v', 's2', 's1'), 'w');
  expect([a.governor.movedBytes, b.governor.movedBytes]).toEqual([3.25 * MiB, 3.25 * MiB]);
});

test('it goes no faster than was asked for', async () => {
  await takeTwo();
  const context = { ...idle(), rateBytes: 16 * MiB };
  // The first piece is not waited for, and takes a quarter of a second at most.
  const leastMs = 1000 * (3 / 16) - 70;
  const beganMs = performance.now();
  const full = await ends.send('v', 's1', undefined, context);
  const sentMs = performance.now();
  await ends.receive(full, 'w', context);
  expect(sentMs - beganMs).toBeGreaterThan(leastMs);
  expect(performance.now() - sentMs).toBeGreaterThan(leastMs);
});

test('a snapshot that an earlier version took is known by its pool and its number', async () => {
  await takeTwo();
  const old = snapshotRecords(ends.both.a).map(({ uuid: _, ...record }) => snapshotOp(record));
  await ends.both.a.commit(old);
  await ends.receive(await ends.send('v', 's1'), 'w');
  await ends.both.move('v', 'b');
  await ends.receive(await ends.send('v', 's2', 's1'), 'w');
  await expectSame('v', 's2', 'w');
});
