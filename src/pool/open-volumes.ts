/**
 * The volumes of a pool that are open in the data plane, each once, however many use it.
 */

import { Mutex } from '../base/mutex.ts';
import { leavesPerRegion, slotsPerLeaf } from '../base/units.ts';
import type { Handle } from '../dataplane/binding.ts';
import type { PoolPlane, VolumePlane } from '../dataplane/data-plane.ts';
import type { PoolIndex } from './pool-index.ts';
import { RegionLoader } from './region-loader.ts';

export interface VolumeToOpen {
  readonly id: number;
  readonly layer: number;
  readonly sizeBytes: number;
}

interface Entry {
  readonly plane: VolumePlane;
  readonly loader: RegionLoader;
  sizeBytes: number;
  users: number;
}

export interface OpenVolumesParts {
  readonly plane: PoolPlane;
  readonly index: PoolIndex;
  readonly clusterBytes: number;
  readonly onDamage: (error: unknown) => void;
}

export class OpenVolumes {
  readonly #parts: OpenVolumesParts;
  readonly #byId = new Map<number, Entry>();
  readonly #byHandle = new Map<Handle, Entry>();
  /** Opening and closing of one volume must not overlap. */
  readonly #changing = new Mutex();

  constructor(parts: OpenVolumesParts) {
    this.#parts = parts;
  }

  /** Opens the volume or joins whoever has it open; `close` once per `open`. */
  open(volume: VolumeToOpen): Promise<VolumePlane> {
    return this.#changing.run(async () => {
      const entry = this.#byId.get(volume.id) ?? (await this.#openFirst(volume));
      entry.users += 1;
      return entry.plane;
    });
  }

  /** The last one to close waits for what is in flight. */
  close(id: number): Promise<void> {
    return this.#changing.run(async () => {
      const entry = this.#byId.get(id);
      if (entry === undefined) return;
      entry.users -= 1;
      if (entry.users === 0) await this.#closeLast(id, entry);
    });
  }

  closeAll(): Promise<void> {
    return this.#changing.run(async () => {
      for (const [id, entry] of [...this.#byId]) await this.#closeLast(id, entry);
    });
  }

  get count(): number {
    return this.#byId.size;
  }

  isOpen(id: number): boolean {
    return this.#byId.has(id);
  }

  /** The volume has grown. */
  resize(id: number, sizeBytes: number): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    entry.sizeBytes = sizeBytes;
    entry.plane.resize(sizeBytes);
  }

  regionWanted(handle: Handle, region: number): void {
    void this.#byHandle.get(handle)?.loader.load(region);
  }

  async #openFirst(volume: VolumeToOpen): Promise<Entry> {
    const { index, plane: pool, clusterBytes, onDamage } = this.#parts;
    const { layer, sizeBytes } = volume;
    const empty = (await index.nextLeaf(layer, 0)) === Number.POSITIVE_INFINITY;
    const plane = await pool.openVolume({ layer, sizeBytes, empty });
    const regionBytes = clusterBytes * slotsPerLeaf * leavesPerRegion;
    const regionCount = () => Math.ceil(entry.sizeBytes / regionBytes);
    const loader = new RegionLoader({ index, plane, layer, regionCount, onDamage });
    const entry: Entry = { plane, loader, sizeBytes, users: 0 };
    this.#byId.set(volume.id, entry);
    this.#byHandle.set(plane.handle, entry);
    if (!empty) loader.startAhead();
    return entry;
  }

  /** Requests in flight may still wait for regions, so the loader answers until the data plane has let go. */
  async #closeLast(id: number, entry: Entry): Promise<void> {
    await entry.loader.stopAhead();
    await entry.plane.close();
    entry.loader.close();
    this.#byId.delete(id);
    this.#byHandle.delete(entry.plane.handle);
  }
}
