// Goal: schedules run when they are due and only then, make up once for what was missed, say failures once and try again, expire their own only.
// Method: the scheduler over a pool's records in memory and snapshots that are records only; the time stands still until a test moves it.
import { beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { Pools } from '../../src/pool/pools.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { deleteScheduleOp, deleteSnapshotOp, snapshotOp } from '../../src/snapshot/records.ts';
import { Scheduler } from '../../src/snapshot/scheduler.ts';
import type {
  CreateSnapshotOptions,
  DeleteSnapshotOptions,
  ScheduleOptions,
  SnapshotName,
  SnapshotRecord,
} from '../../src/snapshot/types.ts';
import { deleteVolumeOp, volumeOp } from '../../src/volume/records.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';
import { FakePool, poolInfo } from '../export/fakes.ts';
import { ManualClock } from '../pool/fixture.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

class Records extends FakePool {
  record<T>(name: string): T | undefined {
    return this.stored.get(name) as T | undefined;
  }
}

let clock: ManualClock;
let records: Records;
let pool: Pool;
let scheduler: Scheduler;
let events: EventInput[];
let created: string[];
let deleted: [name: string, options: DeleteSnapshotOptions | undefined][];
/** Makes what is done with snapshots of that name, or volume, fail. */
let broken: Set<string>;
let busy: boolean;
/** How many were begun to be taken, and what each waits for. */
let begun: number;
let underWay: Promise<void>;

beforeEach(async () => {
  clock = new ManualClock();
  records = new Records(poolInfo('p'));
  pool = records as unknown as Pool;
  [events, created, deleted, broken] = [[], [], [], new Set()];
  [begun, underWay, busy] = [0, Promise.resolve(), false];
  await records.commit(['v', 'w'].map((name, at) => volumeOp(volumeRecord(at + 1, name))));
  scheduler = new Scheduler({
    pools: { all: () => [pool] } as unknown as Pools,
    clock,
    emit: (event) => events.push(event),
    snapshots: { create: take, delete: remove },
  });
});

function volumeRecord(id: number, name: string): VolumeRecord {
  const createdAt = '2026-01-01T00:00:00.000Z';
  return { id, name, sizeBytes: 1, headLayer: id, snapshotMode: 'row', thick: false, createdAt };
}

async function take({ names, origin }: CreateSnapshotOptions) {
  const [{ volume, snapshot }] = names as [SnapshotName];
  begun += 1;
  await underWay;
  if (busy) throw new StorageError('volume/busy', `volume ${volume} is getting its space`);
  if (broken.has(volume)) throw new StorageError('pool/full', `no room for ${volume}`);
  created.push(`${volume}@${snapshot}`);
  await records.commit([
    snapshotOp({
      id: created.length,
      volume: volumeId(volume),
      name: snapshot,
      layer: 1,
      sizeBytes: 1,
      createdAt: new Date(clock.nowMs()).toISOString(),
      consistency: 'crash',
      ...(origin === undefined ? {} : { origin }),
    }),
  ]);
  return { snapshots: [], changed: true, pauseSeconds: 0 };
}

async function remove(names: readonly SnapshotName[], options?: DeleteSnapshotOptions) {
  for (const { volume, snapshot } of names) {
    if (broken.has(snapshot)) throw new StorageError('snapshot/busy', `${snapshot} is exported`);
    const found = records
      .records<SnapshotRecord>('snapshot/')
      .find((each) => each.volume === volumeId(volume) && each.name === snapshot);
    if (found === undefined) throw new StorageError('snapshot/not-found', snapshot);
    await records.commit([deleteSnapshotOp(found.id)]);
    deleted.push([snapshot, options]);
  }
  return { freedBytes: 0 };
}

function volumeId(name: string): number {
  return name === 'v' ? 1 : 2;
}

function set(volume: string, options: Omit<ScheduleOptions, 'volume'>) {
  return scheduler.set(
    { pool, record: volumeRecord(volumeId(volume), volume) },
    { volume, ...options },
  );
}

/** As the service does: the time passes, every look is waited for. */
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await scheduler.runDue();
}

const there = () => records.records<SnapshotRecord>('snapshot/').map(({ name }) => name);
const failures = () => events.filter(({ kind }) => kind === 'snapshot/schedule-failed');

describe('runs', () => {
  test('at once, then every period: looking in between changes nothing', async () => {
    await set('v', { keep: { last: 100 }, everySeconds: 1800 });
    for (let minute = 0; minute < 120; minute++) {
      await scheduler.runDue();
      await pass(minuteMs);
    }
    expect(created).toEqual(
      ['000000', '003000', '010000', '013000', '020000'].map((time) => `v@auto-20260101-${time}`),
    );
  });

  test('keep their beat although nobody looks at the very moment', async () => {
    await set('v', { keep: { last: 100 }, everySeconds: 60 });
    clock.advance(7);
    for (let look = 0; look < 360; look++) await pass(10_000);
    // At 0, 60 … 3,600 s.
    expect(created).toHaveLength(61);
  });

  test('are looked for by the clock', async () => {
    await set('v', { keep: { last: 1 } });
    clock.advance(10_000);
    await expect.poll(() => created).toHaveLength(1);
  });

  test('that were missed are made up once', async () => {
    await set('v', { keep: { last: 100 }, everySeconds: 3600 });
    await pass(0);
    await pass(10.5 * hourMs);
    expect(created).toHaveLength(2);
    await pass(0.4 * hourMs);
    expect(created).toHaveLength(2);
    expect(scheduler.list()).toMatchObject([
      { lastRunAt: '2026-01-01T10:00:00.000Z', nextRunAt: '2026-01-01T11:00:00.000Z' },
    ]);
    await pass(0.1 * hourMs);
    expect(created).toHaveLength(3);
  });

  test('end with the schedule', async () => {
    await set('v', { keep: { last: 3 } });
    await pass(0);
    await scheduler.remove({ pool, record: volumeRecord(1, 'v') }, { dryRun: true });
    expect(scheduler.list()).toHaveLength(1);
    await scheduler.remove({ pool, record: volumeRecord(1, 'v') }, {});
    await pass(24 * hourMs);
    expect(created).toHaveLength(1);
    expect(there()).toHaveLength(1);
    expect(scheduler.list()).toEqual([]);
    const again = scheduler.remove({ pool, record: volumeRecord(1, 'v') }, {});
    await expect(again).rejects.toMatchObject({ code: 'schedule/not-found' });
  });

  test('end with the volume', async () => {
    await set('v', { keep: { last: 3 } });
    await records.commit([deleteVolumeOp(1), deleteScheduleOp(1)]);
    await pass(hourMs);
    expect([created, failures()]).toEqual([[], []]);
  });

  test('end with the service: the one under way is waited for, none begins', async () => {
    await set('v', { keep: { last: 3 } });
    await set('w', { keep: { last: 3 } });
    let finish = () => {};
    underWay = new Promise((resolve) => {
      finish = resolve;
    });
    void scheduler.runDue();
    await expect.poll(() => begun).toBe(1);
    const closed = scheduler.close().then(() => created.length);
    finish();
    expect(await closed).toBe(1);
    await pass(hourMs);
    expect(created).toHaveLength(1);
  });
});

describe('a run that fails', () => {
  beforeEach(async () => {
    await set('v', { keep: { last: 3 } });
    broken.add('v');
  });

  test('is said once, and tried again at every look until it succeeds', async () => {
    for (let look = 0; look < 5; look++) await pass(10_000);
    expect(failures()).toMatchObject([
      { level: 'error', subject: 'v', message: expect.stringMatching(/volume v failed: no room/) },
    ]);
    expect(scheduler.list()).toMatchObject([{ lastRunAt: null }]);
    broken.clear();
    await pass(10_000);
    expect(created).toHaveLength(1);
    await pass(10_000);
    expect(created).toHaveLength(1);
  });

  test('because an operation has the volume is said when the next one is due', async () => {
    broken.clear();
    busy = true;
    await pass(0);
    await pass(hourMs - 10_000);
    expect(failures()).toEqual([]);
    await pass(10_000);
    expect(failures()).toHaveLength(1);
    busy = false;
    await pass(10_000);
    expect(created).toHaveLength(1);
  });

  test('is said again when one has succeeded in between', async () => {
    await pass(0);
    broken.clear();
    await pass(10_000);
    broken.add('v');
    await pass(hourMs);
    expect(failures()).toHaveLength(2);
  });

  test('keeps no other volume from its own', async () => {
    await set('w', { keep: { last: 3 } });
    await pass(0);
    expect(created).toEqual(['w@auto-20260101-000000']);
  });

  test('expires nothing', async () => {
    broken.clear();
    for (let run = 0; run < 3; run++) await pass(hourMs);
    await set('v', { keep: { last: 1 } });
    broken.add('v');
    await pass(hourMs);
    expect(there()).toHaveLength(3);
  });
});

describe('expiry', () => {
  test('takes what no rule wants, of this volume and this origin only; clones keep the data', async () => {
    await take({ names: [{ volume: 'v', snapshot: 'mine' }] });
    await take({ names: [{ volume: 'w', snapshot: 'other' }], origin: 'schedule' });
    await set('v', { keep: { last: 2 } });
    for (let run = 0; run < 4; run++) await pass(hourMs);
    expect(there()).toEqual(['mine', 'other', 'auto-20260101-030000', 'auto-20260101-040000']);
    expect(deleted).toEqual([
      ['auto-20260101-010000', { keepClones: true }],
      ['auto-20260101-020000', { keepClones: true }],
    ]);
  });

  test('of one that cannot go keeps no other, is said once, and tried again', async () => {
    await set('v', { keep: { last: 3 } });
    for (let run = 0; run < 3; run++) await pass(hourMs);
    await set('v', { keep: { last: 1 } });
    broken.add('auto-20260101-010000');
    for (let run = 0; run < 2; run++) await pass(hourMs);
    expect(there()).toEqual(['auto-20260101-010000', 'auto-20260101-050000']);
    expect(failures()).toMatchObject([
      {
        level: 'warning',
        subject: 'v',
        message: expect.stringMatching(/should have expired: .* is exported/),
      },
    ]);
    broken.clear();
    await pass(hourMs);
    expect(there()).toEqual(['auto-20260101-060000']);
  });
});

describe('a schedule', () => {
  test('is set, confirmed, changed; its last run stays', async () => {
    const first = await set('v', { keep: { daily: 7 } });
    expect(first).toMatchObject({
      changed: true,
      schedule: { volume: 'v', everySeconds: 86_400, keep: { last: 0, daily: 7 }, lastRunAt: null },
    });
    expect(await set('v', { keep: { daily: 7 } })).toEqual({ ...first, changed: false });
    await pass(hourMs);
    const changed = await set('v', { keep: { daily: 7 }, everySeconds: 7200 });
    expect(changed).toMatchObject({
      changed: true,
      schedule: { lastRunAt: '2026-01-01T00:00:00.000Z', nextRunAt: '2026-01-01T02:00:00.000Z' },
    });
  });

  test('tells what would expire, and a dry run changes nothing', async () => {
    await set('v', { keep: { last: 3 } });
    for (let run = 0; run < 3; run++) await pass(hourMs);
    const before = scheduler.list();
    const plan = await set('v', { keep: { last: 1 }, dryRun: true });
    expect(plan.expiring).toEqual(['auto-20260101-010000', 'auto-20260101-020000']);
    expect(scheduler.list()).toEqual(before);
    expect(there()).toHaveLength(3);
  });

  test.each([0, 59, 1e300, Number.NaN])('every %d seconds is refused', async (everySeconds) => {
    await expect(set('v', { keep: { last: 1 }, everySeconds })).rejects.toMatchObject({
      code: 'request/invalid',
    });
    expect(scheduler.list()).toEqual([]);
  });

  test('is listed by its volume', async () => {
    for (const volume of ['w', 'v']) await set(volume, { keep: { last: 1 } });
    expect(scheduler.list().map(({ volume }) => volume)).toEqual(['v', 'w']);
  });
});
