/**
 * The volumes of a pool that are open in the data plane, each once, however many use it.
 */

import { StorageError } from '../base/errors.ts';
import { Mutex } from '../base/mutex.ts';
import { leavesPerRegion, slotsPerLeaf } from '../base/units.ts';
import type { Handle } from '../dataplane/binding.ts';
import type { PoolPlane, VolumePlane } from '../dataplane/data-plane.ts';
import type { Target } from './allocator.ts';
import type { Damage } from './damage.ts';
import type { PendingMoves } from './pending-moves.ts';
import type { PoolIndex } from './pool-index.ts';
import { RegionLoader } from './region-loader.ts';

export interface VolumeToOpen {
  /** Names it among everything of the pool that may be open. */
  readonly key: string;
  /** The layers that it shows, the uppermost first, now: asked again whenever it matters. */
  readonly chain: () => readonly number[];
  /** The first of them is its own and takes what is written; otherwise it is only read. */
  readonly writable: boolean;
  readonly copyOnWrite: boolean;
  readonly sizeBytes: number;
  /** Where what is written to it is to lie. */
  readonly target: Target;
}

interface Entry {
  readonly key: string;
  readonly plane: VolumePlane;
  readonly loader: RegionLoader;
  sizeBytes: number;
  users: number;
  /** Not users: what is closed waits for them. */
  readonly borrowers: Set<Promise<unknown>>;
  isClosing: boolean;
}

export interface OpenVolumesParts {
  readonly plane: PoolPlane;
  readonly index: PoolIndex;
  readonly clusterBytes: number;
  readonly moves: PendingMoves;
  /** Of the pool, now. */
  readonly damage: () => Damage;
  readonly groupOf: (target: Target) => number;
  readonly onDamage: (error: unknown) => void;
}

export class OpenVolumes {
  readonly #parts: OpenVolumesParts;
  readonly #byKey = new Map<string, Entry>();
  readonly #byHandle = new Map<Handle, Entry>();
  /** Opening and closing of one volume must not overlap. */
  readonly #changing = new Mutex();

  constructor(parts: OpenVolumesParts) {
    this.#parts = parts;
  }

  /** Opens the volume or joins whoever has it open; `close` once per `open`. */
  open(volume: VolumeToOpen): Promise<VolumePlane> {
    return this.#changing.run(async () => {
      const entry = this.#byKey.get(volume.key) ?? (await this.#openFirst(volume));
      entry.users += 1;
      return entry.plane;
    });
  }

  /** The last one to close waits for what is in flight. */
  close(key: string): Promise<void> {
    return this.#changing.run(async () => {
      const entry = this.#byKey.get(key);
      if (entry === undefined) return;
      entry.users -= 1;
      if (entry.users === 0) await this.#closeLast(entry);
    });
  }

  /**
   * `work` with a volume that others have open; the last of them to close it waits for the end.
   *
   * @returns undefined when it is not open
   */
  async borrow<T>(key: string, work: (plane: VolumePlane) => Promise<T>): Promise<T | undefined> {
    const entry = this.#byKey.get(key);
    if (entry === undefined || entry.isClosing) return undefined;
    const working = work(entry.plane);
    entry.borrowers.add(working);
    try {
      return await working;
    } finally {
      entry.borrowers.delete(working);
    }
  }

  /** While `work` runs nothing is opened or closed. It must not open or close anything itself. */
  holding<T>(work: () => Promise<T>): Promise<T> {
    return this.#changing.run(work);
  }

  closeAll(): Promise<void> {
    return this.#changing.run(async () => {
      for (const entry of [...this.#byKey.values()]) await this.#closeLast(entry);
    });
  }

  get count(): number {
    return this.#byKey.size;
  }

  /** How many have it open. */
  usersOf(key: string): number {
    return this.#byKey.get(key)?.users ?? 0;
  }

  planeOf(key: string): VolumePlane | undefined {
    return this.#byKey.get(key)?.plane;
  }

  /** Everything that is open. */
  planes(): VolumePlane[] {
    return [...this.#byKey.values()].map(({ plane }) => plane);
  }

  byHandle(handle: Handle): { readonly key: string; readonly plane: VolumePlane } | undefined {
    return this.#byHandle.get(handle);
  }

  /** The volume has grown. */
  resize(key: string, sizeBytes: number): void {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    entry.sizeBytes = sizeBytes;
    entry.plane.resize(sizeBytes);
  }

  regionWanted(handle: Handle, region: number): void {
    void this.#byHandle.get(handle)?.loader.load(region);
  }

  async #openFirst(volume: VolumeToOpen): Promise<Entry> {
    const { index, plane: pool, clusterBytes, moves, damage, onDamage } = this.#parts;
    const { key, chain, writable: ownsHead, copyOnWrite, sizeBytes } = volume;
    const empty = (await index.nextLeaf(chain(), 0)) === Number.POSITIVE_INFINITY;
    const [first] = chain();
    if (ownsHead && first === undefined) {
      throw new StorageError('volume/not-found', 'the volume was deleted meanwhile');
    }
    const layer = ownsHead ? (first as number) : 0;
    const grantGroup = this.#parts.groupOf(volume.target);
    const plane = await pool.openVolume({ layer, sizeBytes, empty, copyOnWrite, grantGroup });
    const regionBytes = clusterBytes * slotsPerLeaf * leavesPerRegion;
    const regionCount = () => Math.ceil(entry.sizeBytes / regionBytes);
    const loader = new RegionLoader({
      index,
      plane,
      chain,
      ownsHead,
      moves,
      damage,
      regionCount,
      onDamage,
    });
    const entry: Entry = {
      key,
      plane,
      loader,
      sizeBytes,
      users: 0,
      borrowers: new Set(),
      isClosing: false,
    };
    this.#byKey.set(key, entry);
    this.#byHandle.set(plane.handle, entry);
    if (!empty) loader.startAhead();
    return entry;
  }

  /** Requests in flight may still wait for regions, so the loader answers until the data plane has let go. */
  async #closeLast(entry: Entry): Promise<void> {
    entry.isClosing = true;
    await Promise.allSettled(entry.borrowers);
    await entry.loader.stopAhead();
    await entry.plane.close();
    this.#byKey.delete(entry.key);
    this.#byHandle.delete(entry.plane.handle);
    await entry.loader.close();
  }
}
