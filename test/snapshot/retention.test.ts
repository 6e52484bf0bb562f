// Goal: of scheduled snapshots exactly those go that no rule wants; the newest never.
// Method: examples by the calendar; arbitrary snapshots and rules against a model that judges each snapshot for itself, by the text of its time.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  completeRetention,
  type Dated,
  defaultEveryMs,
  dueAtMs,
  expiring,
  nextRunMs,
  scheduledName,
} from '../../src/snapshot/retention.ts';
import type { Retention } from '../../src/snapshot/types.ts';

const none: Retention = { last: 0, hourly: 0, daily: 0, weekly: 0 };
const hourMs = 3_600_000;

/** Named by its time. */
function at(time: string): Dated {
  return { name: time, createdAt: time };
}

/** Names of what stays, oldest first. */
function kept(times: readonly string[], keep: Partial<Retention>): string[] {
  const gone = new Set(expiring(times.map(at), { ...none, ...keep }).map(({ name }) => name));
  return times.filter((time) => !gone.has(time));
}

describe('what stays', () => {
  const hours = [
    '2026-03-01T22:10:00.000Z',
    '2026-03-01T22:50:00.000Z',
    '2026-03-01T23:59:59.999Z',
    '2026-03-02T00:00:00.000Z',
    '2026-03-02T05:00:00.000Z',
  ];

  test.each<[string, Partial<Retention>, readonly number[]]>([
    ['the newest two', { last: 2 }, [3, 4]],
    ['the newest of each of two hours that have one', { hourly: 2 }, [3, 4]],
    ['the newest of each of four hours', { hourly: 4 }, [1, 2, 3, 4]],
    ['the newest of each day', { daily: 2 }, [2, 4]],
    ['the newest of each week; Monday begins one', { weekly: 2 }, [2, 4]],
    ['what one of the rules wants', { last: 1, hourly: 3, daily: 2 }, [2, 3, 4]],
    ['all, where more is asked for', { last: 9 }, [0, 1, 2, 3, 4]],
  ])('%s', (_, keep, wanted) => {
    expect(kept(hours, keep)).toEqual(wanted.map((index) => hours[index]));
  });

  test('periods without a snapshot do not count', () => {
    const times = [
      '2025-01-01T00:00:00.000Z',
      '2025-06-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z',
    ];
    expect(kept(times, { daily: 2 })).toEqual(times.slice(1));
    expect(kept(times, { weekly: 3 })).toEqual(times);
  });

  test('a week is from Monday to Sunday, over the turn of a year', () => {
    // 2024-12-30 was a Monday.
    const times = ['2024-12-29', '2024-12-30', '2025-01-05', '2025-01-06'].map(
      (day) => `${day}T12:00:00.000Z`,
    );
    expect(kept(times, { weekly: 3 })).toEqual([times[0], times[2], times[3]]);
  });
});

const snapshots = fc
  .uniqueArray(
    fc.integer({ min: Date.parse('2023-12-25'), max: Date.parse('2024-03-05') }).chain((ms) =>
      // Close together as well as far apart.
      fc.constantFrom(0, 1, 999, 60_000, hourMs - 1, hourMs, 23 * hourMs).map((by) => ms + by),
    ),
    { maxLength: 60 },
  )
  .map((times) => times.map((ms) => at(new Date(ms).toISOString())));

const count = fc.integer({ min: 0, max: 8 });
const rules = fc
  .record({ last: count, hourly: count, daily: count, weekly: count })
  .filter((keep) => Object.values(keep).some((n) => n > 0));

/** The Monday of its week. */
function weekOf(time: string): string {
  const date = new Date(`${time.slice(0, 10)}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString().slice(0, 10);
}

/** Whether a rule wants it: the newest of its period, and few periods with a snapshot are younger. */
function isWanted(all: readonly Dated[], { createdAt }: Dated, keep: Retention): boolean {
  const younger = all.map((each) => each.createdAt).filter((time) => time > createdAt);
  const isAmong = (n: number, periodOf: (time: string) => string) => {
    const periods = new Set(younger.map(periodOf));
    return !periods.has(periodOf(createdAt)) && periods.size < n;
  };
  return (
    isAmong(keep.last, (time) => time) ||
    isAmong(keep.hourly, (time) => time.slice(0, 13)) ||
    isAmong(keep.daily, (time) => time.slice(0, 10)) ||
    isAmong(keep.weekly, weekOf)
  );
}

describe('for any snapshots and rules', () => {
  test('those go that no rule wants, the oldest first; the newest stays', () => {
    fc.assert(
      fc.property(snapshots, rules, (all, keep) => {
        const gone = expiring(all, keep);
        const unwanted = all.filter((each) => !isWanted(all, each, keep));
        const oldestFirst = unwanted.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
        expect(gone).toEqual(oldestFirst);
        const newest = all
          .map(({ name }) => name)
          .sort()
          .at(-1);
        expect(gone.map(({ name }) => name)).not.toContain(newest);
      }),
    );
  });

  test('what stayed stays: a second time nothing goes', () => {
    fc.assert(
      fc.property(snapshots, rules, (all, keep) => {
        const gone = new Set(expiring(all, keep));
        expect(
          expiring(
            all.filter((each) => !gone.has(each)),
            keep,
          ),
        ).toEqual([]);
      }),
    );
  });
});

describe('rules', () => {
  test('are completed with nothing', () => {
    expect(completeRetention({ daily: 7 })).toEqual({ ...none, daily: 7 });
  });

  test.each<[Partial<Retention>, RegExp]>([
    [{}, /at least one/],
    [{ last: 0, weekly: 0 }, /at least one/],
    [{ last: -1 }, /number up to 1000/],
    [{ last: 1.5 }, /number up to 1000/],
    [{ daily: 1001 }, /number up to 1000/],
    [{ daily: Number.NaN }, /number up to 1000/],
  ])('%j are refused', (keep, message) => {
    expect(() => completeRetention(keep)).toThrow(message);
  });

  test.each<[Partial<Retention>, number]>([
    [{ last: 1 }, hourMs],
    [{ hourly: 1, weekly: 1 }, hourMs],
    [{ daily: 1, weekly: 1 }, 24 * hourMs],
    [{ weekly: 1 }, 7 * 24 * hourMs],
  ])('%j want a run every %i ms', (keep, everyMs) => {
    expect(defaultEveryMs({ ...none, ...keep })).toBe(everyMs);
  });
});

describe('runs', () => {
  const schedule = {
    volume: 1,
    everyMs: hourMs,
    keep: none,
    createdAt: '2026-01-01T00:30:00.000Z',
  };
  const next = (lastRunAt: string | null) =>
    new Date(nextRunMs({ ...schedule, lastRunAt })).toISOString();
  const due = (lastRunAt: string | null, now: string) =>
    new Date(dueAtMs({ ...schedule, lastRunAt }, Date.parse(now))).toISOString();

  test('are due at once, then a period after the last', () => {
    expect(next(null)).toBe(schedule.createdAt);
    expect(next('2026-01-01T07:00:00.000Z')).toBe('2026-01-01T08:00:00.000Z');
  });

  test('stay on their beat, however late they are', () => {
    expect(due(null, '2026-01-01T00:30:09.000Z')).toBe('2026-01-01T00:30:00.000Z');
    expect(due('2026-01-01T07:00:00.000Z', '2026-01-01T08:00:00.000Z')).toBe(
      '2026-01-01T08:00:00.000Z',
    );
    expect(due('2026-01-01T07:00:00.000Z', '2026-01-03T09:59:59.000Z')).toBe(
      '2026-01-03T09:00:00.000Z',
    );
  });

  test('are named by their time in UTC', () => {
    expect(scheduledName(Date.parse('2026-01-31T23:59:59.999Z'))).toBe('auto-20260131-235959');
  });
});
