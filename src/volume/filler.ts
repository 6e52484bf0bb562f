/**
 * Filler: gives the thick volumes of a pool all of their space, and finishes what was cut off.
 *
 *   filling/<id> durable with the volume → provisioned, in steps → durable → filling/<id> deleted
 *
 * As long as the record is there some cluster behind `fromBytes` may have no place. A volume is filled by one job, whoever asks.
 * Elsewhere: the steps (thick.ts), who may change a volume meanwhile (volume-service.ts).
 */
import type { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { ReportProgress } from '../pool/types.ts';
import { volumeKey, volumeToOpen } from './chain.ts';
import { deleteFillingOps, fillingOf } from './records.ts';
import { abortReason, provision } from './thick.ts';
import type { VolumeRecord } from './types.ts';

export interface FillWatch {
  readonly report: ReportProgress;
  readonly signal: AbortSignal | undefined;
}

interface Job {
  readonly watchers: Set<ReportProgress>;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

export class Filler {
  readonly #pool: Pool;
  readonly #jobs = new Map<number, Job>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Fills the volume, or watches whoever does; nothing when it is whole.
   *
   * @throws StorageError pool/full, pool/failed, disk/io; what `signal` gives as its reason, or op/state: its end stops a job begun
   *   here, else only the watching. What was provisioned so far stays
   */
  async fill(volume: VolumeRecord, watch: FillWatch): Promise<void> {
    const running = this.#jobs.get(volume.id);
    if (running === undefined) return this.#begin(volume, watch).ended;
    running.watchers.add(watch.report);
    try {
      await untilAborted(running.ended, watch.signal);
    } finally {
      running.watchers.delete(watch.report);
    }
  }

  isFilling(id: number): boolean {
    return this.#jobs.has(id);
  }

  /** Ends after the step under way, which is told the reason. Nothing when nobody fills the volume. */
  async stop(id: number, reason: StorageError): Promise<void> {
    const job = this.#jobs.get(id);
    job?.stop.abort(reason);
    await job?.ended.catch(() => {});
  }

  async stopAll(reason: StorageError): Promise<void> {
    await Promise.all([...this.#jobs.keys()].map((id) => this.stop(id, reason)));
  }

  #begin(volume: VolumeRecord, { report, signal }: FillWatch): Job {
    const watchers = new Set([report]);
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    const tell: ReportProgress = (done, total) => {
      for (const watcher of watchers) watcher(done, total);
    };
    const ended = this.#fill(volume, tell, either).finally(() => this.#jobs.delete(volume.id));
    const job: Job = { watchers, stop, ended };
    this.#jobs.set(volume.id, job);
    return job;
  }

  async #fill(volume: VolumeRecord, report: ReportProgress, signal: AbortSignal): Promise<void> {
    const filling = fillingOf(this.#pool, volume.id);
    if (filling === undefined) return;
    const { id, sizeBytes } = volume;
    const plane = await this.#pool.openVolume(volumeToOpen(this.#pool, volume));
    try {
      const range = { from: filling.fromBytes, to: sizeBytes };
      await provision(this.#pool, plane, range, report, signal);
      await this.#pool.commit(deleteFillingOps(this.#pool, id));
    } finally {
      await this.#pool.closeVolume(volumeKey(id));
    }
  }
}

async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  const end = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const give = () => reject(abortReason(signal));
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { signal: end.signal });
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    end.abort();
  }
}
