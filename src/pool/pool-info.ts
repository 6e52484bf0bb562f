/**
 * What a pool says of itself: sizes in bytes, and warnings that hold as long as their cause.
 *
 *   capacity = used (volumes, checkpoint) + free (data may take it) + reserve (kept for checkpoints) + what is free on cordoned disks
 */
import { formatSize } from '../base/size.ts';
import { Allocator } from './allocator.ts';
import { describeCondition } from './disk-conditions.ts';
import { describePaths } from './disk-paths.ts';
import type { PoolDisk } from './disk-set.ts';
import type { NewOwner } from './fenced.ts';
import type { OpenForeignDisk } from './foreign-disk.ts';
import type { Label } from './format/label.ts';
import { percentUsed, type SpaceUse, thresholdReached } from './space-alarms.ts';
import type { DiskInfo, PoolInfo, PoolWarning } from './types.ts';

/** `plane` of a disk that is open. */
type DescribedDisk = Pick<PoolDisk, 'label' | 'location' | 'isMissing'> &
  Partial<Pick<PoolDisk, 'plane'>>;

export interface PoolDescription {
  /** Nothing of it may be changed; absent: it may. */
  readonly readOnly?: boolean;
  readonly disks: readonly DescribedDisk[];
  readonly foreign: readonly OpenForeignDisk[];
  readonly allocator: Allocator;
  /** Of `disks`, those whose replicas of the journal were left behind. */
  readonly leftBehind: readonly DescribedDisk[];
  readonly promisedBytes: number;
  readonly journalUsedBytes: number;
  readonly patienceSeconds: number;
  readonly createdAt: string;
  /** Why the pool stopped, if it did. */
  readonly failure: string | undefined;
  /** Who has the pool now, if it was taken over. */
  readonly fencedBy?: NewOwner | undefined;
  /** Warnings of other causes than space. */
  readonly warnings: readonly PoolWarning[];
}

export function describePool(pool: PoolDescription): PoolInfo {
  const [first] = pool.disks;
  if (first === undefined) throw new Error('a pool has disks');
  const { poolUuid, poolName, clusterBytes } = first.label;
  const { allocator } = pool;
  const space = spaceUse(allocator, clusterBytes);
  return {
    uuid: poolUuid,
    name: poolName,
    state: pool.failure === undefined ? 'online' : 'failed',
    readOnly: pool.readOnly ?? false,
    warnings: [...failureWarning(pool), ...spaceWarning(poolName, space), ...pool.warnings],
    clusterBytes,
    ...space,
    freeBytes:
      space.capacityBytes -
      space.usedBytes -
      space.reserveBytes -
      allocator.cordonedCount * clusterBytes,
    promisedBytes: pool.promisedBytes,
    disks: [
      ...pool.disks.map((disk) => describeDisk(disk, pool)),
      ...pool.foreign.map((disk) => describeForeign(disk, pool.allocator, first.label)),
    ],
    journalBytes: Math.max(...pool.disks.map(({ label }) => label.journalBytes)),
    journalUsedBytes: pool.journalUsedBytes,
    patienceSeconds: pool.patienceSeconds,
    createdAt: pool.createdAt,
    ...(pool.fencedBy === undefined ? {} : { fencedBy: pool.fencedBy }),
  };
}

/** What of the pool's space is in use, and what data cannot have. */
export function spaceUse(allocator: Allocator, clusterBytes: number): SpaceUse {
  return {
    capacityBytes: allocator.usableCount * clusterBytes,
    usedBytes: (allocator.usedCount + allocator.checkpointCount) * clusterBytes,
    reserveBytes: allocator.reserveCount * clusterBytes,
  };
}

export function describeDisk(
  disk: DescribedDisk,
  pool: Pick<PoolDescription, 'allocator' | 'failure' | 'leftBehind'>,
): DiskInfo {
  const { label, location } = disk;
  const space = pool.allocator.disk(label.diskNumber);
  const capacityBytes = space.usableCount * label.clusterBytes;
  const usedBytes =
    (pool.allocator.usedCountOn(label.diskNumber) +
      pool.allocator.checkpointCountOn(label.diskNumber)) *
    label.clusterBytes;
  return {
    uuid: label.diskUuid,
    role: 'pool',
    number: label.diskNumber,
    pool: label.poolName,
    uri: location.uri,
    path: location.path,
    kind: location.kind,
    ...(pool.failure === undefined ? conditionOf(disk) : { state: 'failed', failing: null }),
    paths: describePaths(disk.plane?.paths ?? []),
    ...pool.allocator.placement(label.diskNumber),
    journal: label.journalBytes > 0 && !pool.leftBehind.includes(disk),
    journalLost: pool.leftBehind.includes(disk),
    sizeBytes: label.diskBytes,
    capacityBytes,
    usedBytes,
    freeBytes: capacityBytes - usedBytes,
  };
}

/** Neither capacity nor free space; used is what is still read from it. */
function describeForeign(
  { record, problem, plane }: PoolDescription['foreign'][number],
  allocator: Allocator,
  { poolName, clusterBytes }: Pick<Label, 'poolName' | 'clusterBytes'>,
): DiskInfo {
  const { uuid, number, uri, foreign } = record;
  return {
    uuid,
    role: 'adopted',
    number,
    pool: poolName,
    uri,
    path: foreign.path,
    kind: foreign.kind,
    ...(problem === null ? describeCondition(plane.condition) : unreadable(problem)),
    paths: describePaths(plane.paths),
    journal: false,
    journalLost: false,
    class: null,
    cordoned: true,
    sizeBytes: foreign.sizeBytes,
    capacityBytes: 0,
    usedBytes: allocator.foreignUsedCount(number) * clusterBytes,
    freeBytes: 0,
  };
}

function conditionOf({ plane, isMissing }: DescribedDisk): Pick<DiskInfo, 'state' | 'failing'> {
  return isMissing ? unreadable('missing') : describeCondition(plane?.condition);
}

/** What a pool that was opened without some of its disks has to say. */
export function missingWarnings(disks: readonly DescribedDisk[]): PoolWarning[] {
  return disks
    .filter(({ isMissing }) => isMissing)
    .map(({ label, location }) => ({
      level: 'critical',
      code: 'pool/disk-missing',
      message: `disk ${label.diskNumber} (${label.diskUuid}, last at ${location.uri}) is missing: what lies there fails with an I/O error`,
      actions: [
        `find the disk, then varve pool export ${label.poolName} and import the pool with all of its disks`,
      ],
    }));
}

function unreadable(reason: string): Pick<DiskInfo, 'state' | 'failing'> {
  return { state: 'failed', failing: { reason, seconds: 0, patienceLeftSeconds: 0, held: 0 } };
}

/** A disk as it would join a pool. */
export function previewDisk(disk: DescribedDisk): DiskInfo {
  const { diskNumber: number, firstCluster, clusterCount } = disk.label;
  const allocator = new Allocator(
    [{ number, firstCluster, clusterCount, journal: false }],
    () => 0,
  );
  return describeDisk(disk, { allocator, failure: undefined, leftBehind: [] });
}

function failureWarning({ failure, fencedBy, disks }: PoolDescription): PoolWarning[] {
  if (failure === undefined) return [];
  if (fencedBy !== undefined) {
    const name = disks[0]?.label.poolName ?? '';
    const message = `fenced: ${failure}; nothing of it is written here any more`;
    const actions = [`varve pool export ${name} forgets it here`];
    return [{ level: 'critical', code: 'pool/fenced', message, actions }];
  }
  return [
    {
      level: 'critical',
      code: 'pool/failed',
      message: `the pool stopped: ${failure}`,
      actions: ['mend the disk, then restart the service'],
    },
  ];
}

function spaceWarning(name: string, space: SpaceUse): PoolWarning[] {
  const percent = percentUsed(space);
  const threshold = thresholdReached(percent);
  if (threshold === undefined) return [];
  const free = formatSize(Math.max(0, space.capacityBytes - space.reserveBytes - space.usedBytes));
  return [
    {
      level: threshold.level,
      code: 'pool/space',
      message: `pool ${name} is ${percent} % full, ${free} are free`,
      actions: [`varve disk add ${name} DISK-URI`, 'trim or delete volumes'],
    },
  ];
}
