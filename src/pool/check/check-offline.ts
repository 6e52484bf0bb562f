/**
 * The offline check: reads a pool from its disks alone and reports everything that is not as it should be.
 *
 *   labels → checkpoint of each journal disk → journal replicas → (checkpoint + tail) = index → maps, bitmaps, records
 *
 * Without the addon, without the services' code for the same data, and without writing. The pool should be closed:
 * a pool that changes under the check looks damaged, and a lease that is alive is reported. Memory: a few bits per cluster
 * and what the journal's tail changes.
 */

import type { DiskSpaceSpec } from '../disk-space.ts';
import type { ForeignDiskRecord } from '../foreign-disk.ts';
import { readCheckpoint, readCheckpointChain } from '../format/checkpoint-codec.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { FormatError } from '../format/format-error.ts';
import { foreignSpace } from '../pool-state.ts';
import type { CheckReport } from '../types.ts';
import { compareIndexes } from './agreement.ts';
import { ClusterMap } from './cluster-map.ts';
import {
  type CheckedDisk,
  type CheckedPool,
  checkDisks,
  closeDisks,
  type DiskUnderCheck,
  openDisks,
} from './disks.ts';
import { FindingLog } from './findings.ts';
import { checkForeign, foreignRecords } from './foreign.ts';
import { checkReplicas, journalRecords } from './journal.ts';
import { mergedEntries } from './merge.ts';
import { RecordCheck } from './records.ts';
import { Tail } from './tail.ts';
import { IndexWalk, refusedAs, withCountedSpace } from './walk.ts';

/** A host's index, to be compared with the disks. */
export interface IndexUnderCheck {
  /** `H applied`: the last journal sequence the index reflects. */
  readonly appliedSequence: number;
  /** All entries in key order, unsealed. */
  readonly entries: AsyncIterable<IndexEntry>;
}

export interface CheckOptions {
  readonly index?: IndexUnderCheck;
  /** For the lease; the present by default. */
  readonly nowMs?: number;
}

/**
 * Checks a pool by the paths of all of its disks. What is wrong on the disks is a finding, never an error.
 *
 * @throws StorageError disk/unusable a path cannot be opened
 * @throws StorageError pool/disk-missing fewer paths than the pool has disks
 * @throws StorageError disk/io the operating system cannot read a disk
 */
export async function checkOffline(
  paths: readonly string[],
  options: CheckOptions = {},
): Promise<CheckReport> {
  const opened = await openDisks(paths);
  try {
    return await checkReadable(opened, options);
  } finally {
    await closeDisks(opened);
  }
}

/** As `checkOffline`, of disks that can be read already. @throws StorageError pool/disk-missing; what reading them throws */
export async function checkReadable(
  disks: readonly DiskUnderCheck[],
  options: CheckOptions = {},
): Promise<CheckReport> {
  const log = new FindingLog();
  const pool = await checkDisks(disks, options.nowMs ?? Date.now(), log);
  if (pool === null) return report('', log);
  return new PoolCheck(pool, log).run(options.index);
}

function report(pool: string, log: FindingLog, counts: Partial<CheckReport> = {}): CheckReport {
  return {
    pool,
    findings: log.all(),
    clustersChecked: 0,
    leavesChecked: 0,
    recordsChecked: 0,
    ...counts,
  };
}

class PoolCheck {
  readonly #pool: CheckedPool;
  readonly #log: FindingLog;
  /** Of the checkpoints that can be read, by disk. */
  readonly #chains = new Map<number, readonly number[]>();
  /** As the checkpoint has them. */
  #foreign: readonly ForeignDiskRecord[] = [];

  constructor(pool: CheckedPool, log: FindingLog) {
    this.#pool = pool;
    this.#log = log;
  }

  async run(index: IndexUnderCheck | undefined): Promise<CheckReport> {
    const source = await this.#checkCheckpoints();
    await checkReplicas(this.#pool, this.#log);
    await this.#findForeign(source);
    const tail = await this.#readTail(Number.POSITIVE_INFINITY);
    const foreign = await this.#foreignWith(source, tail);
    const clusters = new ClusterMap(this.#pool.disks, foreign, this.#log);
    for (const [disk, chain] of this.#chains) clusters.claimChain(disk, chain);
    const records = new RecordCheck(this.#log);
    const walk = new IndexWalk(clusters, records, this.#log);
    if (source !== 'lost') {
      const base = withCountedSpace(this.#base(source), this.#log);
      await this.#reportRefusal(async () => {
        for await (const entry of mergedEntries(base, tail)) walk.visit(entry);
        records.finish(this.#pool, walk.lastLeaves);
        clusters.compare();
      });
      if (index !== undefined) await this.#compareIndex(index, source);
    }
    return report(this.#pool.truth.poolName, this.#log, {
      clustersChecked: clusters.clusterCount,
      leavesChecked: walk.leafCount,
      recordsChecked: tail.recordCount,
    });
  }

  /**
   * Reads every replica of the checkpoint.
   *
   * @returns a disk with a sound one that fits the tail; `none` before the first checkpoint, `lost` when all are damaged
   */
  async #checkCheckpoints(): Promise<CheckedDisk | 'none' | 'lost'> {
    const sound: CheckedDisk[] = [];
    for (const disk of this.#pool.disks) {
      if (disk.label.checkpoint !== null && (await this.#isCheckpointSound(disk))) {
        sound.push(disk);
      }
    }
    const wanted = this.#pool.truth.checkpoint;
    if (wanted === null) return 'none';
    return sound.find(({ label }) => label.checkpoint?.sequence === wanted.sequence) ?? 'lost';
  }

  async #isCheckpointSound(disk: CheckedDisk): Promise<boolean> {
    try {
      this.#chains.set(disk.label.diskNumber, await readCheckpointChain(disk.read, disk.label));
      for await (const _entry of readCheckpoint(disk.read, disk.label));
      return true;
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#log.damage('checkpoint/damaged', disk.path, error.message);
      return false;
    }
  }

  /** Bitmaps and slots come before the records in an index, and need to know these disks. */
  async #findForeign(source: CheckedDisk | 'none' | 'lost'): Promise<void> {
    if (source === 'lost') return;
    await this.#reportRefusal(async () => {
      this.#foreign = await foreignRecords(this.#base(source));
    });
  }

  /** Those of the checkpoint and those that the tail adds. */
  async #foreignWith(source: CheckedDisk | 'none' | 'lost', tail: Tail): Promise<DiskSpaceSpec[]> {
    if (source === 'lost') return [];
    const now: ForeignDiskRecord[] = [];
    await this.#reportRefusal(async () => {
      now.push(...(await foreignRecords(mergedEntries(this.#base(source), tail))));
    });
    await checkForeign(now, this.#log);
    return now.map(foreignSpace);
  }

  async *#base(source: CheckedDisk | 'none'): AsyncGenerator<IndexEntry> {
    if (source !== 'none') yield* readCheckpoint(source.read, source.label);
  }

  async #readTail(lastSequence: number): Promise<Tail> {
    const counts = this.#pool.disks.map(
      ({ label }) => [label.diskNumber, label.clusterCount] as const,
    );
    const tail = new Tail(new Map(counts), this.#foreign);
    const checkpointed = this.#pool.truth.checkpoint?.sequence ?? 0;
    for await (const record of journalRecords(this.#pool)) {
      if (record.sequence > lastSequence) break;
      if (record.sequence <= checkpointed) continue;
      const where = `journal record ${record.sequence}`;
      refusedAs(this.#log, 'journal/record', where, () => tail.apply(record));
    }
    return tail;
  }

  async #compareIndex(index: IndexUnderCheck, source: CheckedDisk | 'none'): Promise<void> {
    const checkpointed = this.#pool.truth.checkpoint?.sequence ?? 0;
    if (index.appliedSequence < checkpointed) {
      const message = `reflects record ${index.appliedSequence}, the checkpoint ${checkpointed}: it is rebuilt at the next opening`;
      this.#log.warning('index/old', 'index', message);
      return;
    }
    const tail = await this.#readTail(index.appliedSequence);
    await this.#reportRefusal(() =>
      compareIndexes(index.entries, mergedEntries(this.#base(source), tail), this.#log),
    );
  }

  /** An entry that cannot be read ends what is compared through it. */
  async #reportRefusal(check: () => Promise<void>): Promise<void> {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#log.damage('index/unreadable', 'checkpoint and journal', error.message);
    }
  }
}
