/**
 * Recovery: from the disks of a pool to its state after the last durable change; every opening is one.
 *
 *   labels → truth → lease → index (or checkpoint) → journal's tail → our epoch in every label → replicas alike → pending log
 *
 * Nothing is written to the disks before everything on them was read and found good: an opening that is refused leaves them as they
 * were. The labels with our epoch come first of what is written. Each step may be cut off and done again by the next
 * opening: replays set whole states, and what a killed process had acknowledged moves from its pending log into the ring
 * before the data plane makes a new one. Takes the same time at any capacity.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { readFileIfThere } from '../base/atomic-file.ts';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { Checkpointer } from './checkpoint.ts';
import {
  type DiskLocation,
  DiskSet,
  labelNow,
  openThoseThere,
  type PoolDisk,
  wipeAndClose,
} from './disk-set.ts';
import type { ClusterRun } from './format/batch.ts';
import { type JournalPlace, paddedRecordBytes } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import { readPendingLog } from './format/pending-log.ts';
import { grownBy } from './growth.ts';
import { type LoadedIndex, loadOrRebuildIndex } from './index-loading.ts';
import {
  expectNothingBehind,
  lastRecords,
  levelReplicas,
  readTail,
  writeRecord,
} from './journal-replay.ts';
import { believed } from './label-order.ts';
import { expectLeaseFree, type LeaseTimes } from './lease.ts';
import { LeaseKeeper, type PoolLease } from './lease-keeper.ts';
import { continues, type Lineage, type PoolFolder } from './lineage.ts';
import { explainMissing } from './missing-disks.ts';
import type { NamedRecords } from './name-clash.ts';
import type { PoolIndex } from './pool-index.ts';
import { type DiskRecord, diskRecordName } from './pool-records.ts';
import type { PoolState } from './pool-state.ts';
import type { MergedEnd } from './ring-replicas.ts';
import { chooseTruth, expectNoneStale, type Truth } from './truth.ts';

export interface RecoveryInput {
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly locations: readonly DiskLocation[];
  readonly hostId: string;
  readonly takeover: boolean;
  /**
   * Nobody named these disks: they had the pool when this host last served it. Some may have left it since; and it is opened only when no
   * other host had it since. Otherwise all of them are meant.
   */
  readonly remembered: boolean;
  /** It failed before, and will be tried again when it does. */
  readonly isRetry: boolean;
  /** Asked before anything is written. @throws why the pool is not to be opened any more */
  readonly expectWanted: () => void;
  readonly times: LeaseTimes;
  /** Called with the pool's records before anything is written; what it throws refuses the opening. */
  readonly accept: (pool: NamedRecords) => void;
  readonly folderOf: (poolUuid: string) => Promise<PoolFolder>;
}

export interface RecoveredPool {
  /** Nothing of it is ours, and nothing is ever written to its disks. */
  readonly readOnly: boolean;
  readonly folder: PoolFolder;
  readonly lineage: Lineage;
  readonly disks: DiskSet;
  /** Beating since the pool is ours. */
  readonly lease: PoolLease;
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
  // What is tried again and again waits for nothing.
  const access = input.isRetry ? { patienceMs: 0 } : {};
  const { opened, failure } = await openThoseThere(input.dataPlane, input.locations, access);
  try {
    if (failure !== undefined && !input.remembered) throw failure;
    return await recoverDisks(input, truthOf(opened, failure));
  } catch (error) {
    const explained = await explainMissing(error, opened);
    for (const disk of opened) await disk.plane.close();
    throw explained;
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
  const { label: truth, members } = found;
  expectLeaseFree(members, truth, input);
  const folder = await input.folderOf(truth.poolUuid);
  const isNew = (await folder.readLineage()) === undefined;
  try {
    return await recoverIn(input, folder, found);
  } catch (error) {
    // Refused, then: taking the pool begins with the lineage.
    if (isNew && (await folder.readLineage()) === undefined) await folder.remove();
    throw error;
  }
}

async function recoverIn(
  input: RecoveryInput,
  folder: PoolFolder,
  { label: truth, members, left }: Truth,
): Promise<RecoveredPool> {
  for (const disk of members) disk.label = seenFrom(truth, disk, disk.label);
  const disks = new DiskSet(members, input.times);
  const unbroken = await recallLineage(input, folder, truth);
  const loaded = await loadOrRebuildIndex(folder, disks, truth);
  try {
    const from = placeOf(loaded.index);
    await expectNothingBehind(disks, await replayTail(disks, loaded.index));
    expectRecorded(disks, loaded.index.state);
    expectNoneStale(members, truth);
    input.accept({ name: truth.poolName, records: loaded.index.state.allRecords() });
    const claim = { folder, disks, truth, unbroken, from, leaving: left };
    return await takeAndFinish(input, { ...claim, ...loaded });
  } catch (error) {
    await loaded.index.close();
    throw error;
  }
}

/**
 * A label as the opening will write it: a ring that was left behind is none; a checkpoint that lags behind the tail leads nowhere, the
 * records after it may be overwritten; and a disk that has grown is used up to its new end.
 */
function seenFrom(truth: Label, { plane }: PoolDisk, found: Label): Label {
  const label = believed(found, truth.lostRings);
  const lags = label.checkpoint?.sequence !== truth.checkpoint?.sequence;
  return {
    ...label,
    ...grownBy(label, plane.sizeBytes),
    checkpoint: lags ? null : label.checkpoint,
  };
}

/** A disk that cannot be wiped keeps a label that is of no use to anybody: the pool opens without it. */
async function dismiss(disk: PoolDisk): Promise<void> {
  try {
    await wipeAndClose(disk);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** What this host remembers of the pool, as far as it may still be believed; the rest is forgotten. */
async function recallLineage(
  input: RecoveryInput,
  folder: PoolFolder,
  truth: Label,
): Promise<Lineage | undefined> {
  const before = await folder.readLineage();
  if (input.remembered && isAnothersSince(before, truth, input.hostId)) throw movedAway(truth);
  const unbroken = continues(before, truth, input.hostId) ? before : undefined;
  if (unbroken === undefined) await folder.dropMemories();
  await folder.dropCondemnedIndex();
  return unbroken;
}

/** An epoch that we promised ourselves and did not serve may be the next host's. */
function isAnothersSince(before: Lineage | undefined, truth: Label, hostId: string): boolean {
  if (before === undefined || truth.epoch < before.epoch) return false;
  if (truth.epoch > before.epoch) return true;
  return before.served < before.epoch && truth.owner !== hostId;
}

/** A host that comes back takes nothing from the one that took over, be it dead meanwhile or not. */
function movedAway({ poolName, owner }: Label): StorageError {
  const who = owner === null ? 'another host had it since' : `host ${owner} has it now`;
  return new StorageError('pool/held', `pool ${poolName} is no longer this host's: ${who}`, {
    actions: [
      `varve pool export ${poolName} forgets it here`,
      'varve pool import DISK-URI... takes it back once it is free',
    ],
  });
}

/** Applies what the journal holds behind what is applied already; writes nothing. @returns where it ends */
export async function replayTail(disks: DiskSet, index: PoolIndex): Promise<MergedEnd> {
  const { state } = index;
  const released = state.replayedReleases ?? [];
  state.replayedReleases = released;
  return readTail(disks, placeOf(index), (record) => state.replay(record));
}

/** Where the next record to be applied lies. */
export function placeOf({ state }: PoolIndex): JournalPlace {
  const { sequence, position } = state.applied;
  return { position, sequence: sequence + 1 };
}

interface Claim extends LoadedIndex {
  readonly folder: PoolFolder;
  readonly disks: DiskSet;
  readonly truth: Label;
  /** Of this host, when nobody else had the pool since. */
  readonly unbroken: Lineage | undefined;
  /** Where the index that was loaded goes on in the journal. */
  readonly from: JournalPlace;
  /** They are none of the pool's any more, and carry labels still. */
  readonly leaving: readonly PoolDisk[];
}

async function takeAndFinish(input: RecoveryInput, claim: Claim): Promise<RecoveredPool> {
  const { dataPlane, clock, times } = input;
  const claimedMs = dataPlane.bootTimeMs();
  const lineage = await takeEpoch(input, claim);
  // Every label of a member says by now that these are none.
  for (const disk of claim.leaving) await dismiss(disk);
  const lease = LeaseKeeper.start({ disks: claim.disks, dataPlane, clock, times }, claimedMs);
  try {
    return await finish({ ...claim, lineage, lease });
  } catch (error) {
    lease.close();
    throw error;
  }
}

/** Makes the pool ours: from here on, whoever reads a label sees it. */
async function takeEpoch(input: RecoveryInput, claim: Claim): Promise<Lineage> {
  const { folder, disks, truth, unbroken } = claim;
  const { hostId, clock, times } = input;
  const grows = await expectUnchanged(input, disks, truth);
  input.expectWanted();
  const epoch = truth.epoch + 1;
  const lineage = unbroken ? { ...unbroken, epoch } : { since: epoch, epoch, served: 0 };
  await folder.writeLineage(lineage);
  const isAnothers = truth.owner !== null && truth.owner !== hostId;
  // Over both copies: a label that its last owner has still under way may fall on one of them, and must not count;
  // and before anything behind the old end of a disk that has grown is used (growth.ts).
  for (let copies = isAnothers || grows ? 2 : 1; copies > 0; copies--) {
    await writeLaggingFirst(disks, truth, ({ label }) => ({
      epoch,
      owner: hostId,
      heartbeatMs: clock.nowMs(),
      diskCount: truth.diskCount,
      membership: truth.membership,
      tailPosition: truth.tailPosition,
      tailSequence: truth.tailSequence,
      checkpoint: label.checkpoint,
    }));
  }
  if (isAnothers) {
    await setTimeout(times.settleMs);
    await disks.expectOwned(disks.all);
  }
  return lineage;
}

/** So that whoever finds an earlier epoch behind an earlier tail knows that the disk was away (truth.ts). */
async function writeLaggingFirst(
  disks: DiskSet,
  truth: Label,
  change: (disk: PoolDisk) => Partial<Label>,
): Promise<void> {
  const lagging = disks.all.filter(({ label }) => label.tailSequence < truth.tailSequence);
  const others = disks.all.filter((disk) => !lagging.includes(disk));
  await disks.writeLabels(change, lagging);
  await disks.writeLabels(change, others);
}

/**
 * The labels say what they said when the reading began, but for a heartbeat that may have come.
 *
 * @returns whether a disk is larger than its label says
 * @throws StorageError pool/held
 */
async function expectUnchanged(
  input: RecoveryInput,
  disks: DiskSet,
  truth: Label,
): Promise<boolean> {
  let grows = false;
  for (const disk of disks.all) {
    const label = await labelNow(disk.plane, disk.location.uri);
    const found = seenFrom(truth, disk, label);
    grows ||= found.clusterCount > label.clusterCount;
    const same =
      found.epoch === disk.label.epoch &&
      found.owner === disk.label.owner &&
      found.tailSequence === disk.label.tailSequence &&
      found.checkpoint?.sequence === disk.label.checkpoint?.sequence;
    if (!same) {
      throw new StorageError('pool/held', `pool ${truth.poolName} is in use: it changed meanwhile`);
    }
    disk.label = found;
  }
  expectLeaseFree(disks.all, truth, input);
  return grows;
}

type ReplayInput = Claim & Pick<RecoveredPool, 'lineage' | 'lease'>;

async function finish(input: ReplayInput): Promise<RecoveredPool> {
  const { disks, index, chains, truth, from } = input;
  const { state } = index;
  const { allocator } = state;
  const checkpointer = new Checkpointer({ disks, index, allocator, chains });
  await levelReplicas(disks, from, placeOf(index).position);
  // An owner that lived until it was taken over may have gone on for a moment.
  await replayTail(disks, index);
  const recoveredDeltas = await drainPendingLog(input, checkpointer);
  const released = state.replayedReleases ?? [];
  state.replayedReleases = null;
  if (isCheckpointDue(input)) await checkpointer.take();
  return {
    ...input,
    readOnly: false,
    left: input.leaving.map(({ location }) => location),
    checkpointer,
    journal: {
      ...placeOf(index),
      tail: disks.all[0]?.label.tailPosition ?? truth.tailPosition,
    },
    discards: allocator.stillFree(released),
    recoveredDeltas,
  };
}

/** A number may have been another disk's before: that one does not stand in for its successor. */
export function expectRecorded(disks: DiskSet, state: PoolState): void {
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

/** Of a ring that is more than half full one is taken beside the guests (maintenance.ts): it takes longer the more is mapped. */
function isCheckpointDue({ disks, rebuilt, truth }: ReplayInput): boolean {
  const lagging = disks.journals.some((disk) => disk.label.checkpoint === null);
  return rebuilt !== undefined || (truth.checkpoint !== null && lagging);
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
