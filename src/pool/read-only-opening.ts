/**
 * Opening a pool to be read and nothing else, also when disks of it are missing; nothing is written to any of its disks.
 *
 *   disks opened for reading → truth of those that are there → index built in a folder of its own → journal's tail → labels still the same
 *
 * No lease is claimed: an owner that lives keeps readers out as it keeps importers out, one that begins is noticed (label-watch.ts). What a
 * missing disk holds is an I/O error where it is read, never zeroes and never anything else. What only the pending log of a killed
 * process has is not shown: it was never flushed.
 */
import { StorageError } from '../base/errors.ts';
import { Checkpointer } from './checkpoint.ts';
import { DiskSet, openThoseThere, type PoolDisk } from './disk-set.ts';
import type { Label } from './format/label.ts';
import { openAndLoad, rebuild } from './index-loading.ts';
import { IndexStore } from './index-store.ts';
import { expectNothingBehind, readTail } from './journal-replay.ts';
import { believed } from './label-order.ts';
import { LabelWatch } from './label-watch.ts';
import { expectLeaseFree } from './lease.ts';
import type { PoolFolder } from './lineage.ts';
import { explainMissing } from './missing-disks.ts';
import { MissingSpace } from './missing-space.ts';
import { type DiskRecord, diskRecordName } from './pool-records.ts';
import { readRecords } from './record-peek.ts';
import {
  expectRecorded,
  placeOf,
  type RecoveredPool,
  type RecoveryInput,
  replayTail,
} from './recovery.ts';
import { expectNoneStale, partialMembers, type Truth } from './truth.ts';

export interface ReadOnlyInput
  extends Pick<RecoveryInput, 'dataPlane' | 'clock' | 'locations' | 'hostId' | 'times' | 'accept'> {
  /** Empty, or of no use to anybody; goes with the pool. */
  readonly folder: PoolFolder;
}

/**
 * @throws StorageError pool/held its owner lives; pool/disk-missing the disks given do not say what the pool holds; pool/format, pool/damaged,
 *   disk/unusable, disk/io; the disks are closed then
 */
export async function openReadOnly(input: ReadOnlyInput): Promise<RecoveredPool> {
  const { opened, failure } = await openThoseThere(input.dataPlane, input.locations, {
    readOnly: true,
  });
  const missing: PoolDisk[] = [];
  try {
    if (failure !== undefined) throw failure;
    return await open(input, partialMembers(opened), missing);
  } catch (error) {
    const explained = await explainMissing(error, opened);
    for (const { plane } of [...opened, ...missing]) await plane.close();
    await input.folder.remove();
    throw explained;
  }
}

async function open(
  input: ReadOnlyInput,
  {
    label: truth,
    members,
    left,
    missing: numbers,
  }: Truth & { readonly missing: readonly number[] },
  missing: PoolDisk[],
): Promise<RecoveredPool> {
  const { folder, clock, times } = input;
  expectLeaseFree(members, truth, { ...input, takeover: false });
  expectNoneStale(members, truth);
  const seen = members.map((disk) => ({ ...disk }));
  for (const disk of members) disk.label = withoutLag(truth, disk.label);
  const there = new DiskSet(members, times);
  await folder.dropMemories();
  const store = await rebuild(folder, there, truth);
  await store.close();
  missing.push(...(await standIns(input, there, truth, numbers)));
  const disks = new DiskSet([...members, ...missing], times);
  const { index, chains } = await openAndLoad(folder, disks, truth);
  try {
    await expectNothingBehind(there, await replayTail(there, index));
    expectRecorded(there, index.state);
    input.accept({ name: truth.poolName, records: index.state.allRecords() });
    index.state.replayedReleases = null;
    const lease = new LabelWatch(seen, clock, times.heartbeatMs);
    await lease.expectUnchanged();
    for (const { plane } of left) await plane.close();
    const { allocator } = index.state;
    return {
      readOnly: true,
      folder,
      lineage: { since: truth.epoch, epoch: truth.epoch, served: 0 },
      disks,
      lease,
      index,
      checkpointer: new Checkpointer({ disks, index, allocator, chains }),
      journal: { ...placeOf(index), tail: truth.tailPosition },
      discards: [],
      rebuilt: undefined,
      recoveredDeltas: 0,
      left: [],
    };
  } catch (error) {
    await index.close();
    throw error;
  }
}

/** A checkpoint that lags behind the tail leads nowhere. */
function withoutLag(truth: Label, found: Label): Label {
  const label = believed(found, truth.lostRings);
  const lags = label.checkpoint?.sequence !== truth.checkpoint?.sequence;
  return { ...label, checkpoint: lags ? null : label.checkpoint };
}

/** A disk that answers with errors for each that is missing, as large as the map needs it. */
async function standIns(
  { dataPlane, folder }: ReadOnlyInput,
  there: DiskSet,
  truth: Label,
  numbers: readonly number[],
): Promise<PoolDisk[]> {
  if (numbers.length === 0) return [];
  const records = await readRecords(there, truth);
  const space = await spaceOf(folder, there, truth);
  const disks: PoolDisk[] = [];
  for (const diskNumber of numbers) {
    const record = records.get(diskRecordName(diskNumber)) as DiskRecord | undefined;
    if (record === undefined) throw unknownDisk(truth, diskNumber);
    const clusterCount = space.clusterCount(diskNumber);
    const diskBytes = clusterCount * truth.clusterBytes;
    const absent = await dataPlane.openDisk({ kind: 'absent', sizeBytes: diskBytes });
    disks.push({
      location: { uri: record.uri, path: record.uri, kind: 'file' },
      plane: await dataPlane.openPatientDisk(absent, 0),
      isMissing: true,
      label: {
        ...truth,
        diskNumber,
        diskUuid: record.uuid,
        diskBytes,
        firstCluster: 1,
        clusterCount,
        journalOffset: 0,
        journalBytes: 0,
        checkpoint: null,
      },
    });
  }
  return disks;
}

async function spaceOf(folder: PoolFolder, there: DiskSet, truth: Label): Promise<MissingSpace> {
  const space = new MissingSpace();
  const store = await IndexStore.open(folder.indexPath);
  try {
    await space.addIndex(store);
  } finally {
    await store.close();
  }
  const from = { position: truth.tailPosition, sequence: truth.tailSequence };
  await readTail(there, from, (record) => space.addRecord(record));
  return space;
}

function unknownDisk({ poolName }: Label, number: number): StorageError {
  return new StorageError(
    'pool/disk-missing',
    `pool ${poolName} lacks disk ${number}, of which the others know nothing`,
    { actions: ['name all of its disks'] },
  );
}
