/**
 * What a life lives in: one or two pools on recorded disks with the services above them, volumes that are open, and what was promised.
 *
 * Steps (steps/*.ts) change it; a life (life.ts) chooses them.
 */
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { invariant } from '../../src/base/errors.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import { PoolMoves } from '../../src/migration/pool-move/pool-moves.ts';
import { decodeLabel } from '../../src/pool/format/label.ts';
import { leaseTimes } from '../../src/pool/lease.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Pools } from '../../src/pool/pools.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import { nothingExported } from './nothing-exported.ts';
import { never, type Promised, type SnapshotLife, type VolumeLife } from './promises.ts';
import type { Random } from './random.ts';
import type { RecordingPlane } from './recording-plane.ts';
import { Timeline } from './timeline.ts';

export const clusterBytes = 16 * KiB;
export const subBlockBytes = clusterBytes / 16;
/** So many at a time, and one clone more. */
export const volumesMax = 3;
/** What a step may need, the copies of layers among it. */
export const roomKeptBytes = 3 * MiB;
/** Heartbeats come often, so that cuts meet them. */
const leaseMs = 12_000;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const emit = () => {};

export interface LiveVolume {
  readonly life: VolumeLife;
  open: OpenVolume;
}

/** URIs. */
export interface WorldDisks {
  readonly first: readonly string[];
  /** Of the second pool; none: there is none. */
  readonly other: readonly string[];
  /** They may join the first pool. */
  readonly spares: readonly string[];
}

/** Always a second later when asked again: a name made of the time is never used twice in a life. */
function hastyClock(): Clock {
  let nowMs = systemClock.nowMs();
  return { ...systemClock, nowMs: () => (nowMs += 1000) };
}

export class World implements Promised {
  readonly timeline: Timeline;
  readonly volumes: VolumeService;
  readonly snapshots: SnapshotService;
  readonly migration: MigrationService;
  readonly moves: PoolMoves;
  readonly lives: VolumeLife[] = [];
  readonly snapshotLives: SnapshotLife[] = [];
  /** Volumes that are there, open. */
  live: LiveVolume[] = [];
  /** Disks of no pool. */
  readonly spares: string[];
  #serial = 0;

  private constructor(
    readonly plane: RecordingPlane,
    readonly random: Random,
    readonly pools: Pools,
    /** For what hosts keep. */
    readonly folder: string,
    spares: readonly string[],
  ) {
    this.timeline = new Timeline(() => plane.moment());
    this.spares = [...spares];
    const clock = hastyClock();
    this.volumes = new VolumeService({ pools, clock, emit });
    const services = { pools, volumes: this.volumes, clock, emit };
    this.snapshots = new SnapshotService(services);
    this.migration = new MigrationService(services);
    const exports = nothingExported(plane, { ...services, snapshots: this.snapshots });
    this.moves = new PoolMoves({ ...services, exports });
    const checkpoints = new Map<string, number>();
    plane.watchLabels((uri, bytes) => {
      const sequence = decodeLabel(bytes).checkpoint?.sequence ?? 0;
      const isNew = sequence > (checkpoints.get(uri) ?? 0);
      checkpoints.set(uri, sequence);
      return this.timeline.begin(isNew ? 'label write, checkpoint' : 'label write');
    });
  }

  static stateDir(folder: string): string {
    return join(folder, 'state');
  }

  static async begin(
    plane: RecordingPlane,
    random: Random,
    folder: string,
    disks: WorldDisks,
    // A write that finds no space is to fail at once: nobody makes room in the middle of a step.
    patienceSeconds = 0,
  ): Promise<World> {
    const pools = await Pools.open({
      stateDir: World.stateDir(folder),
      dataPlane: plane,
      clock: systemClock,
      log: silent,
      emit,
      // Short, so that rounds nobody asked for happen too.
      options: { flushWindowMs: 20, leaseTimes: leaseTimes(leaseMs) },
    });
    const options = { clusterBytes, patienceSeconds };
    try {
      await pools.create('life', disks.first, options);
      if (disks.other.length > 0) await pools.create('other', disks.other, options);
    } catch (error) {
      await pools.close();
      throw error;
    }
    return new World(plane, random, pools, folder, disks.spares);
  }

  async end(): Promise<void> {
    await this.closeVolumes(this.live);
    this.live = [];
    this.moves.close();
    await this.snapshots.close();
    await this.pools.close();
  }

  /** The pool whose disks come and go. */
  get pool(): Pool {
    return this.pools.get('life');
  }

  get poolNames(): readonly string[] {
    return this.pools.all().map(({ name }) => name);
  }

  /** Bytes that new data of the pool can take. */
  room(pool: Pool): number {
    return pool.roomOf({}) * clusterBytes;
  }

  /** No two writes have the same. */
  nextSerial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  pickVolume(): LiveVolume | undefined {
    return this.random.pick(this.live);
  }

  poolOf({ life }: LiveVolume): Pool {
    return this.volumes.find(life.name).pool;
  }

  /** Snapshots of the volume that nobody has begun to delete. */
  snapshotsOf(volume: string): SnapshotLife[] {
    return this.snapshotLives.filter(
      (each) => each.volume === volume && each.deleteBegun === never,
    );
  }

  get allSnapshots(): SnapshotLife[] {
    return this.live.flatMap(({ life }) => this.snapshotsOf(life.name));
  }

  async openVolume(life: VolumeLife): Promise<void> {
    this.live.push({ life, open: await this.volumes.open(life.name) });
  }

  /** They stay among the living; `reopen` before they are used. */
  async closeVolumes(volumes: readonly LiveVolume[]): Promise<void> {
    for (const { open } of volumes) await open.close();
  }

  async reopen(volumes: readonly LiveVolume[]): Promise<void> {
    for (const volume of volumes) volume.open = await this.volumes.open(volume.life.name);
  }

  /** Takes it out of the living, closed. */
  async retire(volume: LiveVolume): Promise<void> {
    const at = this.live.indexOf(volume);
    invariant(at >= 0, `volume ${volume.life.name} is alive`);
    this.live.splice(at, 1);
    await volume.open.close();
  }
}
