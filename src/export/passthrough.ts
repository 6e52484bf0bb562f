/**
 * Disks that are exported as they are: which may be, and how they are opened.
 *
 * A disk is locked as long as it is exported, and a block device claimed: neither a pool, nor a mount, nor another process gets it meanwhile.
 */
import type { DataPlane, DiskPlane } from '../dataplane/data-plane.ts';
import { openDiskPlane } from '../pool/disk-set.ts';
import type { ExistingDisk } from '../pool/existing-disk.ts';
import type { Pools } from '../pool/pools.ts';
import type { DiskExportRecord } from './types.ts';

/** What exports need of disks that belong to no pool. */
export interface ExportDisks {
  /** @throws StorageError request/invalid, disk/unusable, disk/in-use */
  find(uri: string, access: { readonly readOnly: boolean }): Promise<ExistingDisk>;
  /** @throws StorageError pool/held, disk/in-use, disk/unusable */
  open(record: DiskExportRecord): Promise<DiskPlane>;
}

export class PassthroughDisks implements ExportDisks {
  readonly #dataPlane: Pick<DataPlane, 'openDisk'>;
  readonly #pools: Pick<Pools, 'findExistingDisk'>;

  constructor(dataPlane: Pick<DataPlane, 'openDisk'>, pools: Pick<Pools, 'findExistingDisk'>) {
    this.#dataPlane = dataPlane;
    this.#pools = pools;
  }

  find(uri: string, access: { readonly readOnly: boolean }): Promise<ExistingDisk> {
    return this.#pools.findExistingDisk(uri, access);
  }

  open({ disk, readOnly }: DiskExportRecord): Promise<DiskPlane> {
    return openDiskPlane(this.#dataPlane, disk, { readOnly });
  }
}
