/**
 * Serving one export: its volume open, its sockets held, the data plane told. Each step is undone by `end`.
 *
 * Elsewhere: which exports there are and what is remembered of them (export-service.ts).
 */
import { invariant, StorageError } from '../base/errors.ts';
import type { ChangedContext } from '../dataplane/binding.ts';
import type { DataPlane, PatientDiskPlane, VolumePlane } from '../dataplane/data-plane.ts';
import type { ChangedExtent, SnapshotInfo } from '../snapshot/types.ts';
import type { VolumeInfo } from '../volume/types.ts';
import { type Address, parseAddress } from './address.ts';
import type { Listener, Listeners } from './listeners.ts';
import type { ExportDisks } from './passthrough.ts';
import {
  type DiskExportRecord,
  type ExportRecord,
  isPassthrough,
  type VolumeExportRecord,
} from './types.ts';

/** A volume held open; closing gives the hold back. */
export interface OpenedVolume {
  readonly plane: VolumePlane;
  close(): Promise<void>;
}

/** What exports need of the volume layer. */
export interface ExportVolumes {
  list(): VolumeInfo[];
  get(name: string): VolumeInfo;
  open(name: string): Promise<OpenedVolume>;
  /** The guard answers why a volume may not be renamed or deleted, or null. */
  addGuard(guard: (volume: string) => string | null): void;
  /** Asked what a name is that no volume has. */
  explainMissing(explain: (name: string) => StorageError | undefined): void;
}

/** What exports need of the snapshot layer. */
export interface ExportSnapshots {
  /** @throws StorageError snapshot/not-found */
  get(volume: string, name: string): SnapshotInfo;
  byId(pool: string, id: number): SnapshotInfo;
  open(pool: string, snapshotId: number): Promise<OpenedVolume>;
  openScratch(pool: string, snapshotId: number): Promise<OpenedVolume>;
  changedSince(pool: string, snapshotId: number, since: string): Promise<readonly ChangedExtent[]>;
  /** The guard answers why a snapshot may not be deleted, or null. */
  addGuard(guard: (pool: string, snapshotId: number) => string | null): void;
}

/** What an export serves, and what it can tell of it besides its bytes. */
export type OpenedSource =
  | (OpenedVolume & { readonly kind: 'volume'; readonly contexts: readonly ChangedContext[] })
  | { readonly kind: 'disk'; readonly plane: PatientDiskPlane; close(): Promise<void> };

export interface Served {
  readonly source: OpenedSource;
  /** The default one first. */
  readonly listeners: readonly Listener[];
}

export class Serving {
  readonly #dataPlane: Pick<DataPlane, 'addExport' | 'addDiskExport'>;
  readonly #volumes: ExportVolumes;
  readonly #snapshots: ExportSnapshots;
  readonly #disks: ExportDisks;
  readonly #listeners: Listeners;
  readonly #defaultAddress: Address;

  constructor(
    dataPlane: Pick<DataPlane, 'addExport' | 'addDiskExport'>,
    sources: {
      readonly volumes: ExportVolumes;
      readonly snapshots: ExportSnapshots;
      readonly disks: ExportDisks;
    },
    listeners: Listeners,
    defaultAddress: Address,
  ) {
    this.#dataPlane = dataPlane;
    this.#volumes = sources.volumes;
    this.#snapshots = sources.snapshots;
    this.#disks = sources.disks;
    this.#listeners = listeners;
    this.#defaultAddress = defaultAddress;
  }

  /** @param pool of the volume; null for a whole disk */
  open(pool: string | null, record: ExportRecord): Promise<OpenedSource> {
    if (isPassthrough(record)) return this.#openDisk(record);
    invariant(pool !== null, 'a volume is in a pool');
    return this.#openVolume(pool, record);
  }

  async #openDisk(record: DiskExportRecord): Promise<OpenedSource> {
    const plane = await this.#disks.open(record);
    return { kind: 'disk', plane, close: () => plane.close() };
  }

  async #openVolume(pool: string, record: VolumeExportRecord): Promise<OpenedSource> {
    const opened = await this.#open(pool, record);
    try {
      return { ...opened, kind: 'volume', contexts: await this.#contexts(pool, record) };
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  #open(pool: string, record: VolumeExportRecord): Promise<OpenedVolume> {
    const { snapshotId, scratch } = record;
    if (snapshotId !== undefined) {
      return scratch
        ? this.#snapshots.openScratch(pool, snapshotId)
        : this.#snapshots.open(pool, snapshotId);
    }
    return this.#volumes.open(volumeById(this.#volumes, pool, record.volumeId).name);
  }

  /** What an export serves by another volume, or snapshot, of the same content. */
  async reopen(pool: string, record: VolumeExportRecord, old: OpenedSource): Promise<OpenedSource> {
    invariant(old.kind === 'volume', 'a disk is in no pool');
    return { ...(await this.#open(pool, record)), kind: 'volume', contexts: old.contexts };
  }

  /**
   * Under two names: ours, and the one by which QEMU knows such a thing.
   *
   * @throws StorageError snapshot/not-found nothing has the name any more, or something else: what changed since would be too
   *   little, and a backup that reads no more than that would miss data
   */
  async #contexts(pool: string, record: VolumeExportRecord): Promise<ChangedContext[]> {
    const { snapshotId, changedSince } = record;
    if (snapshotId === undefined || changedSince === undefined) return [];
    const { volume } = this.#snapshots.byId(pool, snapshotId);
    if (this.#snapshots.get(volume, changedSince).createdAt !== record.changedSinceTime) {
      const meant = `${volume}@${changedSince} of ${record.changedSinceTime}`;
      throw new StorageError(
        'snapshot/not-found',
        `${meant} is gone, another has its name: what changed since cannot be told`,
        { actions: [`varve export remove ${record.name}, and add it again`] },
      );
    }
    const runs = runsOf(await this.#snapshots.changedSince(pool, snapshotId, changedSince));
    return [`varve:changed:${changedSince}`, `qemu:dirty-bitmap:${changedSince}`].map((name) => ({
      name,
      runs,
    }));
  }

  /** Takes the source over and holds its sockets; all is given back when one cannot be had. */
  async listen(source: OpenedSource, record: ExportRecord): Promise<Served> {
    const listeners: Listener[] = [];
    try {
      for (const address of [this.#defaultAddress, ...record.listen.map(parseAddress)]) {
        listeners.push(await this.#listeners.hold(address));
      }
      return { source, listeners };
    } catch (error) {
      await this.end({ source, listeners });
      throw error;
    }
  }

  /** Clients may connect from now on. */
  expose(record: ExportRecord, { source, listeners }: Served): void {
    const { name, readOnly } = record;
    const spec = { name, description: describe(record), readOnly, ...identityOf(record) };
    const planes = listeners.map((listener) => listener.plane);
    if (source.kind === 'disk') return this.#dataPlane.addDiskExport(source.plane, planes, spec);
    this.#dataPlane.addExport(source.plane, planes, { ...spec, contexts: source.contexts });
  }

  /** Closes source and sockets; the data plane must not serve it any more. */
  async end(served: Served): Promise<void> {
    await served.source.close();
    for (const listener of served.listeners) await this.#listeners.release(listener);
  }
}

function runsOf(extents: readonly ChangedExtent[]): Float64Array {
  const runs = new Float64Array(2 * extents.length);
  extents.forEach(({ offset, length }, index) => {
    runs.set([offset, length], 2 * index);
  });
  return runs;
}

function describe(record: ExportRecord): string {
  if (isPassthrough(record)) return `disk ${record.disk.uri} as it is`;
  const { volumeId, snapshotId } = record;
  const snapshot = snapshotId === undefined ? '' : `, snapshot ${snapshotId}`;
  return `varve volume ${volumeId}${snapshot}`;
}

/** Another process that serves the same record serves the same bytes; what is written to a scratch export is gone with its process. */
function identityOf(record: ExportRecord): { identity?: string } {
  if (isPassthrough(record)) return { identity: record.uuid };
  return record.scratch ? {} : { identity: `${record.createdAt} ${record.snapshotId ?? ''}` };
}

/** @throws StorageError volume/not-found */
export function volumeById(volumes: ExportVolumes, pool: string, id: number): VolumeInfo {
  const volume = volumes.list().find((info) => info.pool === pool && info.id === id);
  if (volume !== undefined) return volume;
  throw new StorageError('volume/not-found', `pool ${pool} has no volume with id ${id}`);
}
