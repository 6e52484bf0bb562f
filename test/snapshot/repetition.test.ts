// Goal: to create what is there already succeeds and changes nothing, if it is what would be made now; anything else is an error that says why.
// Method: a real pool and data plane; a snapshot is taken, one thing happens, the command is repeated.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { CreateSnapshotOptions } from '../../src/snapshot/types.ts';
import { Fixture } from '../pool/fixture.ts';
import { FakeAgent } from './fake-agent.ts';

const clusterBytes = 16 * KiB;

let fixture: Fixture;
let pools = 0;
/** Names of this test's volumes. */
let v: string;
let w: string;

beforeAll(async () => {
  fixture = await Fixture.open({ flushWindowMs: 60_000 });
});
afterAll(async () => {
  await fixture.close();
});

beforeEach(async () => {
  const pool = `p${pools++}`;
  [v, w] = [`${pool}-v`, `${pool}-w`];
  const uri = `file:${fixture.path(pool)}?size=${64 * MiB}`;
  await fixture.pools.create(pool, [uri], { clusterBytes });
  for (const name of [v, w]) await fixture.volumes.create({ name, sizeBytes: MiB, pool });
  await write(v, 1);
});
afterEach(() => {
  fixture.events.length = 0;
});

type Kept = Omit<CreateSnapshotOptions, 'names'>;

/** Takes s of the volumes. */
function take(volumes: readonly string[], kept: Kept = {}) {
  const names = volumes.map((volume) => ({ volume, snapshot: 's' }));
  return fixture.snapshots.create({ names, ...kept });
}

/** One cluster; answered, and not flushed. */
async function write(volume: string, fill: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open(volume);
  await plane.write(0, new Uint8Array(clusterBytes).fill(fill));
  await close();
}

const refused = (message: RegExp) => ({
  code: 'snapshot/exists',
  message: expect.stringMatching(message),
});

describe('nothing is changed', () => {
  test('by a second one: it answers with the first', async () => {
    const kept = { note: 'n', labels: { a: '1', b: '2' }, attachment: 'x' };
    const first = await take([v], kept);
    expect(first.changed).toBe(true);
    const again = await take([v], { ...kept, labels: { b: '2', a: '1' } });
    expect(again).toEqual({ snapshots: first.snapshots, changed: false, pauseSeconds: 0 });
    expect(fixture.events.filter(({ kind }) => kind === 'snapshot/created')).toHaveLength(1);
    expect(fixture.snapshots.list(v)).toHaveLength(1);
  });

  test('by a group that is there as a whole, in any order', async () => {
    const first = await take([v, w]);
    const again = await take([w, v]);
    expect(again.changed).toBe(false);
    expect(again.snapshots).toEqual([...first.snapshots].reverse());
  });

  test('after a restart, and by a dry run', async () => {
    const { snapshots } = await take([v]);
    await fixture.restart();
    expect(await take([v], { dryRun: true })).toMatchObject({ snapshots, changed: false });
    expect(await take([v])).toMatchObject({ snapshots, changed: false });
  });

  test('by reading, and by the way back to the snapshot', async () => {
    await take([v]);
    await write(v, 2);
    await expect(take([v])).rejects.toMatchObject(refused(/changed/));
    await fixture.snapshots.revert(v, 's', { discard: true });
    const { plane, close } = await fixture.volumes.open(v);
    await plane.read(0, MiB);
    await close();
    expect(await take([v])).toMatchObject({ changed: false });
  });

  test('by two at once: one is made', async () => {
    const [first, second] = await Promise.all([take([v]), take([v])]);
    expect([first.changed, second.changed]).toEqual([true, false]);
    expect(second.snapshots).toEqual(first.snapshots);
  });
});

describe.each(['row', 'cow'] as const)('in mode %s a volume has moved on', (mode) => {
  beforeEach(async () => {
    await fixture.snapshots.setMode(v, mode);
    await take([v]);
  });

  const expectMovedOn = () =>
    expect(take([v])).rejects.toMatchObject({
      ...refused(/^snapshot \S+@s exists, and volume \S+ has changed since it was taken, at 2/),
      actions: [
        'choose another name',
        `varve snapshot diff ${v}@s   (what has changed)`,
        `varve snapshot delete ${v}@s   (then take it anew)`,
      ],
    });

  test.each([
    ['a write that is not flushed', 'write'],
    ['a trim', 'trim'],
    ['zeroes', 'zero'],
  ] as const)('by %s, also in a dry run', async (_, what) => {
    const { plane, close } = await fixture.volumes.open(v);
    if (what === 'write') await plane.write(5 * clusterBytes, Uint8Array.of(1));
    else await plane[what](0, clusterBytes / 16);
    await expectMovedOn();
    await close();
    await expect(take([v], { dryRun: true })).rejects.toMatchObject(refused(/changed/));
  });

  test('although the younger snapshot with the change is gone', async () => {
    await write(v, 2);
    await fixture.snapshots.create({ names: [{ volume: v, snapshot: 't' }] });
    await expectMovedOn();
    await fixture.snapshots.delete([{ volume: v, snapshot: 't' }]);
    await expectMovedOn();
    await fixture.snapshots.settled(fixture.pools.get(v.slice(0, -2)));
    await expectMovedOn();
  });

  test('by a revert to an older snapshot', async () => {
    await write(v, 2);
    await fixture.snapshots.create({ names: [{ volume: v, snapshot: 't' }] });
    await fixture.snapshots.revert(v, 's');
    const names = [{ volume: v, snapshot: 't' }];
    await expect(fixture.snapshots.create({ names })).rejects.toMatchObject(refused(/changed/));
    expect(await take([v])).toMatchObject({ changed: false });
  });
});

describe('something else is there', () => {
  test.each<[string, Kept, Kept, RegExp]>([
    ['another note', { note: 'a' }, { note: 'b' }, /exists, with another note/],
    ['no note', { note: 'a' }, {}, /another note/],
    ['another label', { labels: { a: '1' } }, { labels: { a: '2' } }, /other labels/],
    ['one label more', { labels: { a: '1' } }, { labels: { a: '1', b: '2' } }, /other labels/],
    ['another attachment', { attachment: 'x' }, { attachment: 'y' }, /another attachment/],
    ['taken by a schedule', { origin: 'schedule' }, {}, /it will expire/],
    ['taken by no schedule', {}, { origin: 'schedule' }, /no schedule took it/],
    ['not quiesced', {}, { quiesceSocket: '/no/such/agent' }, /is not quiesced/],
  ])('%s', async (_, before, now, message) => {
    await take([v], before);
    await expect(take([v], now)).rejects.toMatchObject(refused(message));
    expect(await take([v], before)).toMatchObject({ changed: false });
  });

  test('the size', async () => {
    await take([v]);
    await fixture.volumes.resize(v, 2 * MiB);
    await expect(take([v])).rejects.toMatchObject(refused(/before the volume was resized/));
  });

  test('a bookmark', async () => {
    await take([v]);
    await fixture.snapshots.delete([{ volume: v, snapshot: 's' }], { bookmark: true });
    await expect(take([v])).rejects.toMatchObject(refused(/as a bookmark/));
  });

  test('a part of the group, in either direction', async () => {
    await take([v]);
    await expect(take([w, v])).rejects.toMatchObject(refused(/v@s exists, and \S+w@s does not/));
    await take([w]);
    await expect(take([v, w])).rejects.toMatchObject(refused(/together with others/));
  });

  test('a larger group, until the others are gone', async () => {
    const u = `${v}-u`;
    await fixture.volumes.create({ name: u, sizeBytes: MiB, pool: v.slice(0, -2) });
    await take([v, w, u]);
    await expect(take([v, w])).rejects.toMatchObject(refused(/together with others/));
    await expect(take([v])).rejects.toMatchObject(refused(/together with others/));
    await fixture.snapshots.delete([{ volume: u, snapshot: 's' }]);
    expect(await take([v, w])).toMatchObject({ changed: false });
  });

  test('two groups of the same size', async () => {
    const [t, u] = [`${v}-t`, `${v}-u`];
    for (const name of [t, u]) {
      await fixture.volumes.create({ name, sizeBytes: MiB, pool: v.slice(0, -2) });
    }
    await take([v, t]);
    await take([w, u]);
    await expect(take([v, w])).rejects.toMatchObject(refused(/together with others/));
  });

  test('in one volume of a group: all are refused, none is made', async () => {
    await take([v, w]);
    await write(w, 2);
    await expect(take([v, w])).rejects.toMatchObject(refused(/w@s exists, and volume \S+w has/));
  });
});

test('a quiesced one will do for both, and its guest is not frozen again', async () => {
  let isTakenBefore = true;
  const agent = await new FakeAgent({
    'guest-fsfreeze-freeze': (self, socket) => {
      isTakenBefore = fixture.snapshots.list(v).length > 0;
      self.answer(socket, { return: self.setFrozen(3) });
    },
  }).listen();
  await take([v], { quiesceSocket: agent.path });
  expect(isTakenBefore).toBe(false);
  agent.commands.length = 0;
  expect(await take([v], { quiesceSocket: agent.path })).toMatchObject({ changed: false });
  expect(await take([v])).toMatchObject({ changed: false });
  await write(v, 2);
  const late = take([v], { quiesceSocket: agent.path });
  await expect(late).rejects.toMatchObject(refused(/changed/));
  expect(agent.commands).toEqual([]);
  agent.close();
});

test('one that somebody else took meanwhile stays, when the freeze for this one does not hold', async () => {
  const other = await new FakeAgent().listen();
  const agent = await new FakeAgent({
    'guest-fsfreeze-freeze': (self, socket) => {
      void take([v], { quiesceSocket: other.path }).then(() => self.answer(socket, { return: 3 }));
    },
    // It thawed by itself meanwhile.
    'guest-fsfreeze-thaw': (self, socket) => self.answer(socket, { return: 0 }),
  }).listen();
  const quiesced = take([v], { quiesceSocket: agent.path });
  await expect(quiesced).rejects.toMatchObject({ code: 'snapshot/quiesce' });
  expect(fixture.snapshots.list(v)).toHaveLength(1);
  for (const each of [agent, other]) each.close();
});
