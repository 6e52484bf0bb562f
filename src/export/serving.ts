/**
 * Serving one export: its volume open, its sockets held, the data plane told. Each step is undone by `end`.
 *
 * Elsewhere: which exports there are and what is remembered of them (export-service.ts).
 */
import { StorageError } from '../base/errors.ts';
import type { DataPlane, VolumePlane } from '../dataplane/data-plane.ts';
import type { VolumeInfo } from '../volume/types.ts';
import { type Address, parseAddress } from './address.ts';
import type { Listener, Listeners } from './listeners.ts';
import type { ExportRecord } from './types.ts';

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
}

export interface Served {
  readonly volume: OpenedVolume;
  /** The default one first. */
  readonly listeners: readonly Listener[];
}

export class Serving {
  readonly #dataPlane: Pick<DataPlane, 'addExport'>;
  readonly #volumes: ExportVolumes;
  readonly #listeners: Listeners;
  readonly #defaultAddress: Address;

  constructor(
    dataPlane: Pick<DataPlane, 'addExport'>,
    volumes: ExportVolumes,
    listeners: Listeners,
    defaultAddress: Address,
  ) {
    this.#dataPlane = dataPlane;
    this.#volumes = volumes;
    this.#listeners = listeners;
    this.#defaultAddress = defaultAddress;
  }

  open(pool: string, record: ExportRecord): Promise<OpenedVolume> {
    return this.#volumes.open(volumeById(this.#volumes, pool, record.volumeId).name);
  }

  /** Takes the volume over and holds its sockets; all is given back when one cannot be had. */
  async listen(volume: OpenedVolume, record: ExportRecord): Promise<Served> {
    const listeners: Listener[] = [];
    try {
      for (const address of [this.#defaultAddress, ...record.listen.map(parseAddress)]) {
        listeners.push(await this.#listeners.hold(address));
      }
      return { volume, listeners };
    } catch (error) {
      await this.end({ volume, listeners });
      throw error;
    }
  }

  /** Clients may connect from now on. */
  expose(record: ExportRecord, served: Served): void {
    this.#dataPlane.addExport(
      served.volume.plane,
      served.listeners.map((listener) => listener.plane),
      {
        name: record.name,
        description: `varve volume ${record.volumeId}`,
        readOnly: record.readOnly,
      },
    );
  }

  /** Closes volume and sockets; the data plane must not serve it any more. */
  async end(served: Served): Promise<void> {
    await served.volume.close();
    for (const listener of served.listeners) await this.#listeners.release(listener);
  }
}

/** @throws StorageError volume/not-found */
export function volumeById(volumes: ExportVolumes, pool: string, id: number): VolumeInfo {
  const volume = volumes.list().find((info) => info.pool === pool && info.id === id);
  if (volume !== undefined) return volume;
  throw new StorageError('volume/not-found', `pool ${pool} has no volume with id ${id}`);
}
