/**
 * LostReplicas: what becomes of a replica whose disk does not do its part, while another does: the journal goes on without it.
 *
 *   replica ──ring not answered for 2 s, or failed; checkpoint failed; disk given up──▶ left behind
 *      ▲                                                                                   │ labels of all other replicas say so, durably
 *      │                                                                                   ▼
 *      └──────── begun anew, by copy ◀── the disk answers, nothing old is on its way ──── lost
 *
 * The round of the journal that waits for it, and the flushes behind that round, are answered only when those labels are durable: whoever
 * opens the pool afterwards, with that disk among the others, does not believe its ring. No other replica: nothing is left behind.
 * A disk that is lost again soon waits longer each time, because rounds wait for the copy. One that is given up (its patience is over)
 * gives its place to another disk, if there is one. When those that remain cannot say it, the round waits for them with their patience; then the
 * pool has failed.
 * Elsewhere: who notices (native/journal/ring_writer.h), beginning and ending (replicas.ts), the labels' order (label-order.ts).
 */
import { getSystemErrorName } from 'node:util';
import { allEnded } from '../base/all-ended.ts';
import type { Clock } from '../base/clock.ts';
import { isDiskIo, StorageError } from '../base/errors.ts';
import type { LaggingReplica } from '../dataplane/binding.ts';
import type { DiskSet, PoolDisk } from './disk-set.ts';
import type { Replicas } from './replicas.ts';
import type { PoolWarning } from './types.ts';

const lookIntervalMs = 1_000;
/** As long as a ring has (kReplicaPatience in native/journal/ring_writer.h). */
const labelPatienceMs = 2_000;
/** A disk that came back is given so long before it is believed, twice as long after each loss that follows. */
const pauseMs = 5_000;
const pauseMsMax = 300_000;
/** Past losses are forgotten by then. */
const forgetMs = 3_600_000;
/** Until a begin that failed is tried again. */
const retryMs = 30_000;

export interface LostReplicasParts {
  readonly disks: DiskSet;
  readonly clock: Clock;
  readonly replicas: Replicas;
  /** Begins replicas where some are missing, `back` among them, one caller at a time; never throws. */
  readonly complete: (back: readonly PoolDisk[]) => Promise<void>;
  readonly tell: (level: 'info' | 'warning', kind: string, message: string) => void;
  /** No replica can be written any more, or the pool is another's. */
  readonly onError: (error: unknown) => void;
}

/** Nobody waits for the disk any more. */
function isGivenUp({ plane }: PoolDisk): boolean {
  return !plane.isPatient || plane.condition.state === 'failed';
}

interface Loss {
  readonly atMs: number;
  readonly why: string;
  /** One after the other. */
  readonly count: number;
}

export class LostReplicas {
  readonly #parts: LostReplicasParts;
  readonly #stopLooking: () => void;
  /** By disk, also past ones. */
  readonly #losses = new Map<PoolDisk, Loss>();
  /** Left behind, and the labels do not say so durably. */
  readonly #leaving = new Set<PoolDisk>();
  #writing: Promise<void> | undefined;
  #mending: Promise<void> | undefined;
  #beginFailed = false;
  #quietUntilMs = 0;
  #stopped = false;

  constructor(parts: LostReplicasParts) {
    this.#parts = parts;
    this.#stopLooking = parts.clock.every(lookIntervalMs, () => this.look());
  }

  /** Told by the data plane as long as a round waits for them: some other replica has what they lack. */
  lag(lagging: readonly LaggingReplica[]): void {
    const { disks } = this.#parts;
    const late = disks.all.filter(({ label }) =>
      lagging.some(({ disk }) => disk === label.diskNumber),
    );
    if (disks.journals.every((disk) => late.includes(disk))) return;
    for (const disk of late) {
      const error = lagging.find((replica) => replica.disk === disk.label.diskNumber)?.error;
      this.#leave(disk, error ? getSystemErrorName(-error) : 'it does not answer');
    }
  }

  /** The disk fails to carry its replica. @returns whether it is left behind */
  failed(disk: PoolDisk, error: StorageError): boolean {
    const { journals } = this.#parts.disks;
    const others = journals.filter((other) => other !== disk);
    const remains = others.some(({ plane }) => plane.condition.state === 'online');
    if (!remains || !journals.includes(disk)) return false;
    this.#leave(disk, error.message);
    return true;
  }

  /** Leaves behind what was given up, and begins again what is back. */
  look(): void {
    const { disks, clock } = this.#parts;
    for (const disk of disks.journals) {
      const { state, message } = disk.plane.condition;
      if (state === 'failed') this.failed(disk, new StorageError('disk/io', message));
    }
    this.#makeDurable();
    if (this.#stopped || this.#mending !== undefined || clock.nowMs() < this.#quietUntilMs) return;
    const back = disks.leftBehind.filter((disk) => this.#isBack(disk));
    const gone = disks.leftBehind.some(({ plane }) => plane.condition.state === 'failed');
    if (back.length === 0 && !gone && !this.#beginFailed) return;
    this.#mending = this.#mend(back).finally(() => {
      this.#mending = undefined;
    });
  }

  /** A disk stopped answering, or answers again. */
  conditionChanged(): void {
    this.#quietUntilMs = 0;
    this.look();
  }

  /** Begins nothing more, and waits for what was begun. What lags is still left behind. */
  async stopMending(): Promise<void> {
    this.#stopLooking();
    this.#stopped = true;
    await this.#mending;
  }

  get warnings(): PoolWarning[] {
    const { disks } = this.#parts;
    const left = disks.journals.length;
    return disks.leftBehind.map((disk) => {
      const { uri } = disk.location;
      const why = this.#losses.get(disk)?.why ?? 'it was left behind before';
      const remain = left === 1 ? 'one replica remains' : `${left} replicas remain`;
      return {
        level: left === 1 ? 'critical' : 'warning',
        code: 'pool/journal-replica',
        message: `the journal goes on without its replica on ${uri} (${why}): ${remain}`,
        actions: [
          `bring ${uri} back: its replica begins again by itself`,
          `or varve disk add ${disk.label.poolName} DISK-URI, varve disk remove ${uri}`,
        ],
      };
    });
  }

  #leave(disk: PoolDisk, why: string): void {
    const { disks, clock } = this.#parts;
    if (!disks.isLeftBehind(disk)) {
      const before = this.#losses.get(disk);
      const atMs = clock.nowMs();
      const again = before !== undefined && atMs - before.atMs < forgetMs;
      this.#losses.set(disk, { atMs, why, count: again ? before.count + 1 : 1 });
      disks.leaveBehind(disk);
      this.#leaving.add(disk);
    }
    this.#makeDurable();
  }

  #makeDurable(): void {
    if (this.#leaving.size === 0) return;
    this.#writing ??= this.#writeLabels().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Whoever waits goes on only behind it; what cannot be done now is tried again. */
  async #writeLabels(): Promise<void> {
    const { disks, onError } = this.#parts;
    try {
      while (this.#leaving.size > 0) {
        const leaving = [...this.#leaving];
        await allEnded(disks.journals.map((disk) => this.#writeLabel(disk)));
        for (const disk of leaving) this.#lost(disk);
      }
    } catch (error) {
      if (!isDiskIo(error) || disks.journals.every(isGivenUp)) onError(error);
    }
  }

  /** One that does not answer for a label is left behind as well, while another remains; the last one is waited for. */
  async #writeLabel(disk: PoolDisk): Promise<void> {
    const { disks } = this.#parts;
    const late = () => this.failed(disk, new StorageError('disk/io', 'its label is not written'));
    const timer = setTimeout(late, labelPatienceMs);
    try {
      await disks.whileReplica(
        disk,
        disks.writeLabel(disk, () => ({})),
      );
    } catch (error) {
      if (!isDiskIo(error)) throw error;
      if (!this.failed(disk, error)) await disks.writeLabels(() => ({}), [disk]);
    } finally {
      clearTimeout(timer);
    }
  }

  #lost(disk: PoolDisk): void {
    const { disks, replicas, tell } = this.#parts;
    this.#leaving.delete(disk);
    replicas.lose(disk);
    const { uri } = disk.location;
    const why = this.#losses.get(disk)?.why;
    const count = disks.journals.length;
    tell(
      'warning',
      'pool/journal-replica-lost',
      `the journal goes on without its replica on ${uri} (${why}), with ${count} more`,
    );
  }

  async #mend(back: readonly PoolDisk[]): Promise<void> {
    const { disks, clock, complete, tell } = this.#parts;
    const before = disks.journals;
    await complete(back);
    const begun = disks.journals.filter((disk) => !before.includes(disk));
    for (const disk of begun) {
      const message = `disk ${disk.location.uri} carries a replica of the journal again`;
      tell('info', 'pool/journal-replica-begun', message);
    }
    this.#beginFailed = back.length > 0 && begun.length === 0;
    this.#quietUntilMs = begun.length > 0 ? 0 : clock.nowMs() + retryMs;
  }

  #isBack(disk: PoolDisk): boolean {
    return !this.#leaving.has(disk) && this.#parts.replicas.isBack(disk) && this.#isCalm(disk);
  }

  /** Its state has been good for long enough; a life that begins believes at once. */
  #isCalm(disk: PoolDisk): boolean {
    const loss = this.#losses.get(disk);
    if (loss === undefined) return true;
    const pause = Math.min(pauseMs * 2 ** (loss.count - 1), pauseMsMax);
    return this.#parts.clock.nowMs() - loss.atMs >= pause;
  }
}
