/**
 * SnapshotService: names on frozen layers, and what is made of them.
 *
 *   snapshot   the head is frozen and named, the volume has an empty head above it      constant time
 *   clone      a new volume whose head reads through the snapshot's layer                constant time
 *   revert     the volume has a new head on the snapshot's layer, the old one is named
 *   delete     the name goes; the janitor makes one of two layers, the reaper frees
 *
 * Each is one batch, between other changes of structure: after a crash it happened or it did not. Exactly one head is above a volume's frozen
 * layers at any time, and it alone takes writes.
 * Elsewhere: the moment in which writes are held (freeze.ts), merging (janitor.ts), schedules (scheduler.ts), bytes (flatten.ts, copy-on-write.ts).
 */
import { type Clock, isoTime } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import { expectName } from '../base/names.ts';
import { formatSize } from '../base/size.ts';
import { leavesPerRegion } from '../base/units.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { chainOf, volumeKey, volumeToOpen } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { deleteBookmarkOp, deleteVolumeOp, layerOp, NewIds, volumeOp } from '../volume/records.ts';
import { abortReason } from '../volume/thick.ts';
import type { DeleteVolumeOptions, VolumeRecord } from '../volume/types.ts';
import {
  type Dependents,
  type OpenVolume,
  openVolume,
  type VolumeService,
} from '../volume/volume-service.ts';
import { clonesOf, type Found, type FoundSnapshot, SnapshotCatalog } from './catalog.ts';
import { CopyOnWrite } from './copy-on-write.ts';
import { claimedExtents, layersBetween, regionsOf } from './diff.ts';
import { flattenLeaf, inheritedBytes } from './flatten.ts';
import { exchangeHeads } from './freeze.ts';
import { withFrozenGuest } from './guest-agent.ts';
import { Janitor } from './janitor.ts';
import {
  expectDescription,
  expectLayersLeft,
  snapshotsPerVolumeMax,
  volumesPerGroupMax,
} from './limits.ts';
import {
  bookmarkOp,
  bookmarkRecords,
  deleteScheduleOp,
  deleteSnapshotOp,
  scheduleOf,
  snapshotOp,
  snapshotRecords,
} from './records.ts';
import { Scheduler } from './scheduler.ts';
import { freedByDeleting } from './space.ts';
import type {
  ChangedExtent,
  CreatedSnapshots,
  CreateSnapshotOptions,
  DeleteSnapshotOptions,
  RevertOptions,
  RevertResult,
  ScheduleInfo,
  ScheduleOptions,
  SchedulePlan,
  SnapshotDiff,
  SnapshotInfo,
  SnapshotName,
  SnapshotRecord,
  SnapshotSpace,
  Snapshots,
} from './types.ts';

export interface SnapshotDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

/** Who is connected to a volume; told by the export layer. */
export interface Connections {
  clientsOf(volume: string): number;
  /** Closes their connections; they may come again. */
  disconnect(volume: string): Promise<number>;
}

/** Says why a snapshot must stay, or null. */
export type SnapshotGuard = (pool: string, snapshotId: number) => string | null;

type DryRun = { readonly dryRun?: boolean };

const quiesceTimeoutSeconds = 10;

interface Taken {
  readonly pool: Pool;
  readonly records: readonly SnapshotRecord[];
  readonly pauseSeconds: number;
}

interface Background {
  readonly janitor: Janitor;
}

export class SnapshotService implements Snapshots {
  readonly #volumes: VolumeService;
  readonly #clock: Clock;
  readonly #emit: EmitEvent;
  readonly #catalog: SnapshotCatalog;
  readonly #scheduler: Scheduler;
  readonly #background = new Map<Pool, Background>();
  readonly #guards: SnapshotGuard[] = [];
  #connections: Connections = { clientsOf: () => 0, disconnect: async () => 0 };

  /** Merges that were cut off go on at once; schedules run from now on. */
  constructor({ pools, volumes, clock, emit }: SnapshotDependencies) {
    this.#volumes = volumes;
    this.#clock = clock;
    this.#emit = emit;
    this.#catalog = new SnapshotCatalog(pools, volumes);
    this.#scheduler = new Scheduler({ pools, clock, emit, snapshots: this });
    volumes.setDependents((found, options) => this.#dependentsOf(found, options));
    volumes.onStructure((pool) => void this.#background.get(pool)?.janitor.wake());
    pools.onOpen((pool) => this.#opened(pool));
    pools.onClose(async (pool) => {
      await this.#background.get(pool)?.janitor.stop();
      this.#background.delete(pool);
    });
  }

  /** Schedules run no more. */
  async close(): Promise<void> {
    await this.#scheduler.close();
  }

  /** Asked before a snapshot is deleted. */
  addGuard(guard: SnapshotGuard): void {
    this.#guards.push(guard);
  }

  setConnections(connections: Connections): void {
    this.#connections = connections;
  }

  /** Resolves when the pool's layers are as few as their names allow, and what was freed is released. */
  async settled(pool: Pool): Promise<void> {
    await this.#volumes.reaped(pool);
    await this.#background.get(pool)?.janitor.wake();
    await this.#volumes.reaped(pool);
  }

  list(volume?: string): SnapshotInfo[] {
    return this.#catalog.list(volume);
  }

  get(volume: string, name: string): SnapshotInfo {
    return this.#catalog.describe(volume, name);
  }

  byId(pool: string, id: number): SnapshotInfo {
    const { volume, record } = this.#catalog.byId(pool, id);
    return this.#catalog.describe(volume.name, record.name);
  }

  attachment(volume: string, name: string): string {
    const { attachment } = this.#catalog.findSnapshot(volume, name).record;
    if (attachment !== undefined) return attachment;
    throw new StorageError('snapshot/not-found', `${volume}@${name} has no attachment`);
  }

  async space(volume: string, name: string): Promise<SnapshotSpace> {
    const { pool, kind, record } = this.#catalog.find(volume, name);
    const snapshots = new Set(kind === 'snapshot' ? [record.id] : []);
    const exclusiveBytes = await freedByDeleting(pool, { volumes: new Set(), snapshots });
    const chain = kind === 'snapshot' ? chainOf(pool, record.layer) : [];
    const clusters = chain.reduce((sum, layer) => sum + pool.clustersOf(layer), 0);
    return {
      exclusiveBytes,
      sharedBytes: Math.max(0, clusters * pool.clusterBytes - exclusiveBytes),
    };
  }

  /**
   * Freezes the heads of volumes at one point in time: every write answered before is in, none that comes after.
   *
   * @throws StorageError request/invalid, volume/not-found, volume/busy, snapshot/exists, snapshot/limit, snapshot/quiesce, pool/failed:
   *   none is made then
   */
  async create(options: CreateSnapshotOptions): Promise<CreatedSnapshots> {
    this.#expectCreatable(options);
    if (options.dryRun) return { snapshots: [], changed: true, pauseSeconds: 0 };
    const { quiesceSocket: socket } = options;
    const timeoutMs = 1000 * (options.quiesceTimeoutSeconds ?? quiesceTimeoutSeconds);
    const take = () => this.#volumes.exclusively(() => this.#take(options));
    const { records, pool, pauseSeconds } =
      socket === undefined ? await take() : await this.#quiesced({ socket, timeoutMs }, take);
    this.#volumes.structureChanged(pool);
    const snapshots = records.map(({ id }) => this.byId(pool.name, id));
    for (const { volume, name } of snapshots) {
      this.#tell('snapshot/created', `${volume}@${name}`, `snapshot ${volume}@${name} was taken`);
    }
    return { snapshots, changed: true, pauseSeconds };
  }

  /** @throws StorageError volume/not-found, snapshot/not-found, snapshot/exists, request/invalid */
  rename(volume: string, name: string, to: string, { dryRun }: DryRun = {}): Promise<SnapshotInfo> {
    return this.#volumes.exclusively(async () => {
      expectName('snapshot', to);
      const found = this.#catalog.find(volume, name);
      if (name === to) return this.get(volume, name);
      this.#catalog.expectFree({ pool: found.pool, record: found.volume }, to);
      if (dryRun) return { ...this.get(volume, name), name: to };
      await found.pool.commit([renamedOp(found, to)]);
      return this.get(volume, to);
    });
  }

  /**
   * Deletes names; those of one pool together. Space comes back in the background, without any data being copied.
   *
   * @throws StorageError volume/not-found, snapshot/not-found, snapshot/busy it is exported, volume/has-clones; none is deleted then
   */
  delete(
    names: readonly SnapshotName[],
    options: DeleteSnapshotOptions = {},
  ): Promise<{ freedBytes: number }> {
    return this.#volumes.exclusively(async () => {
      const found = names.map(({ volume, snapshot }) => this.#catalog.find(volume, snapshot));
      for (const each of found) this.#expectDeletable(each, options);
      let freedBytes = 0;
      for (const pool of new Set(found.map((each) => each.pool))) {
        const here = found.filter((each) => each.pool === pool);
        const snapshots = new Set(here.filter(isSnapshot).map(({ record }) => record.id));
        freedBytes += await freedByDeleting(pool, { volumes: new Set(), snapshots });
        if (!options.dryRun) await this.#delete(pool, here, options.bookmark ?? false);
      }
      return { freedBytes };
    });
  }

  /** @throws StorageError volume/not-found, snapshot/not-found */
  async diff(volume: string, from: string, to?: string): Promise<SnapshotDiff> {
    const { pool } = this.#catalog.find(volume, from);
    for (;;) {
      // Every write answered so far is in the map then.
      if (to === undefined) await pool.flush();
      const before = this.#wayBetween(volume, from, to);
      const found = await claimedExtents(pool, before.layers, before.sizeBytes);
      // What a layer claims moves to another when snapshots come and go meanwhile: looked at again then.
      const after = this.#wayBetween(volume, from, to);
      if (before.layers.join() === after.layers.join()) return found;
    }
  }

  /** The layers from one point in time to another, as they are now. */
  #wayBetween(volume: string, from: string, to: string | undefined) {
    const old = this.#catalog.find(volume, from);
    const { layer, sizeBytes } =
      to === undefined
        ? { layer: old.volume.headLayer, sizeBytes: old.volume.sizeBytes }
        : this.#catalog.find(volume, to).record;
    const layers = layersBetween(LayerTree.of(old.pool), old.record.layer, layer);
    return { layers, sizeBytes };
  }

  /** What changed in a snapshot since another of its volume, or a bookmark. */
  async changedSince(
    pool: string,
    snapshotId: number,
    since: string,
  ): Promise<readonly ChangedExtent[]> {
    const { volume, record } = this.#catalog.byId(pool, snapshotId);
    return (await this.diff(volume.name, since, record.name)).extents;
  }

  /**
   * The volume becomes what it was; its size stays. What it is now is kept as a snapshot, unless it is to be discarded.
   *
   * Clients that are connected would see their disk change under them: refused, or with `force` their connections are closed first.
   *
   * @throws StorageError volume/not-found, snapshot/not-found, export/busy, snapshot/limit, pool/failed
   */
  async revert(volume: string, name: string, options: RevertOptions = {}): Promise<RevertResult> {
    this.#catalog.findSnapshot(volume, name);
    this.#expectNoClients(volume, options);
    if (options.force && !options.dryRun) await this.#connections.disconnect(volume);
    return this.#volumes.exclusively(() => this.#revert(volume, name, options));
  }

  /**
   * A new volume that reads through the snapshot; the same again changes nothing.
   *
   * @throws StorageError snapshot/not-found, volume/exists, request/invalid, snapshot/limit, pool/failed
   */
  clone(
    source: SnapshotName,
    name: string,
    { dryRun }: DryRun = {},
  ): Promise<{ changed: boolean }> {
    return this.#volumes.exclusively(async () => {
      expectName('volume', name);
      const { pool, record, volume } = this.#catalog.findSnapshot(source.volume, source.snapshot);
      const known = this.#volumes.lookUp(name);
      if (known !== undefined) {
        if (known.pool === pool && known.record.clonedFrom === record.id) return { changed: false };
        throw new StorageError('volume/exists', `volume ${name} exists`, {
          actions: [`varve volume show ${name}`],
        });
      }
      expectLayersLeft(pool, 1);
      if (dryRun) return { changed: true };
      await this.#addHead(pool, record, { name, snapshotMode: volume.snapshotMode });
      this.#tell(
        'volume/cloned',
        name,
        `volume ${name} was cloned from ${source.volume}@${source.snapshot}`,
      );
      return { changed: true };
    });
  }

  inheritedBytes(volume: string): Promise<number> {
    const { pool, record } = this.#volumes.find(volume);
    return inheritedBytes(pool, record.headLayer);
  }

  async flatten(
    volume: string,
    report: ReportProgress,
    signal: AbortSignal,
  ): Promise<{ changed: boolean }> {
    const found = this.#volumes.find(volume);
    const { pool, record } = found;
    if (chainOf(pool, record.headLayer).length === 1) return { changed: false };
    const total = await inheritedBytes(pool, record.headLayer);
    const plane = await pool.openVolume(volumeToOpen(pool, record));
    try {
      let done = 0;
      const tell = (bytes: number) => {
        done += bytes;
        report(Math.min(done, total), total);
      };
      // Guests write meanwhile, and snapshots are taken: until nothing is inherited any more.
      while (!(await this.#flattenOnce(found, plane, tell, signal)));
    } finally {
      await pool.closeVolume(volumeKey(record.id));
    }
    this.#volumes.structureChanged(pool);
    this.#tell('volume/flattened', volume, `volume ${volume} needs no parent any more`);
    return { changed: true };
  }

  /** @throws StorageError volume/not-found, pool/failed */
  setMode(
    volume: string,
    snapshotMode: 'row' | 'cow',
    { dryRun }: DryRun = {},
  ): Promise<{ changed: boolean }> {
    return this.#volumes.exclusively(async () => {
      const { pool, record } = this.#volumes.find(volume);
      const changed = record.snapshotMode !== snapshotMode;
      if (dryRun || !changed) return { changed };
      await pool.commit([volumeOp({ ...record, snapshotMode })]);
      pool.planeOf(volumeKey(record.id))?.setCopyOnWrite(snapshotMode === 'cow');
      return { changed };
    });
  }

  /** Opens a snapshot in the data plane, to be read. @throws StorageError snapshot/not-found */
  async open(pool: string, snapshotId: number): Promise<Pick<OpenVolume, 'plane' | 'close'>> {
    const { pool: open, record } = this.#catalog.byId(pool, snapshotId);
    const key = `s${snapshotId}`;
    const layer = () => open.record<SnapshotRecord>(`snapshot/${snapshotId}`)?.layer;
    const plane = await open.openVolume({
      key,
      chain: () => chainOf(open, layer()),
      writable: false,
      copyOnWrite: false,
      sizeBytes: record.sizeBytes,
    });
    let closed: Promise<void> | undefined;
    return {
      plane,
      close: () => {
        closed ??= open.closeVolume(key);
        return closed;
      },
    };
  }

  /** A head of its own on a snapshot: what is written to it is gone when it is closed, or the service has died. */
  async openScratch(
    pool: string,
    snapshotId: number,
  ): Promise<Pick<OpenVolume, 'plane' | 'close'>> {
    const { pool: open, record } = this.#catalog.byId(pool, snapshotId);
    const scratch = await this.#volumes.exclusively(async () => {
      expectLayersLeft(open, 1);
      return this.#addHead(open, record, { name: '', snapshotMode: 'row', scratch: true });
    });
    const opened = await openVolume({ pool: open, record: scratch });
    return {
      plane: opened.plane,
      close: async () => {
        await opened.close();
        await open.commit([deleteVolumeOp(scratch.id)]);
        this.#volumes.structureChanged(open);
      },
    };
  }

  schedule(options: ScheduleOptions): Promise<SchedulePlan> {
    return this.#scheduler.set(this.#volumes.find(options.volume), options);
  }

  schedules(): ScheduleInfo[] {
    return this.#scheduler.list();
  }

  removeSchedule(volume: string, options: DryRun = {}): Promise<void> {
    return this.#scheduler.remove(this.#volumes.find(volume), options);
  }

  #opened(pool: Pool): void {
    new CopyOnWrite(pool, this.#volumes);
    const onError = (error: unknown) => {
      const message = `layers of pool ${pool.name} cannot be merged: ${messageOf(error)}`;
      this.#emit({ kind: 'pool/not-merged', level: 'error', subject: pool.name, message });
    };
    const janitor = new Janitor({ pool, volumes: this.#volumes, clock: this.#clock, onError });
    this.#background.set(pool, { janitor });
    void this.#dropScratch(pool).catch(onError);
  }

  /** Of a service that died. */
  async #dropScratch(pool: Pool): Promise<void> {
    const left = pool.records<VolumeRecord>('volume/').filter(({ scratch }) => scratch === true);
    if (left.length === 0) return;
    await pool.commit(left.map(({ id }) => deleteVolumeOp(id)));
    this.#volumes.structureChanged(pool);
  }

  #expectCreatable(options: CreateSnapshotOptions): { pool: Pool; volumes: VolumeRecord[] } {
    const { names } = options;
    expectDescription(options);
    if (names.length === 0) throw new StorageError('request/invalid', 'no snapshot was named');
    if (names.length > volumesPerGroupMax) {
      throw new StorageError(
        'request/invalid',
        `${volumesPerGroupMax} volumes at most are snapshotted together`,
      );
    }
    const found = names.map(({ volume, snapshot }) => {
      expectName('snapshot', snapshot);
      const each = this.#volumes.find(volume);
      each.pool.expectOnline();
      this.#volumes.expectFilled(each);
      this.#catalog.expectFree(each, snapshot);
      this.#expectSnapshotsLeft(each);
      return each;
    });
    const [first] = found as [FoundVolume];
    if (new Set(found.map(({ record }) => record.id)).size < found.length) {
      throw new StorageError('request/invalid', 'a group has one snapshot of each volume');
    }
    if (found.some(({ pool }) => pool !== first.pool)) {
      throw new StorageError(
        'request/invalid',
        'volumes of different pools have no one point in time: a batch is of one pool',
        { actions: ['take the snapshots of each pool for themselves'] },
      );
    }
    expectLayersLeft(first.pool, found.length);
    return { pool: first.pool, volumes: found.map(({ record }) => record) };
  }

  /** What was taken of a guest that was not frozen all the time is not what was asked for: it goes again. */
  async #quiesced(agent: { socket: string; timeoutMs: number }, take: () => Promise<Taken>) {
    let taken: Taken | undefined;
    try {
      return await withFrozenGuest(agent, async () => {
        taken = await take();
        return taken;
      });
    } catch (error) {
      if (taken !== undefined) {
        await taken.pool.commit(taken.records.map(({ id }) => deleteSnapshotOp(id)));
        this.#volumes.structureChanged(taken.pool);
      }
      throw error;
    }
  }

  #expectSnapshotsLeft({ pool, record }: FoundVolume): void {
    const count = snapshotRecords(pool).filter(({ volume }) => volume === record.id).length;
    if (count < snapshotsPerVolumeMax) return;
    throw new StorageError(
      'snapshot/limit',
      `volume ${record.name} has ${count} snapshots, more are not kept`,
    );
  }

  /** Within the turn everything is looked at once more: a guest's agent may have taken its time. */
  async #take(options: CreateSnapshotOptions): Promise<Taken> {
    const { pool, volumes } = this.#expectCreatable(options);
    const ids = new NewIds(pool);
    const { note, labels, attachment, names, quiesceSocket } = options;
    const group = names.length > 1 ? newUuid() : undefined;
    const records = volumes.map(
      (volume, at): SnapshotRecord => ({
        id: ids.snapshot(),
        volume: volume.id,
        name: (names[at] as SnapshotName).snapshot,
        layer: volume.headLayer,
        sizeBytes: volume.sizeBytes,
        createdAt: isoTime(this.#clock),
        consistency: quiesceSocket === undefined ? 'crash' : 'quiesced',
        ...(note === undefined ? {} : { note }),
        ...(labels === undefined ? {} : { labels }),
        ...(attachment === undefined ? {} : { attachment }),
        ...(group === undefined ? {} : { group }),
        ...(options.origin === undefined ? {} : { origin: options.origin }),
      }),
    );
    const heads = volumes.map((volume) => ({ volume, head: ids.layer(), inherit: true }));
    const ops = [
      ids.op(),
      ...heads.flatMap(({ volume, head }) => [
        layerOp({ id: head, parent: volume.headLayer }),
        volumeOp({ ...volume, headLayer: head }),
      ]),
      ...records.map(snapshotOp),
    ];
    expectBatch(pool, ops);
    const pauseSeconds = await exchangeHeads(pool, heads, ops);
    return { records, pool, pauseSeconds };
  }

  #expectDeletable(found: Found, { keepClones }: DeleteSnapshotOptions): void {
    if (found.kind === 'bookmark') return;
    const { pool, volume, record } = found;
    const name = `${volume.name}@${record.name}`;
    for (const guard of this.#guards) {
      const reason = guard(pool.name, record.id);
      if (reason !== null) {
        throw new StorageError('snapshot/busy', `snapshot ${name} cannot be deleted: ${reason}`);
      }
    }
    const clones = clonesOf(pool, LayerTree.of(pool), record);
    if (keepClones || clones.length === 0) return;
    throw new StorageError(
      'volume/has-clones',
      `cannot delete snapshot ${name}: ${counted(clones.length)} through it and --keep-clones was not given`,
      {
        actions: [
          `varve snapshot delete ${name} --keep-clones   (its data stays until the last clone is gone)`,
        ],
      },
    );
  }

  async #delete(pool: Pool, found: readonly Found[], bookmark: boolean): Promise<void> {
    const ids = new NewIds(pool);
    const ops = found.flatMap((each): BatchOp[] => {
      if (each.kind === 'bookmark') return [deleteBookmarkOp(each.record.id)];
      const gone = deleteSnapshotOp(each.record.id);
      if (!bookmark) return [gone];
      const { volume, name, layer, sizeBytes, createdAt } = each.record;
      const mark = { id: ids.snapshot(), volume, name, layer, sizeBytes, createdAt };
      return [gone, bookmarkOp(mark)];
    });
    await pool.commit([...ops, ...(bookmark ? [ids.op()] : [])]);
    this.#volumes.structureChanged(pool);
    for (const { volume, record } of found) {
      const name = `${volume.name}@${record.name}`;
      this.#tell('snapshot/deleted', name, `snapshot ${name} was deleted`);
    }
  }

  #expectNoClients(volume: string, { force }: RevertOptions): void {
    const clients = this.#connections.clientsOf(volume);
    if (force || clients === 0) return;
    throw new StorageError(
      'export/busy',
      `volume ${volume} cannot be reverted: ${clients} clients are connected, whose disk would change under them`,
      {
        actions: [
          'shut the guest down, or detach the disk, then repeat',
          '--force closes their connections first',
        ],
      },
    );
  }

  async #revert(volume: string, name: string, options: RevertOptions): Promise<RevertResult> {
    const { pool, record: snapshot } = this.#catalog.findSnapshot(volume, name);
    const { record } = this.#volumes.find(volume);
    this.#volumes.expectFilled({ pool, record });
    const ids = new NewIds(pool);
    const safety = options.discard ? null : this.#safetyOf({ pool, record }, ids);
    expectLayersLeft(pool, 1);
    const result = { volume, safety: safety?.name ?? null, pauseSeconds: 0 };
    if (options.dryRun) return result;
    const head = ids.layer();
    const ops = [
      ids.op(),
      layerOp({ id: head, parent: snapshot.layer }),
      volumeOp({ ...record, headLayer: head }),
      ...(safety === null ? [] : [snapshotOp(safety)]),
    ];
    const pauseSeconds = await exchangeHeads(pool, [{ volume: record, head, inherit: false }], ops);
    this.#volumes.structureChanged(pool);
    this.#tell('volume/reverted', volume, `volume ${volume} was reverted to ${volume}@${name}`);
    return { ...result, pauseSeconds };
  }

  /** Names what the volume is now. */
  #safetyOf({ pool, record }: FoundVolume, ids: NewIds): SnapshotRecord {
    this.#expectSnapshotsLeft({ pool, record });
    const createdAt = isoTime(this.#clock);
    const stamp = createdAt.slice(0, 19).replaceAll('-', '').replaceAll(':', '').replace('T', '-');
    const id = ids.snapshot();
    const taken = new Set(
      [...snapshotRecords(pool), ...bookmarkRecords(pool)]
        .filter(({ volume }) => volume === record.id)
        .map(({ name }) => name),
    );
    const name = `before-revert-${stamp}`;
    return {
      id,
      volume: record.id,
      name: taken.has(name) ? `${name}-${id}` : name,
      layer: record.headLayer,
      sizeBytes: record.sizeBytes,
      createdAt,
      consistency: 'crash',
      origin: 'revert',
    };
  }

  /** A volume whose head reads through a snapshot's layer. */
  async #addHead(
    pool: Pool,
    { id, layer, sizeBytes }: SnapshotRecord,
    of: Pick<VolumeRecord, 'name' | 'snapshotMode' | 'scratch'>,
  ): Promise<VolumeRecord> {
    const ids = new NewIds(pool);
    const volume = ids.volume();
    const record: VolumeRecord = {
      id: volume,
      sizeBytes,
      headLayer: ids.layer(),
      thick: false,
      createdAt: isoTime(this.#clock),
      clonedFrom: id,
      ...of,
      name: of.scratch ? `scratch/${volume}` : of.name,
    };
    await pool.commit([
      ids.op(),
      layerOp({ id: record.headLayer, parent: layer }),
      volumeOp(record),
    ]);
    return record;
  }

  /** One walk over what the volume inherits. @returns whether nothing is inherited any more */
  async #flattenOnce(
    { pool, record }: FoundVolume,
    plane: OpenVolume['plane'],
    tell: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    const headNow = () => pool.record<VolumeRecord>(`volume/${record.id}`)?.headLayer;
    const head = headNow();
    if (head === undefined)
      throw new StorageError('volume/not-found', `volume ${record.name} is gone`);
    const parents = chainOf(pool, head).slice(1);
    for await (const { region } of regionsOf(pool, parents)) {
      for (let leaf = 0; leaf < leavesPerRegion; leaf++) {
        if (signal.aborted) throw abortReason(signal);
        const copied = await this.#volumes.exclusively(async () =>
          headNow() === head ? flattenLeaf(pool, plane, head, { region, leaf }) : undefined,
        );
        tell(copied ?? 0);
      }
    }
    return this.#volumes.exclusively(async () => {
      await pool.flush();
      if (headNow() !== head || (await inheritedBytes(pool, head)) > 0) return false;
      await pool.commit([layerOp({ id: head, parent: null })]);
      return true;
    });
  }

  /** Of a volume that is to be deleted. */
  async #dependentsOf(
    { pool, record }: FoundVolume,
    options: DeleteVolumeOptions,
  ): Promise<Dependents> {
    const snapshots = snapshotRecords(pool).filter(({ volume }) => volume === record.id);
    const bookmarks = bookmarkRecords(pool).filter(({ volume }) => volume === record.id);
    this.#expectVolumeDeletable({ pool, record }, snapshots, options);
    const freed = await freedByDeleting(pool, {
      volumes: new Set([record.id]),
      snapshots: new Set(snapshots.map(({ id }) => id)),
    });
    const own = pool.clustersOf(record.headLayer) * pool.clusterBytes;
    const isScheduled = scheduleOf(pool, record.id) !== undefined;
    return {
      ops: [
        ...snapshots.map(({ id }) => deleteSnapshotOp(id)),
        ...bookmarks.map(({ id }) => deleteBookmarkOp(id)),
        ...(isScheduled ? [deleteScheduleOp(record.id)] : []),
      ],
      freedBytes: freed - own,
    };
  }

  #expectVolumeDeletable(
    { pool, record: { name } }: FoundVolume,
    snapshots: readonly SnapshotRecord[],
    { withSnapshots, keepClones }: DeleteVolumeOptions,
  ): void {
    const tree = LayerTree.of(pool);
    const clones = snapshots.flatMap((snapshot) => clonesOf(pool, tree, snapshot));
    if (clones.length > 0 && !keepClones) {
      const all = snapshots.length > 0 && !withSnapshots ? ' --with-snapshots' : '';
      throw new StorageError(
        'volume/has-clones',
        `cannot delete volume ${name}: ${counted(clones.length)} through it and --keep-clones was not given`,
        {
          actions: [
            `varve volume delete ${name}${all} --keep-clones   (its data stays until the last clone is gone)`,
          ],
        },
      );
    }
    for (const { id, name: snapshot } of snapshots) {
      for (const guard of this.#guards) {
        const reason = guard(pool.name, id);
        if (reason === null) continue;
        throw new StorageError(
          'snapshot/busy',
          `volume ${name} cannot be deleted: its snapshot ${snapshot} ${reason}`,
        );
      }
    }
    // Whoever keeps the clones has said that the volume's own names may go.
    if (snapshots.length === 0 || withSnapshots || keepClones) return;
    throw new StorageError(
      'volume/has-snapshots',
      `cannot delete volume ${name}: it has ${snapshots.length} snapshots and --with-snapshots was not given`,
      { actions: [`varve volume delete ${name} --with-snapshots`] },
    );
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#emit({ kind, level: 'info', subject, message });
  }
}

function isSnapshot(found: Found): found is FoundSnapshot {
  return found.kind === 'snapshot';
}

function renamedOp(found: Found, name: string): BatchOp {
  return found.kind === 'snapshot'
    ? snapshotOp({ ...found.record, name })
    : bookmarkOp({ ...found.record, name });
}

function counted(clones: number): string {
  return clones === 1 ? '1 linked clone reads' : `${clones} linked clones read`;
}

/** What is stored with the snapshots has to fit the one record that makes them. */
function expectBatch(pool: Pool, ops: readonly BatchOp[]): void {
  const bytes = ops.reduce((sum, op) => sum + (op.op === 'put' ? op.value.length + 64 : 64), 0);
  if (bytes <= pool.batchBytesMax) return;
  throw new StorageError(
    'request/invalid',
    `what is stored with these snapshots is more than ${formatSize(pool.batchBytesMax)}`,
    { actions: ['leave the attachment out, or take fewer together'] },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
