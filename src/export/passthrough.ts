/**
 * Disks that are exported as they are: which may be, and how they are opened.
 *
 * A disk is locked as long as it is exported, and a block device claimed: neither a pool, nor a mount, nor another process gets it meanwhile.
 */
import type { DataPlane, DiskPlane } from '../dataplane/data-plane.ts';
import { openDiskPlane } from '../pool/disk-set.ts';
import { type ExistingDisk, findExistingDisk } from '../pool/existing-disk.ts';
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
  readonly #diskUses: () => Promise<(identity: string) => string | undefined>;

  /** @param diskUses what disks are used for here, by identity; see Pools */
  constructor(
    dataPlane: Pick<DataPlane, 'openDisk'>,
    diskUses: () => Promise<(identity: string) => string | undefined>,
  ) {
    this.#dataPlane = dataPlane;
    this.#diskUses = diskUses;
  }

  async find(uri: string, { readOnly }: { readonly readOnly: boolean }): Promise<ExistingDisk> {
    const usedAs = await this.#diskUses();
    return findExistingDisk(this.#dataPlane, uri, { readOnly, usedAs });
  }

  open({ disk, readOnly }: DiskExportRecord): Promise<DiskPlane> {
    return openDiskPlane(this.#dataPlane, disk, { readOnly });
  }
}
