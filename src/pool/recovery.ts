/**
 * Recovery: from the disks of a pool to its state after the last durable change; every opening is one.
 *
 *   labels → truth → lease → our epoch in every label → index (or checkpoint) → journal's tail → pending log
 *
 * Nothing is written before the labels carry our epoch. Each step may be cut off and done again by the next
 * opening: replays set whole states, and what a killed process had acknowledged moves from its pending log into the ring
 * before the data plane makes a new one. Takes the same time at any capacity.
 */
import { readFile } from 'node:fs/promises';
import { readFileIfThere } from '../base/atomic-file.ts';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { Checkpointer } from './checkpoint.ts';
import {
  type DiskLocation,
  DiskSet,
  openThoseThere,
  type PoolDisk,
  wipeAndClose,
} from './disk-set.ts';
import type { ClusterRun } from './format/batch.ts';
import { paddedRecordBytes } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import { readPendingLog } from './format/pending-log.ts';
import { grownBy } from './growth.ts';
import { loadOrRebuildIndex } from './index-loading.ts';
import { type JournalPlace, lastRecords, replayJournal, writeRecord } from './journal-replay.ts';
import { expectLeaseFree } from './lease.ts';
import { continues, type Lineage, type PoolFolder } from './lineage.ts';
import type { PoolIndex } from './pool-index.ts';
import { type DiskRecord, diskRecordName } from './pool-records.ts';
import type { PoolState } from './pool-state.ts';
import { chooseTruth, type Truth } from './truth.ts';

export interface RecoveryInput {
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly locations: readonly DiskLocation[];
  readonly hostId: string;
  readonly takeover: boolean;
  /** These disks had the pool when this host last served it: some may have left it since. Otherwise all are meant. */
  readonly remembered: boolean;
  readonly folderOf: (poolUuid: string) => Promise<PoolFolder>;
}

export interface RecoveredPool {
  readonly folder: PoolFolder;
  readonly lineage: Lineage;
  readonly disks: DiskSet;
  readonly index: PoolIndex;
  readonly checkpointer: Checkpointer;
  /** Where the data plane goes on. */
  readonly journal: JournalPlace & { readonly tail: number };
  /** Given up by records of the ended life and still free: their space may not have been given back yet. */
  readonly discards: readonly ClusterRun[];
  /** Why the index was built anew, if it was. */
  readonly rebuilt: string | undefined;
  /** Deltas that only the pending log of a killed process had. */
  readonly recoveredDeltas: number;
  /** Their removal was cut off: they have no label any more. */
  readonly left: readonly DiskLocation[];
}

/**
 * Opens and locks the disks and brings them and the index to one state; the pool is ours afterwards.
 *
 * @throws StorageError pool/held, pool/disk-missing, pool/format, pool/damaged, disk/unusable, disk/too-small,
 *   disk/io; the disks are closed then
 */
export async function recoverPool(input: RecoveryInput): Promise<RecoveredPool> {
  const { opened, failure } = await openThoseThere(input.dataPlane, input.locations);
  try {
    if (failure !== undefined && !input.remembered) throw failure;
    return await recoverDisks(input, truthOf(opened, failure));
  } catch (error) {
    for (const disk of opened) await disk.plane.close();
    throw error;
  }
}

/** What keeps a disk from being opened is the reason why it is missing, unless nobody misses it. */
function truthOf(opened: readonly PoolDisk[], failure: StorageError | undefined): Truth {
  try {
    return chooseTruth(opened);
  } catch (error) {
    throw failure ?? error;
  }
}

async function recoverDisks(input: RecoveryInput, found: Truth): Promise<RecoveredPool> {
  const { label: truth, members, left } = found;
  expectLeaseFree(members, truth, input);
  const folder = await input.folderOf(truth.poolUuid);
  const disks = new DiskSet(members);
  const lineage = await takeEpoch(input, folder, disks, truth);
  // Every label of a member says by now that these are none.
  for (const disk of left) await dismiss(disk);
  const locations = left.map(({ location }) => location);
  const loaded = await loadOrRebuildIndex(folder, disks, truth);
  try {
    return await replay({ folder, lineage, disks, truth, left: locations, ...loaded });
  } catch (error) {
    await loaded.index.close();
    throw error;
  }
}

/** A disk that cannot be wiped keeps a label that is of no use to anybody: the pool opens without it. */
async function dismiss(disk: PoolDisk): Promise<void> {
  try {
    await wipeAndClose(disk);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** Makes the pool ours: from here on, whoever reads a label sees it. */
async function takeEpoch(
  input: RecoveryInput,
  folder: PoolFolder,
  disks: DiskSet,
  truth: Label,
): Promise<Lineage> {
  const before = await folder.readLineage();
  const unbroken = before !== undefined && continues(before, truth, input.hostId);
  if (!unbroken) await folder.dropMemories();
  await folder.dropCondemnedIndex();
  const epoch = truth.epoch + 1;
  const lineage = unbroken ? { ...before, epoch } : { since: epoch, epoch, served: 0 };
  await folder.writeLineage(lineage);
  const grown = disks.all.filter(
    ({ label, plane }) => grownBy(label, plane.sizeBytes) !== undefined,
  );
  await disks.writeLabels(({ label, plane }) => ({
    epoch,
    owner: input.hostId,
    heartbeatMs: input.clock.nowMs(),
    diskCount: truth.diskCount,
    membership: truth.membership,
    ...grownBy(label, plane.sizeBytes),
    tailPosition: truth.tailPosition,
    tailSequence: truth.tailSequence,
    // A checkpoint that lags behind the tail leads nowhere: the records after it may be overwritten.
    checkpoint: label.checkpoint?.sequence === truth.checkpoint?.sequence ? label.checkpoint : null,
  }));
  // The other copy, too, before anything behind the old end is used (growth.ts).
  if (grown.length > 0) await disks.writeLabels(() => ({}), grown);
  return lineage;
}

type ReplayInput = Pick<
  RecoveredPool,
  'folder' | 'lineage' | 'disks' | 'index' | 'rebuilt' | 'left'
> & {
  readonly truth: Label;
  readonly chains: ReadonlyMap<number, readonly number[]>;
};

async function replay(input: ReplayInput): Promise<RecoveredPool> {
  const { disks, index, chains, truth } = input;
  const { state } = index;
  const { allocator } = state;
  const checkpointer = new Checkpointer({ disks, index, allocator, chains });
  const released: { disk: number; cluster: number }[] = [];
  state.replayedReleases = released;
  const { sequence, position } = state.applied;
  await replayJournal(disks, { position, sequence: sequence + 1 }, (record) =>
    state.replay(record),
  );
  expectRecorded(disks, state);
  const recoveredDeltas = await drainPendingLog(input, checkpointer);
  state.replayedReleases = null;
  if (isCheckpointDue(input)) await checkpointer.take();
  return {
    ...input,
    checkpointer,
    journal: {
      position: state.applied.position,
      sequence: state.applied.sequence + 1,
      tail: disks.all[0]?.label.tailPosition ?? truth.tailPosition,
    },
    discards: allocator.stillFree(released),
    recoveredDeltas,
  };
}

/** A number may have been another disk's before: that one does not stand in for its successor. */
function expectRecorded(disks: DiskSet, state: PoolState): void {
  for (const { label, location } of disks.all) {
    const record = state.record(diskRecordName(label.diskNumber)) as DiskRecord | undefined;
    if (record === undefined || record.uuid === label.diskUuid) continue;
    throw new StorageError(
      'disk/unusable',
      `disk ${location.uri} is not the disk ${label.diskNumber} of pool ${label.poolName}, which is ${record.uri}`,
      { actions: [`name ${record.uri} instead`] },
    );
  }
}

function isCheckpointDue({ disks, index, rebuilt, truth }: ReplayInput): boolean {
  const lagging = disks.journals.some((disk) => disk.label.checkpoint === null);
  const inRing = index.state.applied.position - truth.tailPosition;
  const wanted = truth.checkpoint !== null && lagging;
  return rebuilt !== undefined || wanted || inRing > truth.journalBytes / 2;
}

/**
 * Finishes what a killed process had acknowledged but not journaled: its deltas become the records it would have
 * written, of its epoch and with its serials, so that being killed here and now changes nothing either.
 */
async function drainPendingLog(input: ReplayInput, checkpointer: Checkpointer): Promise<number> {
  const { folder, lineage, disks, index, truth } = input;
  const bytes = lineage.served === 0 ? undefined : await readFileIfThere(folder.pendingLogPath);
  if (bytes === undefined) return 0;
  const { epoch, serial } = index.state.applied;
  const pending = readPendingLog(bytes, {
    poolUuid: truth.poolUuid,
    epoch: lineage.served,
    bootId: await readBootId(),
    durableSerial: epoch === lineage.served ? serial : 0,
  });
  if ('invalid' in pending || pending.deltas.length === 0) return 0;
  // Rule 1: the data these deltas point to may be in the page cache only.
  await disks.sync();
  const words = { poolUuid: truth.poolUuid, epoch: lineage.served, ...pending };
  for (const payload of lastRecords(words, truth.journalBytes)) {
    await makeRoom(disks, index, checkpointer, paddedRecordBytes(payload.length));
    const { sequence, position } = index.state.applied;
    const at = { ...words, position, sequence: sequence + 1 };
    index.state.replay(await writeRecord(disks, at, payload));
  }
  return pending.deltas.length / 32;
}

async function makeRoom(
  disks: DiskSet,
  index: PoolIndex,
  checkpointer: Checkpointer,
  recordBytes: number,
): Promise<void> {
  const label = disks.journals[0]?.label;
  if (label === undefined) throw new StorageError('pool/damaged', 'no disk carries a journal');
  const end = index.state.applied.position + recordBytes;
  if (end > label.tailPosition + label.journalBytes) await checkpointer.take();
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
