/**
 * A seeded life of a pool on recorded disks: I/O on several volumes in racing batches, volumes made and deleted, snapshots, groups of them, clones,
 * reverts, deletions in any order, both snapshot modes, flattening, disks that join and leave, and checkpoints as the small journal asks for
 * them, and folds as if it had been idle. Keeps what each moment promised.
 */
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { StorageError } from '../../src/base/errors.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { drain } from '../../src/migration/drain.ts';
import { Pools } from '../../src/pool/pools.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import {
  type Change,
  type Content,
  imageViolations,
  sectorBytes,
  stamp,
  VolumeModel,
} from './durability-model.ts';
import type { Random } from './random.ts';
import type { RecordingPlane } from './recording-plane.ts';

const clusterBytes = 16 * KiB;
const subBlockBytes = clusterBytes / 16;
const volumesMax = 3;
/** What a step may need, the copies of layers among it. */
const roomKeptBytes = 3 * MiB;
const never = Number.POSITIVE_INFINITY;
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

/** A snapshot in time, with what it shows as long as it is there. */
export interface SnapshotLife {
  readonly volume: string;
  readonly name: string;
  readonly image: readonly Content[];
  readonly createBegun: number;
  created: number;
  deleteBegun: number;
  deleted: number;
}

interface LiveVolume {
  readonly life: VolumeLife;
  readonly open: OpenVolume;
}

/** Always a second later when asked again: a name made of the time is never used twice in a life. */
function hastyClock(): Clock {
  let nowMs = systemClock.nowMs();
  return { ...systemClock, nowMs: () => (nowMs += 1000) };
}

export class Life {
  readonly #plane: RecordingPlane;
  readonly #random: Random;
  readonly #pools: Pools;
  readonly #volumes: VolumeService;
  readonly #snapshots: SnapshotService;
  readonly lives: VolumeLife[] = [];
  readonly snapshotLives: SnapshotLife[] = [];
  #live: LiveVolume[] = [];
  #serial = 0;
  /** Disks of no pool. */
  #spares: string[] = [];

  private constructor(plane: RecordingPlane, random: Random, pools: Pools, volumes: VolumeService) {
    const services = { pools, volumes, clock: hastyClock(), emit() {} };
    this.#snapshots = new SnapshotService(services);
    this.#plane = plane;
    this.#random = random;
    this.#pools = pools;
    this.#volumes = volumes;
  }

  static stateDir(folder: string): string {
    return join(folder, 'state');
  }

  /** @param disks of the pool at first, the others being at hand */
  static async begin(
    plane: RecordingPlane,
    random: Random,
    folder: string,
    disks: { readonly first: readonly string[]; readonly spares: readonly string[] },
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
    await pools.create('life', disks.first, { clusterBytes });
    const volumes = new VolumeService({ pools, clock: systemClock, emit });
    const life = new Life(plane, random, pools, volumes);
    life.#spares = [...disks.spares];
    return life;
  }

  async step(): Promise<void> {
    if (this.#room() < roomKeptBytes) return this.#makeRoom();
    if (this.#live.length === 0 || (this.#live.length < volumesMax && this.#random.chance(8))) {
      return this.#create();
    }
    if (this.#random.chance(30)) return this.#delete();
    if (this.#random.chance(10)) return this.#pools.get('life').index.fold();
    if (this.#random.chance(8)) return this.#snapshot();
    if (this.#random.chance(12)) return this.#clone();
    if (this.#random.chance(20)) return this.#revert();
    if (this.#random.chance(10)) return this.#deleteSnapshot();
    if (this.#random.chance(8)) return this.#race();
    if (this.#random.chance(10)) return this.#changeMembers();
    if (this.#random.chance(8)) return this.#drain();
    if (this.#random.chance(40)) return this.#changeMode();
    if (this.#random.chance(40)) return this.#flatten();
    return this.#batch();
  }

  /** What is shown now, by open volumes and by snapshots, and is not what was written; a sentence for each. */
  async misshown(): Promise<string[]> {
    const found: string[] = [];
    for (const { life, open } of this.#live) {
      const shown = await open.plane.read(0, life.model.sizeBytes);
      const wrong = imageViolations(life.model.image(), shown);
      found.push(...wrong.map((sentence) => `live volume ${life.name} ${sentence}`));
    }
    for (const { life } of this.#live) {
      for (const snapshot of this.#snapshotsOf(life.name)) {
        const { pool, id } = this.#snapshots.get(snapshot.volume, snapshot.name);
        const open = await this.#snapshots.open(pool, id);
        const shown = await open.plane.read(0, snapshot.image.length * sectorBytes);
        await open.close();
        const wrong = imageViolations(snapshot.image, shown);
        const where = `live snapshot ${snapshot.volume}@${snapshot.name}`;
        found.push(...wrong.map((sentence) => `${where} ${sentence}`));
      }
    }
    return found;
  }

  async end(): Promise<void> {
    for (const { open } of this.#live) await open.close();
    this.#live = [];
    await this.#snapshots.close();
    await this.#pools.close();
  }

  #room(): number {
    return this.#pools.get('life').roomOf({}) * clusterBytes;
  }

  /** As an operator does: every disk takes data again, and what is not needed goes. */
  async #makeRoom(): Promise<void> {
    const pool = this.#pools.get('life');
    for (const { number } of pool.info().disks.filter(({ cordoned }) => cordoned)) {
      await pool.placeDisk(number, { class: null, cordoned: false });
    }
    if (this.#room() < roomKeptBytes) await this.#delete();
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
    const snapshotMode = this.#random.chance(3) ? 'cow' : 'row';
    await this.#volumes.create({ name: life.name, sizeBytes, snapshotMode });
    life.created = this.#plane.moment();
    this.#live.push({ life, open: await this.#volumes.open(life.name) });
  }

  async #delete(): Promise<void> {
    const [gone] = this.#live.splice(this.#random.below(this.#live.length), 1);
    if (gone === undefined) return;
    await gone.open.close();
    const own = this.#snapshotsOf(gone.life.name);
    const begun = this.#plane.moment();
    for (const each of [gone.life, ...own]) each.deleteBegun = begun;
    await this.#volumes.delete(gone.life.name, { withSnapshots: true, keepClones: true });
    const ended = this.#plane.moment();
    for (const each of [gone.life, ...own]) each.deleted = ended;
  }

  #snapshotsOf(volume: string): SnapshotLife[] {
    return this.snapshotLives.filter(
      (each) => each.volume === volume && each.deleteBegun === never,
    );
  }

  /** Of one volume, or of all at one point in time. Everything written before is durable with it. */
  async #snapshot(): Promise<void> {
    const one = this.#random.pick(this.#live);
    if (one === undefined) return;
    const volumes = this.#random.chance(3) ? this.#live : [one];
    const name = `s${this.snapshotLives.length + 1}`;
    const taken = volumes.map(({ life }) => this.#frozen(life, name));
    const covered = volumes.map(({ life }) => life.model.beginFlush());
    await this.#snapshots.create({
      names: volumes.map(({ life }) => ({ volume: life.name, snapshot: name })),
    });
    const ended = this.#plane.moment();
    for (const each of taken) each.created = ended;
    for (const [at, { life }] of volumes.entries()) life.model.flushed(covered[at] ?? [], ended);
  }

  #frozen(life: VolumeLife, name: string): SnapshotLife {
    const frozen: SnapshotLife = {
      volume: life.name,
      name,
      image: life.model.image(),
      createBegun: this.#plane.moment(),
      created: never,
      deleteBegun: never,
      deleted: never,
    };
    this.snapshotLives.push(frozen);
    return frozen;
  }

  async #clone(): Promise<void> {
    if (this.#live.length > volumesMax) return;
    const source = this.#random.pick(
      this.#live.flatMap(({ life }) => this.#snapshotsOf(life.name)),
    );
    if (source === undefined) return;
    const id = this.lives.length + 1;
    const sizeBytes = source.image.length * sectorBytes;
    const life: VolumeLife = {
      name: `v${id}`,
      model: new VolumeModel(id, sizeBytes, source.image),
      createBegun: this.#plane.moment(),
      created: never,
      deleteBegun: never,
      deleted: never,
    };
    this.lives.push(life);
    await this.#snapshots.clone({ volume: source.volume, snapshot: source.name }, life.name);
    life.created = this.#plane.moment();
    this.#live.push({ life, open: await this.#volumes.open(life.name) });
  }

  async #revert(): Promise<void> {
    const volume = this.#random.pick(this.#live);
    const to = this.#random.pick(this.#snapshotsOf(volume?.life.name ?? ''));
    if (volume === undefined || to === undefined) return;
    const { life } = volume;
    const before = life.model.image();
    const begun = this.#plane.moment();
    const covered = life.model.beginFlush();
    const changes = life.model.become(to.image, begun);
    const { safety } = await this.#snapshots.revert(life.name, to.name, {
      discard: this.#random.chance(2),
    });
    const ended = this.#plane.moment();
    life.model.flushed([...covered, ...changes], ended);
    if (safety === null) return;
    const lasting = { deleteBegun: never, deleted: never };
    const moments = { createBegun: begun, created: ended };
    this.snapshotLives.push({
      volume: life.name,
      name: safety,
      image: before,
      ...moments,
      ...lasting,
    });
  }

  async #deleteSnapshot(): Promise<void> {
    const all = this.#live.flatMap(({ life }) => this.#snapshotsOf(life.name));
    const gone = this.#random.pick(all);
    if (gone === undefined) return;
    gone.deleteBegun = this.#plane.moment();
    const names = [{ volume: gone.volume, snapshot: gone.name }];
    await this.#snapshots.delete(names, { keepClones: true, bookmark: this.#random.chance(4) });
    gone.deleted = this.#plane.moment();
  }

  /** The tree changes while layers that lost their names are merged. */
  async #race(): Promise<void> {
    const deleted = this.#deleteSnapshot();
    const others = [
      () => this.#snapshot(),
      () => Promise.all([this.#flatten(), this.#snapshot()]),
      () => this.#clone(),
      () => this.#revert(),
    ];
    await Promise.all([deleted, this.#random.pick(others)?.()]);
  }

  /** A disk joins or leaves while requests are in flight. */
  async #changeMembers(): Promise<void> {
    const change = this.#random.chance(2) ? this.#removeDisk() : this.#addDisk();
    await Promise.all([change, this.#batch()]);
  }

  /** Half of them get no data: they can leave again. */
  async #addDisk(): Promise<void> {
    const path = this.#spares.pop();
    if (path === undefined) return;
    const { number } = await this.#pools.addDisk('life', path, { force: true });
    if (this.#random.chance(2)) return;
    await this.#pools.get('life').placeDisk(number, { class: null, cordoned: true });
  }

  async #removeDisk(): Promise<void> {
    const pool = this.#pools.get('life');
    const empty = pool.info().disks.filter(({ number }) => pool.occupancy(number).owned === 0);
    const disk = this.#random.pick(empty);
    if (disk === undefined || pool.disks.length === 1) return;
    try {
      await this.#pools.removeDisk('life', disk.number);
      this.#spares.push(disk.path);
    } catch (error) {
      // What is written meanwhile may have got there first.
      if (!(error instanceof StorageError) || error.code !== 'disk/not-empty') throw error;
    }
  }

  /** A disk is emptied while requests are in flight, or while the tree changes. */
  async #drain(): Promise<void> {
    const pool = this.#pools.get('life');
    const disk = this.#random.pick(pool.info().disks.filter(({ cordoned }) => !cordoned));
    if (disk === undefined) return;
    const { number } = disk;
    const { owned, roomBeside } = pool.occupancy(number);
    if (2 * owned + roomKeptBytes / clusterBytes > roomBeside) return;
    const context = { pool, volumes: this.#volumes };
    const other = this.#random.chance(2) ? this.#batch() : this.#race();
    await Promise.all([drain(context, number, { before: async () => {}, report() {} }), other]);
    // Half of them can leave the pool next.
    if (this.#random.chance(2)) await pool.placeDisk(number, { class: null, cordoned: false });
  }

  async #changeMode(): Promise<void> {
    const volume = this.#random.pick(this.#live);
    if (volume === undefined) return;
    await this.#snapshots.setMode(volume.life.name, this.#random.chance(2) ? 'cow' : 'row');
  }

  async #flatten(): Promise<void> {
    const volume = this.#random.pick(this.#live);
    if (volume === undefined) return;
    await this.#snapshots.flatten(volume.life.name, () => {}, new AbortController().signal);
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
