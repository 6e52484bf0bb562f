/**
 * Scheduler: takes and expires the snapshots of schedules, inside the service.
 *
 * A run that was missed, because nobody was there, is made up once, at once. A run that fails is said once, and tried again at every
 * look; that an operation has the volume is said when the next run is due. Only snapshots that a schedule made expire; what cannot be deleted is tried again behind the next run.
 * Elsewhere: which stay (retention.ts, pure).
 */
import { type Clock, isoTime } from '../base/clock.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import { KeyedMutex } from '../base/keyed-mutex.ts';
import { compareText } from '../base/names.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { volumeById } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import {
  deleteScheduleOp,
  scheduleOf,
  scheduleOp,
  scheduleRecords,
  snapshotRecords,
} from './records.ts';
import {
  completeRetention,
  defaultEveryMs,
  dueAtMs,
  everyMsMin,
  expiring,
  nextRunMs,
  scheduledName,
} from './retention.ts';
import type {
  Retention,
  ScheduleInfo,
  ScheduleOptions,
  SchedulePlan,
  ScheduleRecord,
  Snapshots,
} from './types.ts';

const lookIntervalMs = 10_000;

export interface SchedulerParts {
  readonly pools: Pools;
  readonly clock: Clock;
  readonly emit: EmitEvent;
  readonly snapshots: Pick<Snapshots, 'create' | 'delete'>;
}

export class Scheduler {
  readonly #parts: SchedulerParts;
  /** By pool: one whose disks do not answer holds up the schedules of no other. */
  readonly #turns = new KeyedMutex();
  readonly #stopLooking: () => void;
  /** What did not succeed when it was last tried, and was said. */
  readonly #failing = new Set<string>();
  #closed = false;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#stopLooking = parts.clock.every(lookIntervalMs, () => void this.runDue());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopLooking();
    await Promise.all(
      this.#parts.pools.all().map((pool) => this.#turns.run([pool.uuid], async () => {})),
    );
  }

  list(): ScheduleInfo[] {
    const all = this.#parts.pools.all().flatMap((pool) =>
      scheduleRecords(pool).flatMap((record) => {
        const volume = volumeById(pool, record.volume);
        return volume === undefined ? [] : [describe(volume.name, record)];
      }),
    );
    return all.sort((a, b) => compareText(a.volume, b.volume));
  }

  /** Sets or confirms the schedule of a volume; a dry run says what would expire. @throws StorageError request/invalid */
  set({ pool, record: volume }: FoundVolume, options: ScheduleOptions): Promise<SchedulePlan> {
    return this.#turns.run([pool.uuid], async () => {
      const keep = completeRetention(options.keep);
      const everyMs = everyMsOf(options, keep);
      const known = scheduleOf(pool, volume.id);
      const schedule: ScheduleRecord = {
        volume: volume.id,
        everyMs,
        keep,
        lastRunAt: known?.lastRunAt ?? null,
        createdAt: known?.createdAt ?? isoTime(this.#parts.clock),
      };
      const changed = JSON.stringify(known) !== JSON.stringify(schedule);
      const gone = expiring(scheduled(pool, volume.id), keep).map(({ name }) => name);
      if (!options.dryRun && changed) await pool.commit([scheduleOp(schedule)]);
      return { schedule: describe(volume.name, schedule), changed, expiring: gone };
    });
  }

  /** @throws StorageError schedule/not-found */
  remove({ pool, record }: FoundVolume, options: { readonly dryRun?: boolean }): Promise<void> {
    return this.#turns.run([pool.uuid], async () => {
      if (scheduleOf(pool, record.id) === undefined) {
        throw new StorageError('schedule/not-found', `volume ${record.name} has no schedule`);
      }
      if (!options.dryRun) await pool.commit([deleteScheduleOp(record.id)]);
    });
  }

  /** Runs whatever is due. */
  async runDue(): Promise<void> {
    const pools = this.#parts.pools.all().filter((pool) => !pool.isReadOnly);
    await Promise.all(
      pools.map((pool) => this.#turns.run([pool.uuid], () => this.#runDueIn(pool))),
    );
  }

  async #runDueIn(pool: Pool): Promise<void> {
    for (const schedule of scheduleRecords(pool)) {
      if (this.#closed) return;
      if (nextRunMs(schedule) <= this.#parts.clock.nowMs()) await this.#run(pool, schedule);
    }
  }

  async #run(pool: Pool, schedule: ScheduleRecord): Promise<void> {
    const volume = volumeById(pool, schedule.volume);
    if (volume === undefined) return;
    const { clock, snapshots } = this.#parts;
    const nowMs = clock.nowMs();
    try {
      const names = [{ volume: volume.name, snapshot: scheduledName(nowMs) }];
      await snapshots.create({ names, origin: 'schedule' });
      const lastRunAt = new Date(dueAtMs(schedule, nowMs)).toISOString();
      await pool.commit([scheduleOp({ ...schedule, lastRunAt })]);
      this.#failing.delete(`take ${volume.name}`);
    } catch (error) {
      const isMissed = nowMs - nextRunMs(schedule) >= schedule.everyMs;
      if (isBusy(error) && !isMissed) return;
      const what = `the scheduled snapshot of volume ${volume.name} failed`;
      this.#failed(`take ${volume.name}`, volume, `${what}: ${messageOf(error)}`);
      return;
    }
    await this.#expire(pool, volume, schedule.keep);
  }

  /** One by one: one that is exported keeps no other. */
  async #expire(pool: Pool, volume: VolumeRecord, keep: Retention): Promise<void> {
    const kept: unknown[] = [];
    for (const { name } of expiring(scheduled(pool, volume.id), keep)) {
      const names = [{ volume: volume.name, snapshot: name }];
      try {
        await this.#parts.snapshots.delete(names, { keepClones: true });
      } catch (error) {
        kept.push(error);
      }
    }
    if (kept.length === 0) {
      this.#failing.delete(`expire ${volume.name}`);
      return;
    }
    const which = `${kept.length} scheduled snapshots of volume ${volume.name}`;
    const message = `${which} should have expired: ${messageOf(kept[0])}`;
    // Of what is exported, or read by a backup, nothing is wrong.
    const level = kept.every(isInUse) ? 'warning' : 'error';
    this.#failed(`expire ${volume.name}`, volume, message, level);
  }

  /** Said once, until it succeeds. */
  #failed(
    what: string,
    volume: VolumeRecord,
    message: string,
    level: 'warning' | 'error' = 'error',
  ): void {
    if (this.#failing.has(what)) return;
    this.#failing.add(what);
    const { emit } = this.#parts;
    emit({ kind: 'snapshot/schedule-failed', level, subject: volume.name, message });
  }
}

/** Somebody has the volume for now. */
function isBusy(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'volume/busy';
}

function isInUse(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'snapshot/busy';
}

function everyMsOf({ everySeconds }: ScheduleOptions, keep: Retention): number {
  if (everySeconds === undefined) return defaultEveryMs(keep);
  const everyMs = everySeconds * 1000;
  if (Number.isSafeInteger(everyMs) && everyMs >= everyMsMin) return everyMs;
  throw new StorageError('request/invalid', 'a schedule runs every minute at most');
}

function scheduled(pool: Pool, volume: number) {
  return snapshotRecords(pool).filter(
    (snapshot) => snapshot.volume === volume && snapshot.origin === 'schedule',
  );
}

function describe(volume: string, record: ScheduleRecord): ScheduleInfo {
  return {
    volume,
    everySeconds: record.everyMs / 1000,
    keep: record.keep,
    lastRunAt: record.lastRunAt,
    nextRunAt: new Date(nextRunMs(record)).toISOString(),
  };
}
