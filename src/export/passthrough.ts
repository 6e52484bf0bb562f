/**
 * Disks that are exported as they are: which may be, and how they are opened.
 *
 * A disk is locked as long as it is exported, and a block device claimed: neither a pool, nor a mount, nor another process gets it meanwhile.
 * Its faults are waited out as those of a pool's disks are.
 */
import type { PatientDiskPlane } from '../dataplane/data-plane.ts';
import {
  conditionWarnings,
  DiskConditions,
  describeCondition,
  patienceSecondsDefault,
} from '../pool/disk-conditions.ts';
import { DiskPaths, describePaths, pathWarnings } from '../pool/disk-paths.ts';
import {
  type DiskLocation,
  openPatientDiskPlane,
  type PatientDiskOpener,
} from '../pool/disk-set.ts';
import type { ExistingDisk } from '../pool/existing-disk.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import type { DiskExportRecord, PassthroughInfo } from './types.ts';

/** What exports need of disks that belong to no pool. */
export interface ExportDisks {
  /** @throws StorageError request/invalid, disk/unusable, disk/in-use */
  find(uri: string, access: { readonly readOnly: boolean }): Promise<ExistingDisk>;
  /** @throws StorageError pool/held, disk/in-use, disk/unusable */
  open(record: DiskExportRecord): Promise<PatientDiskPlane>;
}

export interface PassthroughDisksParts {
  readonly dataPlane: PatientDiskOpener;
  readonly pools: Pick<Pools, 'findExistingDisk'>;
  readonly emit: EmitEvent;
}

export class PassthroughDisks implements ExportDisks {
  readonly #parts: PassthroughDisksParts;

  constructor(parts: PassthroughDisksParts) {
    this.#parts = parts;
  }

  find(uri: string, access: { readonly readOnly: boolean }): Promise<ExistingDisk> {
    return this.#parts.pools.findExistingDisk(uri, access);
  }

  async open({ name: subject, disk, readOnly }: DiskExportRecord): Promise<PatientDiskPlane> {
    const { dataPlane, emit } = this.#parts;
    const plane = await openPatientDiskPlane(dataPlane, disk, { readOnly });
    const watched = { location: disk, plane };
    const patienceSeconds = () => patienceSecondsDefault;
    new DiskConditions({ subject, emit, patienceSeconds, onChange() {} }).watch(watched);
    new DiskPaths({ subject, emit }).watch(watched);
    return plane;
  }
}

/** How a disk does that is served as it is; `plane` is undefined when it is not. */
export function describePassthrough(
  location: DiskLocation,
  plane: PatientDiskPlane | undefined,
): Pick<PassthroughInfo, 'state' | 'failing' | 'paths' | 'warnings'> {
  if (plane === undefined) return { state: 'failed', failing: null, paths: [], warnings: [] };
  const disk = { location, plane };
  return {
    ...describeCondition(plane.condition),
    paths: describePaths(plane.paths),
    warnings: [...conditionWarnings(disk), ...pathWarnings(disk)],
  };
}
