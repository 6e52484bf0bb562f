/**
 * VolumeService: thin volumes by name. A volume is a record, and a head layer that owns clusters.
 *
 *   (created) → online → deleting → (gone)      its name is free as soon as it is deleting
 *
 * Names are unique over all pools. Changes run one at a time; each is one durable batch.
 * Elsewhere: releasing a deleted volume's clusters (reaper.ts), serving (src/export).
 */
import { type Clock, isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { Mutex } from '../base/mutex.ts';
import { expectName } from '../base/names.ts';
import { formatSize } from '../base/size.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import { Reaper } from './reaper.ts';
import { layerOp, newIds, volumeOp, volumeRecords } from './records.ts';
import { expectRoom, provision } from './thick.ts';
import type { CreateVolumeOptions, VolumeInfo, VolumeMapExtent, VolumeRecord } from './types.ts';
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

export interface VolumeDependencies {
  readonly pools: Pools;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

interface Found {
  readonly pool: Pool;
  readonly record: VolumeRecord;
}

type DryRun = { readonly dryRun?: boolean };

export class VolumeService {
  readonly #pools: Pools;
  readonly #clock: Clock;
  readonly #emit: EmitEvent;
  readonly #changing = new Mutex();
  readonly #guards: VolumeGuard[] = [];
  readonly #reapers = new Map<Pool, Reaper>();

  /** Deletions that were cut off go on at once. */
  constructor({ pools, clock, emit }: VolumeDependencies) {
    this.#pools = pools;
    this.#clock = clock;
    this.#emit = emit;
    pools.onOpen((pool) => this.#startReaper(pool));
    pools.onClose((pool) => this.#stopReaper(pool));
  }

  list(): VolumeInfo[] {
    const all = this.#pools
      .all()
      .flatMap((pool) => online(pool).map((record) => ({ pool, record })));
    return all.map(describe).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws StorageError volume/not-found; request/invalid a snapshot's name */
  get(name: string): VolumeInfo {
    return describe(this.#find(name));
  }

  /**
   * Creates a volume that reads as zero; a thick one gets all of its space at once, or is not created.
   *
   * The same name and parameters again change nothing.
   *
   * @throws StorageError request/invalid, volume/exists, pool/not-found, pool/full, pool/failed; op/state cancelled
   */
  async create(
    options: CreateVolumeOptions,
    report: ReportProgress = () => {},
    signal?: AbortSignal,
  ): Promise<{ volume: VolumeInfo; changed: boolean }> {
    const { found, changed } = await this.#changing.run(() => this.#create(options));
    if (changed && found.record.thick && !options.dryRun) {
      await this.#fillOrUndo(found, report, signal);
    }
    return { volume: describe(found), changed };
  }

  /** @throws StorageError volume/not-found, volume/exists, volume/busy, request/invalid */
  rename(name: string, to: string, options: DryRun = {}): Promise<VolumeInfo> {
    return this.#changing.run(async () => {
      expectName('volume', to);
      const { pool, record } = this.#find(name);
      const renamed = { pool, record: { ...record, name: to } };
      if (name === to) return describe(renamed);
      this.#expectFree(to);
      this.#expectUnguarded(name, 'renamed');
      if (!options.dryRun) await pool.commit([volumeOp(renamed.record)]);
      return describe(renamed);
    });
  }

  /**
   * Makes a volume larger, also while it is served; what is new reads as zero.
   *
   * @throws StorageError volume/not-found, volume/shrink, request/invalid, pool/full
   */
  resize(name: string, sizeBytes: number, options: DryRun = {}): Promise<VolumeInfo> {
    return this.#changing.run(async () => {
      expectVolumeSize(sizeBytes);
      const { pool, record } = this.#find(name);
      expectGrowth(record, sizeBytes);
      const grown = { pool, record: { ...record, sizeBytes } };
      const addedBytes = sizeBytes - record.sizeBytes;
      if (record.thick) expectRoom(pool, addedBytes);
      if (options.dryRun || addedBytes === 0) return describe(grown);
      await pool.commit([volumeOp(grown.record)]);
      pool.volumeResized(record.id, sizeBytes);
      if (record.thick) await this.#fill(grown, record.sizeBytes, () => {});
      return describe(grown);
    });
  }

  /**
   * Deletes a volume and everything in it; its name is free at once, its space comes back in the background.
   *
   * @throws StorageError volume/not-found, volume/busy it is exported or in use
   */
  delete(name: string, options: DryRun = {}): Promise<{ freedBytes: number }> {
    return this.#changing.run(async () => {
      const found = this.#find(name);
      this.#expectUnguarded(name, 'deleted');
      const { pool, record } = found;
      if (pool.isVolumeOpen(record.id)) {
        throw new StorageError('volume/busy', `volume ${name} is in use`);
      }
      const freedBytes = describe(found).exclusiveBytes;
      if (!options.dryRun) await this.#beginDeletion(found);
      return { freedBytes };
    });
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

  /** Opens a volume in the data plane, or joins others who have it open. @throws StorageError volume/not-found */
  async open(name: string): Promise<OpenVolume> {
    const { pool, record } = this.#find(name);
    const { id, headLayer: layer, sizeBytes } = record;
    const plane = await pool.openVolume({ id, layer, sizeBytes });
    let closed: Promise<void> | undefined;
    return {
      plane,
      pool,
      get record() {
        return pool.record<VolumeRecord>(`volume/${id}`) ?? record;
      },
      close: () => {
        closed ??= pool.closeVolume(id);
        return closed;
      },
    };
  }

  /** Asked before a volume is renamed or deleted. */
  addGuard(guard: VolumeGuard): void {
    this.#guards.push(guard);
  }

  async #create(options: CreateVolumeOptions): Promise<{ found: Found; changed: boolean }> {
    expectName('volume', options.name);
    expectVolumeSize(options.sizeBytes);
    const existing = this.#lookUp(options.name);
    if (existing !== undefined) {
      expectSame(existing, options);
      return { found: existing, changed: false };
    }
    const pool = this.#poolFor(options.pool);
    pool.expectOnline();
    if (options.thick) expectRoom(pool, options.sizeBytes);
    const ids = newIds(pool);
    const record: VolumeRecord = {
      id: ids.volume,
      name: options.name,
      sizeBytes: options.sizeBytes,
      headLayer: ids.layer,
      snapshotMode: options.snapshotMode ?? 'row',
      thick: options.thick ?? false,
      createdAt: isoTime(this.#clock),
      state: 'online',
    };
    if (!options.dryRun) {
      await pool.commit([ids.op, layerOp({ id: ids.layer, parent: null }), volumeOp(record)]);
      this.#tell('volume/created', record.name, `volume ${record.name} was created`);
    }
    return { found: { pool, record }, changed: true };
  }

  async #fillOrUndo(found: Found, report: ReportProgress, signal?: AbortSignal): Promise<void> {
    try {
      await this.#fill(found, 0, report, signal);
    } catch (error) {
      await this.#changing.run(() => this.#beginDeletion(found));
      throw error;
    }
  }

  async #fill(
    { pool, record }: Found,
    from: number,
    report: ReportProgress,
    signal?: AbortSignal,
  ): Promise<void> {
    const volume = await this.open(record.name);
    try {
      await provision(pool, volume.plane, { from, to: record.sizeBytes }, report, signal);
    } finally {
      await volume.close();
    }
  }

  async #beginDeletion({ pool, record }: Found): Promise<void> {
    const deleting: VolumeRecord = { ...record, state: 'deleting' };
    await pool.commit([volumeOp(deleting)]);
    this.#reapers.get(pool)?.add(deleting);
    this.#tell('volume/deleted', record.name, `volume ${record.name} was deleted`);
  }

  #startReaper(pool: Pool): void {
    const reaper = new Reaper(pool, ({ name }, error) => {
      const why = error instanceof Error ? error.message : String(error);
      const message = `the space of deleted volume ${name} is not freed yet: ${why}`;
      this.#emit({ kind: 'volume/not-freed', level: 'error', subject: name, message });
    });
    this.#reapers.set(pool, reaper);
    for (const record of volumeRecords(pool)) {
      if (record.state === 'deleting') reaper.add(record);
    }
  }

  async #stopReaper(pool: Pool): Promise<void> {
    await this.#reapers.get(pool)?.stop();
    this.#reapers.delete(pool);
  }

  #lookUp(name: string): Found | undefined {
    for (const pool of this.#pools.all()) {
      const record = online(pool).find((volume) => volume.name === name);
      if (record !== undefined) return { pool, record };
    }
    return undefined;
  }

  #find(name: string): Found {
    if (name.includes('@')) {
      throw new StorageError('request/invalid', `"${name}" names a snapshot, not a volume`);
    }
    const found = this.#lookUp(name);
    if (found !== undefined) return found;
    throw new StorageError('volume/not-found', `there is no volume ${name}`, {
      actions: ['varve volume list'],
    });
  }

  #expectFree(name: string): void {
    if (this.#lookUp(name) === undefined) return;
    throw new StorageError('volume/exists', `volume ${name} exists`);
  }

  #expectUnguarded(name: string, verb: string): void {
    for (const guard of this.#guards) {
      const reason = guard(name);
      if (reason !== null) {
        throw new StorageError('volume/busy', `volume ${name} cannot be ${verb}: ${reason}`);
      }
    }
  }

  #poolFor(name: string | undefined): Pool {
    if (name !== undefined) return this.#pools.get(name);
    const all = this.#pools.list();
    const [only] = all;
    if (only === undefined) {
      throw new StorageError('pool/not-found', 'there is no pool yet', {
        actions: ['varve pool create NAME DISK-URI'],
      });
    }
    if (all.length > 1) {
      const names = all.map((pool) => pool.name).join(', ');
      throw new StorageError('request/invalid', `which pool? There are ${names}`);
    }
    return this.#pools.get(only.name);
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#emit({ kind, level: 'info', subject, message });
  }
}

function online(pool: Pool): VolumeRecord[] {
  return volumeRecords(pool).filter(({ state }) => state === 'online');
}

function describe({ pool, record }: Found): VolumeInfo {
  return {
    id: record.id,
    name: record.name,
    pool: pool.name,
    sizeBytes: record.sizeBytes,
    exclusiveBytes: pool.clustersOf(record.headLayer) * pool.clusterBytes,
    sharedBytes: 0,
    snapshotMode: record.snapshotMode,
    thick: record.thick,
    createdAt: record.createdAt,
  };
}

function expectSame({ pool, record }: Found, options: CreateVolumeOptions): void {
  const same =
    record.sizeBytes === options.sizeBytes &&
    (options.pool === undefined || options.pool === pool.name) &&
    record.snapshotMode === (options.snapshotMode ?? 'row') &&
    record.thick === (options.thick ?? false);
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

function expectInside(record: VolumeRecord, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length > 0 && offset + length <= record.sizeBytes) return;
  throw new StorageError(
    'request/invalid',
    `the range ${offset}+${length} is not inside volume ${record.name} of ${record.sizeBytes} bytes`,
  );
}

async function readMap(
  plane: VolumePlane,
  offset: number,
  length: number,
): Promise<VolumeMapExtent[]> {
  const extents: VolumeMapExtent[] = [];
  const end = offset + length;
  let at = offset;
  while (at < end) {
    for (const { length: bytes, hole, zero } of await plane.map(at, end - at)) {
      appendExtent(extents, { offset: at, length: bytes, hole, zero });
      at += bytes;
    }
  }
  return extents;
}

function appendExtent(extents: VolumeMapExtent[], next: VolumeMapExtent): void {
  const last = extents.at(-1);
  const same = last?.hole === next.hole && last.zero === next.zero;
  if (same) extents[extents.length - 1] = { ...last, length: last.length + next.length };
  else extents.push(next);
}
