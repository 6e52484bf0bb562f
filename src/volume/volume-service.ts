/**
 * VolumeService: thin volumes by name. A volume is a record, and a head layer that owns clusters.
 *
 * Names are unique over all pools. Changes, those of the snapshot layer too (`exclusively`), run one at a time; each is one durable batch. A
 * deleted volume is gone at once; its space comes back in the background.
 * Elsewhere: who they are (catalog.ts), the space they give back and take in the background (background.ts), snapshots and
 * clones (src/snapshot), serving (src/export).
 */
import { type Clock, isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { expectName } from '../base/names.ts';
import { formatSize } from '../base/size.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import { Background } from './background.ts';
import { describeVolume, type FoundVolume, VolumeCatalog } from './catalog.ts';
import { volumeKey, volumeToOpen } from './chain.ts';
import { Changes, type ScopeNow } from './changes.ts';
import type { FillWatch } from './filler.ts';
import { expectInside, readMap } from './map.ts';
import { isLeaving } from './moves.ts';
import { expectClass } from './placement.ts';
import {
  deleteFillingOps,
  deleteVolumeOp,
  fillingOf,
  fillingOp,
  layerOp,
  NewIds,
  volumeById,
  volumeOp,
} from './records.ts';
import { expectRoom } from './thick.ts';
import type {
  CreateVolumeOptions,
  DeleteVolumeOptions,
  VolumeInfo,
  VolumeMapExtent,
  VolumeRecord,
} from './types.ts';
import { expectVolumeSize } from './volume-size.ts';

/** A volume open in the data plane, for as long as its holder needs it. */
export interface OpenVolume {
  readonly plane: VolumePlane;
  readonly record: VolumeRecord;
  readonly pool: Pool;
  /** May be called twice. */
  close(): Promise<void>;
}

/** Says why a volume must stay as it is, or null. */
export type VolumeGuard = (name: string) => string | null;

/** What depends on a volume that is to be deleted. */
export interface Dependents {
  /** Deleted in the same batch. */
  readonly ops: readonly BatchOp[];
  /** What comes back besides the clusters of its head. */
  readonly freedBytes: number;
  /** Asked last of all, while nothing is opened or closed. @throws StorageError somebody has one of them open */
  readonly expectUnused: () => void;
}

const noDependents: Dependents = { ops: [], freedBytes: 0, expectUnused: () => {} };

/** @throws StorageError why it may not be deleted like that */
export type DependentsOf = (
  found: FoundVolume,
  options: DeleteVolumeOptions,
) => Promise<Dependents>;

export interface VolumeDependencies {
  readonly pools: Pools;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

const nothing = Promise.resolve();

type DryRun = { readonly dryRun?: boolean };

/** What `create` found or made. */
interface Creation {
  readonly found: FoundVolume;
  readonly isNew: boolean;
  readonly changed: boolean;
  /** Settles when the volume has the space it was promised. */
  readonly filled: Promise<void>;
}

export class VolumeService {
  readonly #catalog: VolumeCatalog;
  readonly #clock: Clock;
  readonly #emit: EmitEvent;
  readonly #changes = new Changes();
  readonly #guards: VolumeGuard[] = [];
  readonly #background = new Map<Pool, Background>();
  readonly #structureListeners: ((pool: Pool) => void)[] = [];
  #dependentsOf: DependentsOf = async () => noDependents;

  /** Deletions, creations and growths that were cut off go on at once. */
  constructor({ pools, clock, emit }: VolumeDependencies) {
    this.#catalog = new VolumeCatalog(pools);
    this.#clock = clock;
    this.#emit = emit;
    pools.onOpen((pool) => {
      if (!pool.isReadOnly) this.#background.set(pool, new Background(pool, emit));
    });
    pools.onClose(async (pool) => {
      await this.#background.get(pool)?.stop();
      this.#background.delete(pool);
    });
  }

  list(): VolumeInfo[] {
    return this.#catalog.list();
  }

  /** @throws StorageError volume/not-found; request/invalid a snapshot's name */
  get(name: string): VolumeInfo {
    return describeVolume(this.#catalog.find(name));
  }

  /**
   * Creates a volume that reads as zero; a thick one gets all of its space at once, or is not created.
   *
   * The same name and parameters again change nothing, but that a thick volume whose creation or growth was cut off gets the rest.
   *
   * @throws StorageError request/invalid, volume/exists, pool/not-found, pool/full, pool/failed, disk/io; op/state cancelled.
   *   Of service/stopping and pool/failed the next opening of the pool makes up by itself
   */
  async create(
    options: CreateVolumeOptions,
    report: ReportProgress = () => {},
    signal?: AbortSignal,
  ): Promise<{ volume: VolumeInfo; changed: boolean }> {
    const watch = { report, signal };
    const { name } = options;
    expectName('volume', name);
    const scope = () => ({ pools: this.#poolsFor(options), names: [name] });
    const made = await this.#changes.run(scope, () => this.#create(options, watch));
    const { found, isNew, changed, filled } = made;
    if (isNew) await this.#doneOrUndone(found, filled);
    else await filled;
    return { volume: describeVolume(found), changed };
  }

  /** @throws StorageError volume/not-found, volume/exists, volume/busy, request/invalid */
  async rename(name: string, to: string, options: DryRun = {}): Promise<VolumeInfo> {
    expectName('volume', to);
    return this.#changes.run(this.#named(name, [to]), async () => {
      const { pool, record } = this.#catalog.find(name);
      pool.expectWritable();
      const renamed = { pool, record: { ...record, name: to } };
      if (name === to) return describeVolume(renamed);
      this.#catalog.expectFree(to);
      this.#expectUnguarded(name, 'renamed');
      if (!options.dryRun) await pool.commit([volumeOp(renamed.record)]);
      return describeVolume(renamed);
    });
  }

  /**
   * Makes a volume larger, also while it is served; what is new reads as zero.
   *
   * A thick one gets the space of what is new at once; of service/stopping and pool/failed the next opening makes up by itself.
   *
   * @throws StorageError volume/not-found, volume/shrink, request/invalid, pool/full, pool/failed, disk/io;
   *   volume/busy it is being filled
   */
  async resize(name: string, sizeBytes: number, options: DryRun = {}): Promise<VolumeInfo> {
    expectVolumeSize(sizeBytes);
    const scope = this.#named(name);
    const made = await this.#changes.run(scope, () => this.#resize(name, sizeBytes, options));
    await made.filled;
    return describeVolume(made.found);
  }

  /**
   * Deletes a volume and everything in it; its name is free at once, its space comes back in the background.
   *
   * @throws StorageError volume/not-found, volume/busy it is exported or in use; volume/has-snapshots, volume/has-clones
   */
  delete(name: string, options: DeleteVolumeOptions = {}): Promise<{ freedBytes: number }> {
    return this.#changes.run(this.#named(name), async () => {
      const found = this.#catalog.find(name);
      const { pool, record } = found;
      pool.expectNotReadOnly();
      this.#expectUnguarded(name, 'deleted');
      if (!options.dryRun) await this.#background.get(pool)?.stopFinishing(record);
      expectClosed(found);
      const dependents = await this.#dependentsOf(found, options);
      const own = pool.clustersOf(record.headLayer) * pool.clusterBytes;
      if (!options.dryRun) await this.#delete(found, dependents);
      return { freedBytes: own + dependents.freedBytes };
    });
  }

  /** One change at a time in a pool: `work` sees no half of another, and none begins there before it has ended. */
  exclusively<T>(where: Pool | ScopeNow, work: () => Promise<T>): Promise<T> {
    const scope = typeof where === 'function' ? where : () => ({ pools: [where] });
    return this.#changes.run(scope, work);
  }

  /** The pools of volumes, for `exclusively`. @throws StorageError volume/not-found, request/invalid, when it is asked */
  poolsOf(volumes: readonly string[]): ScopeNow {
    return () => ({ pools: volumes.map((name) => this.#catalog.find(name).pool) });
  }

  /** Layers may have lost a name or a reader: what nobody needs any more is given back, and listeners are told. */
  structureChanged(pool: Pool): void {
    void this.#background.get(pool)?.reap();
    for (const listener of this.#structureListeners) listener(pool);
  }

  onStructure(listener: (pool: Pool) => void): void {
    this.#structureListeners.push(listener);
  }

  /** Resolves when layers that nobody reads have given back what they held. */
  async reaped(pool: Pool): Promise<void> {
    await this.#background.get(pool)?.reap();
  }

  setDependents(dependentsOf: DependentsOf): void {
    this.#dependentsOf = dependentsOf;
  }

  /** Where a volume is and what is on record of it. @throws StorageError volume/not-found, request/invalid */
  find(name: string): FoundVolume {
    return this.#catalog.find(name);
  }

  lookUp(name: string): FoundVolume | undefined {
    return this.#catalog.lookUp(name);
  }

  /**
   * A move that has written down that it switches pools now is this process's: its volumes are where they were until `end` is called.
   */
  switchesPools(move: string): { end(): void } {
    this.#catalog.switching.add(move);
    return { end: () => this.#catalog.switching.delete(move) };
  }

  /** @throws StorageError volume/exists */
  expectFree(name: string): void {
    this.#catalog.expectFree(name);
  }

  /** The pool named, or the only one. @throws StorageError pool/not-found, request/invalid */
  poolFor(name: string | undefined): Pool {
    return this.#catalog.poolFor(name);
  }

  /** @throws StorageError volume/busy it is getting its space, or is being received */
  expectFilled({ pool, record }: FoundVolume): void {
    expectNotReceiving(record);
    if (fillingOf(pool, record.id) === undefined) return;
    throw new StorageError('volume/busy', `volume ${record.name} is getting its space`);
  }

  /** Runs in one state, in order, covering the range. @throws StorageError volume/not-found, request/invalid */
  async map(name: string, offset: number, length: number): Promise<VolumeMapExtent[]> {
    const volume = await this.open(name);
    try {
      expectInside(volume.record, offset, length);
      return await readMap(volume.plane, offset, length);
    } finally {
      await volume.close();
    }
  }

  /** Opens a volume in the data plane, or joins others who have it open. @throws StorageError volume/not-found; volume/busy it is being received */
  async open(name: string): Promise<OpenVolume> {
    const found = this.#catalog.find(name);
    expectNotReceiving(found.record);
    return openVolume(found);
  }

  /** Asked before a volume is renamed or deleted. */
  addGuard(guard: VolumeGuard): void {
    this.#guards.push(guard);
  }

  /** See VolumeCatalog. */
  explainMissing(explain: (name: string) => StorageError | undefined): void {
    this.#catalog.explainMissing(explain);
  }

  /** Of a volume that is there, and of the names that it has and gets. */
  #named(name: string, others: readonly string[] = []): ScopeNow {
    return () => ({ pools: [this.#catalog.find(name).pool], names: [name, ...others] });
  }

  /** Where the volume is, or would be created; none when the creation is going to be refused. */
  #poolsFor({ name, pool }: CreateVolumeOptions): readonly Pool[] {
    const existing = this.#catalog.lookUp(name);
    if (existing !== undefined) return [existing.pool];
    try {
      return [this.#catalog.poolFor(pool)];
    } catch {
      return [];
    }
  }

  async #create(options: CreateVolumeOptions, watch: FillWatch): Promise<Creation> {
    expectVolumeSize(options.sizeBytes);
    const existing = this.#catalog.lookUp(options.name);
    if (existing !== undefined) {
      expectSame(existing, options);
      const changed = fillingOf(existing.pool, existing.record.id) !== undefined;
      const filled = options.dryRun ? nothing : this.#fill(existing, watch);
      return { found: existing, isNew: false, changed, filled };
    }
    const pool = this.#catalog.poolFor(options.pool);
    pool.expectWritable();
    if (options.class !== undefined) expectClass(pool, options.class);
    if (options.thick) expectRoom(pool, options.sizeBytes);
    const { record, ops } = newVolume(pool, options, isoTime(this.#clock));
    const found = { pool, record };
    if (options.dryRun) return { found, isNew: true, changed: true, filled: nothing };
    await pool.commit(ops);
    this.#tell('volume/created', record.name, `volume ${record.name} was created`);
    return { found, isNew: true, changed: true, filled: this.#fill(found, watch) };
  }

  async #resize(
    name: string,
    sizeBytes: number,
    { dryRun }: DryRun,
  ): Promise<Pick<Creation, 'found' | 'filled'>> {
    const { pool, record } = this.#catalog.find(name);
    pool.expectWritable();
    expectGrowth(record, sizeBytes);
    const grown = { ...record, sizeBytes };
    const found = { pool, record: grown };
    const addedBytes = sizeBytes - record.sizeBytes;
    if (record.thick) expectRoom(pool, addedBytes);
    if (this.#background.get(pool)?.isFilling(record)) {
      throw new StorageError('volume/busy', `volume ${name} is getting its space`);
    }
    if (dryRun || addedBytes === 0) return { found, filled: nothing };
    const filling = fillingOf(pool, record.id) ?? { fromBytes: record.sizeBytes };
    await pool.commit([volumeOp(grown), ...(record.thick ? [fillingOp(record.id, filling)] : [])]);
    pool.volumeResized(volumeKey(record.id), sizeBytes);
    return { found, filled: this.#fill(found, { report() {}, signal: undefined }) };
  }

  /** Begun within the change that asks for it, so that no other change comes between. */
  async #fill({ pool, record }: FoundVolume, watch: FillWatch): Promise<void> {
    await this.#background.get(pool)?.fill(record, watch);
  }

  /**
   * What the pool could not do for good is taken back; the rest is finished when the pool is opened next. A volume that somebody has opened meanwhile
   * stays, without a part of its space.
   */
  async #doneOrUndone(found: FoundVolume, filled: Promise<void>): Promise<void> {
    try {
      await filled;
    } catch (error) {
      if (!isPoolGone(error)) await this.#undo(found);
      throw error;
    }
  }

  async #undo(found: FoundVolume): Promise<void> {
    try {
      await this.exclusively(found.pool, () => this.#delete(found, noDependents));
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'volume/busy')) throw error;
    }
  }

  /** Whoever opens the volume at this moment would go on writing where others write soon. @throws StorageError volume/busy; what a dependent says */
  async #delete(found: FoundVolume, { ops, expectUnused }: Dependents): Promise<void> {
    const { pool, record } = found;
    const filling = deleteFillingOps(pool, record.id);
    await pool.holdOpenings(async () => {
      expectClosed(found);
      expectUnused();
      await pool.commit([deleteVolumeOp(record.id), ...filling, ...ops]);
    });
    this.structureChanged(pool);
    this.#tell('volume/deleted', record.name, `volume ${record.name} was deleted`);
  }

  #expectUnguarded(name: string, verb: string): void {
    for (const guard of this.#guards) {
      const reason = guard(name);
      if (reason !== null) {
        throw new StorageError('volume/busy', `volume ${name} cannot be ${verb}: ${reason}`);
      }
    }
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#emit({ kind, level: 'info', subject, message });
  }
}

/** The records of a volume to be created. */
function newVolume(
  pool: Pool,
  options: CreateVolumeOptions,
  createdAt: string,
): { record: VolumeRecord; ops: BatchOp[] } {
  const ids = new NewIds(pool);
  const record: VolumeRecord = {
    id: ids.volume(),
    name: options.name,
    sizeBytes: options.sizeBytes,
    headLayer: ids.layer(),
    snapshotMode: options.snapshotMode ?? 'row',
    thick: options.thick ?? false,
    ...(options.class === undefined ? {} : { placement: { class: options.class } }),
    ...(options.receiving === undefined ? {} : { receiving: options.receiving }),
    createdAt,
  };
  const ops = [ids.op(), layerOp({ id: record.headLayer, parent: null }), volumeOp(record)];
  if (record.thick) ops.push(fillingOp(record.id, { fromBytes: 0 }));
  return { record, ops };
}

/** @throws StorageError volume/busy somebody has it open */
function expectClosed({ pool, record: { id, name } }: FoundVolume): void {
  if (!pool.isVolumeOpen(volumeKey(id))) return;
  throw new StorageError('volume/busy', `volume ${name} is in use`);
}

/** Opens a volume in the data plane, or joins others who have it open. @throws StorageError volume/not-found it was deleted meanwhile */
export async function openVolume({ pool, record }: FoundVolume): Promise<OpenVolume> {
  const { id } = record;
  const plane = await pool.openVolume(volumeToOpen(pool, record));
  if (isLeaving(pool, id)) {
    await pool.closeVolume(volumeKey(id));
    const message = `volume ${record.name} went to another pool meanwhile`;
    throw new StorageError('volume/busy', message, { actions: ['repeat'] });
  }
  let closed: Promise<void> | undefined;
  return {
    plane,
    pool,
    get record() {
      return volumeById(pool, id) ?? record;
    },
    close: () => {
      closed ??= pool.closeVolume(volumeKey(id));
      return closed;
    },
  };
}

/** What is here of it is not whole. @throws StorageError volume/busy */
function expectNotReceiving({ name, receiving }: VolumeRecord): void {
  if (receiving === undefined) return;
  throw new StorageError('volume/busy', `volume ${name} is being received`, {
    actions: [
      'receive its stream again: what has come is kept',
      `varve volume delete ${name}   (gives up what has come)`,
    ],
  });
}

function isPoolGone(error: unknown): boolean {
  const codes: string[] = ['service/stopping', 'pool/failed'];
  return error instanceof StorageError && codes.includes(error.code);
}

function expectSame({ pool, record }: FoundVolume, options: CreateVolumeOptions): void {
  const same =
    record.sizeBytes === options.sizeBytes &&
    (options.pool === undefined || options.pool === pool.name) &&
    record.snapshotMode === (options.snapshotMode ?? 'row') &&
    record.thick === (options.thick ?? false) &&
    record.placement?.class === options.class;
  if (same) return;
  throw new StorageError(
    'volume/exists',
    `volume ${record.name} exists with other parameters: ${formatSize(record.sizeBytes)} in pool ${pool.name}`,
    { actions: [`varve volume show ${record.name}`] },
  );
}

function expectGrowth(record: VolumeRecord, sizeBytes: number): void {
  if (sizeBytes >= record.sizeBytes) return;
  throw new StorageError(
    'volume/shrink',
    `volume ${record.name} has ${formatSize(record.sizeBytes)} and does not shrink to ${formatSize(sizeBytes)}`,
  );
}
