/**
 * MigrationService: moves data between disks while guests run.
 *
 *   cordon    a disk takes no new data
 *   drain     everything on a disk moves to the others                         drain.ts
 *   replace   a disk is added, another one drained and removed
 *   rebalance disks of one class come to be equally full                       rebalance.ts
 *   place     a volume and its snapshots move to a class or a disk             volume-placement.ts
 *   absorb    what is read from an adopted disk moves into the pool            absorb.ts
 *
 * Here: which pool and disk are meant, what is told; each movement has a file of its own, and goes on where it was when it is begun again.
 */
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import { parseDiskUri } from '../pool/disk-uri.ts';
import { Pace } from '../pool/pace.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { DiskInfo, EmitEvent } from '../pool/types.ts';
import { adoptedDiskOf } from '../volume/adopted-disk.ts';
import { chainOf } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import type { VolumePlacement } from '../volume/placement.ts';
import { volumeById } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { absorb, type BeforeLettingGo, planAbsorb } from './absorb.ts';
import { drain, planDrain } from './drain.ts';
import { planRebalance, rebalance } from './rebalance.ts';
import type { MovementContext, MovementWatch, MovePlan } from './types.ts';
import { nameOf, placeVolume, planPlacement } from './volume-placement.ts';

/** Names a disk of an open pool. */
export type DiskName = Pick<DiskInfo, 'pool' | 'number'>;

export interface MigrationDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly emit: EmitEvent;
}

export class MigrationService {
  readonly #pools: Pools;
  readonly #volumes: VolumeService;
  readonly #emit: EmitEvent;
  /** Ids of volumes on their way. */
  readonly #moving = new WeakMap<Pool, Set<number>>();
  /** Names of volumes; an operation finds its volume again by name. */
  readonly #absorbing = new Set<string>();

  constructor({ pools, volumes, emit }: MigrationDependencies) {
    this.#pools = pools;
    this.#volumes = volumes;
    this.#emit = emit;
    volumes.addGuard((name) => (this.#absorbing.has(name) ? 'it is being absorbed' : null));
  }

  /** Labels the disk for placement; null: no label. @throws StorageError pool/not-found, pool/failed, request/invalid */
  async setClass(
    { pool: name, number }: DiskName,
    label: string | null,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<{ disk: DiskInfo; changed: boolean }> {
    if (label !== null) expectName('class', label);
    const pool = this.#pool(name);
    const placement = pool.placement(number);
    const changed = placement.class !== label;
    if (changed && !options.dryRun) await pool.placeDisk(number, { ...placement, class: label });
    return { disk: pool.diskInfo(number), changed };
  }

  /**
   * From now on the disk takes no new data, or takes it again.
   *
   * @throws StorageError pool/not-found, pool/failed
   */
  async setCordoned(
    { pool: name, number }: DiskName,
    cordoned: boolean,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<{ disk: DiskInfo; changed: boolean }> {
    const pool = this.#pool(name);
    const placement = pool.placement(number);
    const changed = placement.cordoned !== cordoned;
    if (changed && !options.dryRun) {
      await pool.placeDisk(number, { ...placement, cordoned });
      const { uri } = pool.diskInfo(number);
      const what = cordoned ? 'takes no new data' : 'takes new data again';
      this.#tell(cordoned ? 'disk/cordoned' : 'disk/uncordoned', uri, `disk ${uri} ${what}`);
    }
    return { disk: pool.diskInfo(number), changed };
  }

  /** @throws StorageError pool/full the other disks have not the room */
  async planDrain({ pool, number }: DiskName): Promise<MovePlan> {
    return planDrain(this.#pool(pool), number);
  }

  /**
   * Afterwards nothing lies on the disk; it stays cordoned.
   *
   * @throws StorageError pool/full, pool/failed, disk/io; why the operation is to end
   */
  async drain({ pool: name, number }: DiskName, context: MovementContext): Promise<void> {
    const pool = this.#pool(name);
    await planDrain(pool, number);
    await drain({ pool, volumes: this.#volumes }, number, watchOf(pool, context));
    const { uri } = pool.diskInfo(number);
    this.#tell('disk/drained', uri, `nothing lies on disk ${uri} any more`);
  }

  /**
   * Adds the disk that is to take over from another one, with its class; nothing when it is in the pool already, from an attempt that was cut off.
   *
   * @returns what is to be moved, and the new disk (not in the pool on a dry run)
   * @throws StorageError what keeps the disk from being added; pool/full it has not the room, and neither have the others
   */
  async beginReplace(
    { pool: name, number }: DiskName,
    uri: string,
    options: { readonly force?: boolean; readonly dryRun?: boolean } = {},
  ): Promise<{ plan: MovePlan; replacement: DiskInfo }> {
    const pool = this.#pool(name);
    const { normalized } = parseDiskUri(uri);
    const known = pool.info().disks.find((disk) => disk.uri === normalized);
    if (known !== undefined) return { plan: await planDrain(pool, number), replacement: known };
    const preview = await this.#pools.addDisk(name, uri, { ...options, dryRun: true });
    const plan = await planDrain(pool, number, { addedBytes: preview.capacityBytes });
    if (options.dryRun) return { plan, replacement: preview };
    const replacement = await this.#pools.addDisk(name, uri, options);
    const { class: label } = pool.placement(number);
    await pool.placeDisk(replacement.number, { class: label, cordoned: false });
    return { plan, replacement };
  }

  /** Afterwards the pool goes on without the disk. @throws as `drain`, and what keeps the disk from being removed */
  async replace(
    { pool: name, number }: DiskName,
    replacement: DiskName,
    context: MovementContext,
  ): Promise<void> {
    const pool = this.#pool(name);
    const preferred = [{ disk: replacement.number }];
    await drain({ pool, volumes: this.#volumes }, number, watchOf(pool, context), preferred);
    await this.#pools.removeDisk(name, number);
  }

  async planRebalance(pool: string): Promise<MovePlan> {
    return planRebalance(this.#pool(pool));
  }

  /** Afterwards disks of one class are about equally full. @throws as `drain` */
  async rebalance(name: string, context: MovementContext): Promise<void> {
    const pool = this.#pool(name);
    await rebalance({ pool, volumes: this.#volumes }, watchOf(pool, context));
    this.#tell('pool/rebalanced', name, `the disks of pool ${name} are about equally full`);
  }

  /**
   * Where a volume is to lie when it is moved to a class or a disk of its pool.
   *
   * @throws StorageError volume/not-found; request/invalid there is no such class, disk or pool
   */
  placementFor(volume: string, to: string): VolumePlacement {
    const found = this.findPlacement(volume, to);
    if (found !== undefined) return found;
    const { pool } = this.#volumes.find(volume);
    const classes = [...new Set(pool.info().disks.flatMap((each) => each.class ?? []))];
    throw new StorageError(
      'request/invalid',
      `"${to}" is no class and no disk of pool ${pool.name}, and no pool`,
      {
        actions: [
          'varve disk list -o wide',
          'varve pool list',
          ...classes.map((each) => `--to ${each}`),
        ],
      },
    );
  }

  /** The class or disk of the volume's pool with that name. @throws StorageError volume/not-found */
  findPlacement(volume: string, to: string): VolumePlacement | undefined {
    const { disks } = this.#volumes.find(volume).pool.info();
    if (disks.some((disk) => disk.class === to)) return { class: to };
    const disk = disks.find(({ uuid, uri, path }) => [uuid, uri, path].includes(to));
    return disk === undefined ? undefined : { disk: disk.uuid };
  }

  /** @throws StorageError volume/not-found; pool/full there is not the room */
  async planPlacement(name: string, placement: VolumePlacement): Promise<MovePlan> {
    const { pool, record } = this.#volumes.find(name);
    pool.expectWritable();
    return planPlacement(pool, record.id, placement);
  }

  /** Afterwards the volume and its snapshots lie there, and so does what is written from now on. @throws as `drain` */
  async place(name: string, placement: VolumePlacement, context: MovementContext): Promise<void> {
    const { pool, record } = this.#volumes.find(name);
    await this.#alone(pool, record, () =>
      placeVolume({ pool, volumes: this.#volumes }, record.id, placement, watchOf(pool, context)),
    );
    this.#tell('volume/moved', name, `volume ${name} lies on ${nameOf(placement)} now`);
  }

  /**
   * @returns what would be copied from which disk; undefined when the volume reads from no adopted disk
   * @throws StorageError volume/not-found; disk/unusable the disk cannot be read; pool/full there is not the room
   */
  async planAbsorb(name: string): Promise<{ plan: MovePlan; uri: string } | undefined> {
    const { pool, disk } = this.#adopted(name);
    if (disk === undefined) return undefined;
    pool.expectWritable();
    return { plan: await planAbsorb(pool, disk), uri: disk.record.uri };
  }

  /**
   * Afterwards the volume, and whatever shares its data, needs the disk that it was adopted from no more.
   *
   * @throws as `drain`, `planAbsorb`; what `beforeLettingGo` does
   */
  async absorb(
    name: string,
    context: MovementContext,
    beforeLettingGo?: BeforeLettingGo,
  ): Promise<void> {
    const { pool, record, disk } = this.#adopted(name);
    if (disk === undefined) return;
    await this.#alone(pool, record, async () => {
      this.#absorbing.add(name);
      try {
        await planAbsorb(pool, disk);
        const to = { pool, volumes: this.#volumes };
        await absorb(to, disk.record.number, watchOf(pool, context), beforeLettingGo);
      } finally {
        this.#absorbing.delete(name);
      }
    });
    const { uri } = disk.record;
    const message = `volume ${name} lies in pool ${pool.name} now, disk ${uri} is not needed any more`;
    this.#tell('volume/absorbed', name, message);
  }

  #adopted(name: string) {
    const found = this.#volumes.find(name);
    const { pool, record } = found;
    return { ...found, disk: adoptedDiskOf(pool, chainOf(pool, record.headLayer)) };
  }

  /** @throws StorageError volume/not-found; volume/busy it is being moved, or one that shares layers with it */
  expectNotMoving(name: string): void {
    const { pool, record } = this.#volumes.find(name);
    const tree = LayerTree.of(pool);
    const base = tree.chain(record.headLayer).at(-1);
    for (const id of this.#moving.get(pool) ?? []) {
      const other = volumeById(pool, id);
      if (other === undefined || tree.chain(other.headLayer).at(-1) !== base) continue;
      const why =
        id === record.id
          ? 'it is being moved'
          : `it shares data with ${other.name}, which is being moved`;
      throw new StorageError('volume/busy', `volume ${name} cannot be moved: ${why}`, {
        actions: ['varve op list'],
      });
    }
  }

  /** Of volumes that share layers one moves at a time. @throws StorageError volume/busy */
  async #alone(pool: Pool, record: VolumeRecord, work: () => Promise<void>): Promise<void> {
    this.expectNotMoving(record.name);
    const moving = this.#moving.get(pool) ?? new Set();
    this.#moving.set(pool, moving);
    moving.add(record.id);
    try {
      await work();
    } finally {
      moving.delete(record.id);
    }
  }

  /** @throws StorageError pool/not-found; pool/read-only */
  #pool(name: string): Pool {
    const pool = this.#pools.get(name);
    pool.expectWritable();
    return pool;
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#emit({ kind, level: 'info', subject, message });
  }
}

function watchOf({ governor }: Pool, context: MovementContext): MovementWatch {
  const pace = new Pace(context);
  return {
    before: (bytes) => pace.before(bytes),
    report: (doneBytes, totalBytes) =>
      context.report(doneBytes, totalBytes, { isHeldBack: governor.isHeldBack }),
  };
}
