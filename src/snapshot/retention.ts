/**
 * Which scheduled snapshots stay: the newest, and the newest of each of the last hours, days and weeks that have one.
 *
 * Pure; hours, days and weeks (from Monday) are UTC's, so that no clock change lets a snapshot vanish.
 */
import { StorageError } from '../base/errors.ts';
import type { Retention, ScheduleRecord } from './types.ts';

export interface Dated {
  readonly name: string;
  readonly createdAt: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const weekMs = 7 * dayMs;
/** The Unix epoch was a Thursday: weeks begin four days later. */
const mondayMs = 4 * dayMs;
export const everyMsMin = 60_000;

/** @throws StorageError request/invalid nothing would be kept, or a number is none */
export function completeRetention(keep: Partial<Retention>): Retention {
  const all = { last: 0, hourly: 0, daily: 0, weekly: 0, ...keep };
  const counts = Object.values(all);
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0 && count <= 1000)) {
    throw new StorageError('request/invalid', 'how many snapshots to keep is a number up to 1000');
  }
  if (counts.every((count) => count === 0)) {
    throw new StorageError('request/invalid', 'a schedule keeps at least one snapshot', {
      actions: ['give --keep-last, --keep-hourly, --keep-daily or --keep-weekly'],
    });
  }
  return all;
}

/** How often, when nobody says: as often as the finest kind that is kept wants it. */
export function defaultEveryMs({ last, hourly, daily }: Retention): number {
  if (last > 0 || hourly > 0) return hourMs;
  return daily > 0 ? dayMs : weekMs;
}

/** Those that no rule wants, the oldest first. */
export function expiring(snapshots: readonly Dated[], keep: Retention): Dated[] {
  const newestFirst = [...snapshots].sort((a, b) => timeOf(b) - timeOf(a));
  const kept = new Set<Dated>(newestFirst.slice(0, keep.last));
  const keepPer = (count: number, periodOf: (ms: number) => number) => {
    const periods = new Set<number>();
    for (const snapshot of newestFirst) {
      const period = periodOf(timeOf(snapshot));
      if (periods.has(period)) continue;
      if (periods.size === count) return;
      periods.add(period);
      kept.add(snapshot);
    }
  };
  keepPer(keep.hourly, (ms) => Math.floor(ms / hourMs));
  keepPer(keep.daily, (ms) => Math.floor(ms / dayMs));
  keepPer(keep.weekly, (ms) => Math.floor((ms - mondayMs) / weekMs));
  return newestFirst.filter((snapshot) => !kept.has(snapshot)).reverse();
}

/** When the next one is due; what was missed while nobody was there is made up once, at once. */
export function nextRunMs({ everyMs, lastRunAt, createdAt }: ScheduleRecord): number {
  return lastRunAt === null ? Date.parse(createdAt) : Date.parse(lastRunAt) + everyMs;
}

/** The latest moment at which it was due: stays on its beat, however late somebody looked. */
export function dueAtMs(schedule: ScheduleRecord, nowMs: number): number {
  const firstMs = nextRunMs(schedule);
  return nowMs - ((nowMs - firstMs) % schedule.everyMs);
}

/** `auto-20260131-235959`, in UTC. */
export function scheduledName(nowMs: number): string {
  const [day, time] = new Date(nowMs).toISOString().split('T') as [string, string];
  return `auto-${day.replaceAll('-', '')}-${time.slice(0, 8).replaceAll(':', '')}`;
}

function timeOf({ createdAt }: Dated): number {
  return Date.parse(createdAt);
}
