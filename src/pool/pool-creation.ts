/**
 * Making a pool and its disks, and unmaking them: labels and the first journal record on disks that were checked before.
 *
 * The record goes first: as soon as a label can be read, the pool is whole.
 */
import type { Clock } from '../base/clock.ts';
import { isoTime } from '../base/clock.ts';
import { newUuid } from '../base/ids.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { Allocator } from './allocator.ts';
import type { BackingPlan } from './backing.ts';
import { removeFiles } from './backing-files.ts';
import {
  type DiskLocation,
  DiskSet,
  openPatientDiskPlane,
  type PoolDisk,
  wipeAndClose,
  wipeLabels,
} from './disk-set.ts';
import { encodeBatch } from './format/batch.ts';
import {
  checkpointReserveClusters,
  diskGeometry,
  type Geometry,
  journalBytesFor,
  journalReplicasMax,
  memberGeometry,
} from './format/geometry.ts';
import { encodeRecord, recordKind } from './format/journal-record.ts';
import type { Label } from './format/label.ts';
import { writeRing } from './journal-replay.ts';
import { describePool } from './pool-info.ts';
import { diskRecordOp, putRecord } from './pool-records.ts';
import type { PoolInfo, PoolSettings } from './types.ts';

export interface NewPool {
  readonly name: string;
  readonly clusterBytes: number;
  readonly plans: readonly BackingPlan[];
  readonly labels: readonly Label[];
  readonly createdAt: string;
  readonly settings: PoolSettings;
}

/** Lays the pool out. @throws StorageError disk/too-small */
export function planPool({
  clock,
  ...pool
}: Omit<NewPool, 'labels' | 'createdAt'> & { readonly clock: Clock }): NewPool {
  const { name, clusterBytes, plans } = pool;
  const withJournal = plans.slice(0, journalReplicasMax);
  // Replicas are alike to the byte: the smallest disk decides.
  const journalBytes = Math.min(...withJournal.map((plan) => journalBytesFor(plan.sizeBytes)));
  const poolUuid = newUuid();
  const labels = plans.map(({ sizeBytes: diskBytes }, diskNumber) => {
    const disk = { diskBytes, clusterBytes };
    const geometry =
      diskNumber < withJournal.length
        ? diskGeometry({ ...disk, journal: true, journalBytes })
        : memberGeometry({ ...disk, ringBytes: journalBytes });
    const identity = { poolUuid, poolName: name, diskNumber, diskCount: plans.length };
    return newLabel({ ...geometry, ...disk }, identity);
  });
  return { ...pool, labels, createdAt: isoTime(clock) };
}

type LabelIdentity = Pick<Label, 'poolUuid' | 'poolName' | 'diskNumber' | 'diskCount'>;

type LabelLayout = Geometry & Pick<Label, 'diskBytes' | 'clusterBytes'>;

function newLabel(layout: LabelLayout, identity: LabelIdentity): Label {
  return {
    ...identity,
    ...layout,
    generation: 0,
    featuresCompatible: 0n,
    featuresReadOnly: 0n,
    featuresRefused: 0n,
    diskUuid: newUuid(),
    membership: null,
    lostRings: null,
    tailPosition: 0,
    tailSequence: 1,
    checkpoint: null,
    epoch: 0,
    owner: null,
    heartbeatMs: 0,
  };
}

/** What the pool will say of itself. */
export function previewPool(pool: NewPool): PoolInfo {
  const disks = pool.labels.map((label, at) => ({
    label,
    location: (pool.plans[at] as BackingPlan).location,
  }));
  const allocator = new Allocator(
    pool.labels.map((label) => ({
      number: label.diskNumber,
      firstCluster: label.firstCluster,
      clusterCount: label.clusterCount,
      journal: label.journalBytes > 0,
    })),
    (clusters) => checkpointReserveClusters(clusters, pool.clusterBytes),
  );
  return describePool({
    disks,
    foreign: [],
    leftBehind: [],
    allocator,
    promisedBytes: 0,
    journalUsedBytes: 0,
    ...pool.settings,
    createdAt: pool.createdAt,
    failure: undefined,
    warnings: [],
  });
}

/** Writes the pool to its disks, whose files exist. @throws StorageError pool/held, disk/unusable, disk/io */
export async function writePool(dataPlane: DataPlane, pool: NewPool): Promise<void> {
  const opened: PoolDisk[] = [];
  try {
    for (const [at, plan] of pool.plans.entries()) {
      const plane = await openPatientDiskPlane(dataPlane, plan.location);
      opened.push({ location: plan.location, plane, label: pool.labels[at] as Label });
    }
    const disks = new DiskSet(opened);
    for (const disk of disks.all) await wipeLabels(disk);
    await writeFirstRecord(disks, pool);
    await disks.sync();
    await disks.writeLabels(() => ({}));
  } finally {
    for (const disk of opened) await disk.plane.close();
  }
}

/**
 * Labels a disk that is to join a pool; its file exists.
 *
 * @returns the disk, open
 * @throws StorageError pool/held, disk/unusable, disk/io; the file is gone then, when it was made for this
 */
export async function labelDisk(
  dataPlane: DataPlane,
  plan: BackingPlan,
  label: Label,
): Promise<PoolDisk> {
  const { location } = plan;
  let plane: PoolDisk['plane'] | undefined;
  try {
    plane = await openPatientDiskPlane(dataPlane, location);
    const disk: PoolDisk = { location, plane, label };
    await wipeLabels(disk);
    await new DiskSet([disk]).writeLabels(() => ({}));
    return disk;
  } catch (error) {
    await plane?.close();
    await removeFiles(dataPlane, [plan]);
    throw error;
  }
}

/** The disks belong to no pool any more, durably. @throws StorageError pool/held, disk/unusable, disk/io */
export async function wipeDisks(
  dataPlane: DataPlane,
  locations: readonly DiskLocation[],
): Promise<void> {
  for (const location of locations) {
    await wipeAndClose({ location, plane: await openPatientDiskPlane(dataPlane, location) });
  }
}

async function writeFirstRecord(disks: DiskSet, pool: NewPool): Promise<void> {
  const [first] = pool.labels;
  if (first === undefined) return;
  const { createdAt, settings } = pool;
  const ops = [
    putRecord('pool', { createdAt, ...settings }),
    ...disks.all.map((disk) => diskRecordOp(disk)),
  ];
  const record = encodeRecord(
    { kind: recordKind.batch, poolUuid: first.poolUuid, epoch: 0, sequence: 1, position: 0 },
    encodeBatch(ops),
  );
  for (const disk of disks.journals) await writeRing(disk, 0, record);
}
