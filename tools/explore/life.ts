/**
 * A seeded life of a pool on recorded disks: I/O on several volumes in racing batches, volumes made and deleted, grown, and
 * checkpoints as the small journal asks for them, and folds as if it had been idle. Keeps what each moment promised.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { Pools } from '../../src/pool/pools.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import { type Change, sectorBytes, stamp, VolumeModel } from './durability-model.ts';
import type { Random } from './random.ts';
import type { RecordingPlane } from './recording-plane.ts';

const clusterBytes = 16 * KiB;
const subBlockBytes = clusterBytes / 16;
const volumesMax = 3;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A volume's name in time, by moments of the recorded disks. */
export interface VolumeLife {
  readonly name: string;
  readonly model: VolumeModel;
  readonly createBegun: number;
  created: number;
  deleteBegun: number;
  deleted: number;
}

interface LiveVolume {
  readonly life: VolumeLife;
  readonly open: OpenVolume;
}

export class Life {
  readonly #plane: RecordingPlane;
  readonly #random: Random;
  readonly #pools: Pools;
  readonly #volumes: VolumeService;
  readonly lives: VolumeLife[] = [];
  #live: LiveVolume[] = [];
  #serial = 0;

  private constructor(plane: RecordingPlane, random: Random, pools: Pools, volumes: VolumeService) {
    this.#plane = plane;
    this.#random = random;
    this.#pools = pools;
    this.#volumes = volumes;
  }

  static stateDir(folder: string): string {
    return join(folder, 'state');
  }

  static async begin(
    plane: RecordingPlane,
    random: Random,
    folder: string,
    disks: readonly string[],
  ): Promise<Life> {
    const emit = () => {};
    const pools = await Pools.open({
      stateDir: Life.stateDir(folder),
      dataPlane: plane,
      clock: systemClock,
      log: silent,
      emit,
      // Short, so that rounds nobody asked for happen too.
      options: { flushWindowMs: 20 },
    });
    await pools.create('life', disks, { clusterBytes });
    return new Life(plane, random, pools, new VolumeService({ pools, clock: systemClock, emit }));
  }

  async step(): Promise<void> {
    if (this.#live.length === 0 || (this.#live.length < volumesMax && this.#random.chance(8))) {
      return this.#create();
    }
    if (this.#random.chance(30)) return this.#delete();
    if (this.#random.chance(10)) return this.#pools.get('life').index.fold();
    return this.#batch();
  }

  async end(): Promise<void> {
    for (const { open } of this.#live) await open.close();
    this.#live = [];
    await this.#pools.close();
  }

  async #create(): Promise<void> {
    const id = this.lives.length + 1;
    const sizeBytes = (1 + this.#random.below(3)) * (MiB / 2);
    const life: VolumeLife = {
      name: `v${id}`,
      model: new VolumeModel(id, sizeBytes),
      createBegun: this.#plane.moment(),
      created: Number.POSITIVE_INFINITY,
      deleteBegun: Number.POSITIVE_INFINITY,
      deleted: Number.POSITIVE_INFINITY,
    };
    this.lives.push(life);
    await this.#volumes.create({ name: life.name, sizeBytes });
    life.created = this.#plane.moment();
    this.#live.push({ life, open: await this.#volumes.open(life.name) });
  }

  async #delete(): Promise<void> {
    const [gone] = this.#live.splice(this.#random.below(this.#live.length), 1);
    if (gone === undefined) return;
    await gone.open.close();
    gone.life.deleteBegun = this.#plane.moment();
    await this.#volumes.delete(gone.life.name);
    gone.life.deleted = this.#plane.moment();
  }

  /** Requests in flight together: they share clusters and sub-blocks, never sectors. */
  async #batch(): Promise<void> {
    const requests: Promise<void>[] = [];
    for (const volume of this.#live) {
      let at = this.#random.below(64) * sectorBytes;
      while (at < volume.life.model.sizeBytes && requests.length < 16) {
        const length = Math.min(
          (1 + this.#random.below(48)) * sectorBytes,
          volume.life.model.sizeBytes - at,
        );
        requests.push(this.#request(volume, at, length));
        at += length + this.#random.below(200) * sectorBytes;
      }
      if (this.#random.chance(4)) requests.push(this.#flush(volume));
    }
    await Promise.all(requests);
    const volume = this.#random.pick(this.#live);
    if (volume !== undefined && this.#random.chance(3)) await this.#flush(volume);
  }

  #request(volume: LiveVolume, offset: number, length: number): Promise<void> {
    return this.#random.chance(5)
      ? this.#discard(volume, offset, length)
      : this.#write(volume, offset, length);
  }

  async #write({ life, open }: LiveVolume, offset: number, length: number): Promise<void> {
    const serial = ++this.#serial;
    const data = new Uint8Array(length);
    stamp(data, life.model.id, offset / sectorBytes, serial);
    const fua = this.#random.chance(10);
    const change = life.model.begin(offset, length, serial, this.#plane.moment());
    await open.plane.write(offset, data, { fua });
    this.#acknowledge(life.model, change, fua);
  }

  /** TRIM does nothing to parts of sub-blocks: whole ones only, so that the model knows what it did. */
  async #discard({ life, open }: LiveVolume, offset: number, length: number): Promise<void> {
    const start = Math.ceil(offset / subBlockBytes) * subBlockBytes;
    const end = Math.floor((offset + length) / subBlockBytes) * subBlockBytes;
    if (end <= start) return;
    const change = life.model.begin(start, end - start, 0, this.#plane.moment());
    if (this.#random.chance(2)) await open.plane.trim(start, end - start);
    else await open.plane.zero(start, end - start);
    this.#acknowledge(life.model, change, false);
  }

  #acknowledge(model: VolumeModel, change: Change, durable: boolean): void {
    model.acknowledged(change);
    if (durable) model.flushed([change], this.#plane.moment());
  }

  async #flush({ life, open }: LiveVolume): Promise<void> {
    const covered = life.model.beginFlush();
    await open.plane.flush();
    life.model.flushed(covered, this.#plane.moment());
  }
}
