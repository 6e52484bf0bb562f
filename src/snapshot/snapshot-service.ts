/**
 * SnapshotService: names on frozen layers, and what is made of them.
 *
 *   snapshot   the head is frozen and named, the volume has an empty head above it      create.ts       constant time
 *   clone      a new volume whose head reads through the snapshot's layer                clone.ts        constant time
 *   revert     the volume has a new head on the snapshot's layer, the old one is named   revert.ts       constant time
 *   delete     the name goes; the janitor makes one of two layers, the reaper frees      delete.ts       constant time, then janitor.ts
 *   receive    a snapshot that comes from elsewhere is one of the volume's               receive.ts       constant time, behind the writing
 *   flatten    what is inherited is copied                                               flatten.ts      as long as that takes
 *
 * Each is one batch, between other changes of structure: after a crash it happened or it did not. Exactly one head is above a volume's frozen
 * layers at any time, and it alone takes writes.
 * Here: who may call what when, in which turn; every verb has a file of its own.
 */
import type { Clock } from '../base/clock.ts';
import type { Pool } from '../pool/pool.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent, ReportProgress } from '../pool/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { Background } from './background.ts';
import { SnapshotCatalog } from './catalog.ts';
import { cloneSnapshot } from './clone.ts';
import type { SnapshotContext } from './context.ts';
import { createSnapshots } from './create.ts';
import { deleteSnapshots, type SnapshotGuard } from './delete.ts';
import { dependentsOf } from './delete-volume.ts';
import { changedExtents } from './diff.ts';
import { flattenVolume } from './flatten.ts';
import { inheritedBytes } from './inherited.ts';
import { setSnapshotMode } from './mode.ts';
import { type OpenSnapshot, openScratch, openSnapshot } from './open.ts';
import { type Identity, identityOf, passportOf, type SnapshotPassport } from './passport.ts';
import { Receiver } from './receive.ts';
import { renameSnapshot } from './rename.ts';
import { type Connections, revertVolume } from './revert.ts';
import { Scheduler } from './scheduler.ts';
import { spaceOf } from './space.ts';
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
  SnapshotSpace,
  Snapshots,
} from './types.ts';

export interface SnapshotDependencies {
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly emit: EmitEvent;
}

type DryRun = { readonly dryRun?: boolean };

export class SnapshotService implements Snapshots {
  readonly #context: SnapshotContext;
  readonly #volumes: VolumeService;
  readonly #catalog: SnapshotCatalog;
  readonly #scheduler: Scheduler;
  readonly #background = new Map<Pool, Background>();
  readonly #guards: SnapshotGuard[] = [];
  /** Of snapshots that come from elsewhere. */
  readonly receiver: Receiver;
  #connections: Connections = { clientsOf: () => 0, disconnect: async () => 0 };

  /** Merges that were cut off go on at once; schedules run from now on. */
  constructor({ pools, volumes, clock, emit }: SnapshotDependencies) {
    this.#volumes = volumes;
    this.#catalog = new SnapshotCatalog(pools, volumes);
    this.#context = {
      clock,
      volumes,
      catalog: this.#catalog,
      tell: (kind, subject, message) => emit({ kind, level: 'info', subject, message }),
    };
    this.receiver = new Receiver(this.#context, () => this.#connections);
    this.#scheduler = new Scheduler({ pools, clock, emit, snapshots: this });
    volumes.setDependents((found, options) => dependentsOf(found, this.#guard, options));
    volumes.onStructure((pool) => void this.#background.get(pool)?.merge());
    pools.onOpen((pool) => {
      if (pool.isReadOnly) return;
      this.#background.set(pool, new Background({ pool, volumes, clock, emit }));
    });
    pools.onClose(async (pool) => {
      await this.#background.get(pool)?.stop();
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
    await this.#background.get(pool)?.merge();
    await this.#volumes.reaped(pool);
  }

  list(volume?: string): SnapshotInfo[] {
    return this.#catalog.list(volume);
  }

  get(volume: string, name: string): SnapshotInfo {
    return this.#catalog.describe(volume, name);
  }

  byId(pool: string, id: number): SnapshotInfo {
    return this.#catalog.describeById(pool, id);
  }

  /** Also of a bookmark. @throws StorageError volume/not-found, snapshot/not-found */
  identity(volume: string, name: string): Identity {
    return identityOf(this.#catalog.find(volume, name));
  }

  /** @throws StorageError volume/not-found, snapshot/not-found */
  passport(volume: string, name: string): SnapshotPassport {
    return passportOf(this.#catalog.findSnapshot(volume, name));
  }

  attachment(volume: string, name: string): string {
    return this.#catalog.attachment(volume, name);
  }

  space(volume: string, name: string): Promise<SnapshotSpace> {
    return spaceOf(this.#catalog.find(volume, name));
  }

  create(options: CreateSnapshotOptions): Promise<CreatedSnapshots> {
    return createSnapshots(this.#context, options);
  }

  rename(volume: string, name: string, to: string, options: DryRun = {}): Promise<SnapshotInfo> {
    return this.#volumes.exclusively(this.#volumes.poolsOf([volume]), () =>
      renameSnapshot(this.#context, { volume, snapshot: name }, to, options),
    );
  }

  delete(
    names: readonly SnapshotName[],
    options: DeleteSnapshotOptions = {},
  ): Promise<{ freedBytes: number }> {
    const volumes = names.map(({ volume }) => volume);
    return this.#volumes.exclusively(this.#volumes.poolsOf(volumes), () =>
      deleteSnapshots(this.#context, this.#guard, names, options),
    );
  }

  diff(volume: string, from: string, to?: string): Promise<SnapshotDiff> {
    return changedExtents(this.#catalog, { volume, from, to });
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

  revert(volume: string, name: string, options: RevertOptions = {}): Promise<RevertResult> {
    const to = { volume, snapshot: name };
    return revertVolume(this.#context, this.#connections, to, options);
  }

  clone(source: SnapshotName, name: string, options: DryRun = {}): Promise<{ changed: boolean }> {
    const scope = () => ({ pools: [this.#volumes.find(source.volume).pool], names: [name] });
    return this.#volumes.exclusively(scope, () =>
      cloneSnapshot(this.#context, source, name, options),
    );
  }

  async inheritedBytes(volume: string): Promise<number> {
    const { pool, record } = this.#volumes.find(volume);
    return inheritedBytes(pool, record.headLayer);
  }

  flatten(
    volume: string,
    report: ReportProgress,
    signal: AbortSignal,
  ): Promise<{ changed: boolean }> {
    return flattenVolume(this.#context, volume, { report, signal });
  }

  setMode(
    volume: string,
    snapshotMode: 'row' | 'cow',
    options: DryRun = {},
  ): Promise<{ changed: boolean }> {
    return this.#volumes.exclusively(this.#volumes.poolsOf([volume]), () =>
      setSnapshotMode(this.#context, volume, snapshotMode, options),
    );
  }

  /** Opens a snapshot in the data plane, to be read. @throws StorageError snapshot/not-found */
  async open(pool: string, snapshotId: number): Promise<OpenSnapshot> {
    return openSnapshot(this.#catalog.byId(pool, snapshotId));
  }

  /** A head of its own on a snapshot, see open.ts. @throws StorageError snapshot/not-found, snapshot/limit, pool/failed */
  async openScratch(pool: string, snapshotId: number): Promise<OpenSnapshot> {
    return openScratch(this.#context, this.#catalog.byId(pool, snapshotId));
  }

  async schedule(options: ScheduleOptions): Promise<SchedulePlan> {
    const found = this.#volumes.find(options.volume);
    found.pool.expectWritable();
    return this.#scheduler.set(found, options);
  }

  schedules(): ScheduleInfo[] {
    return this.#scheduler.list();
  }

  async removeSchedule(volume: string, options: DryRun = {}): Promise<void> {
    const found = this.#volumes.find(volume);
    found.pool.expectWritable();
    return this.#scheduler.remove(found, options);
  }

  /** The first reason that anybody has. */
  readonly #guard: SnapshotGuard = (pool, id) => {
    for (const guard of this.#guards) {
      const reason = guard(pool, id);
      if (reason !== null) return reason;
    }
    return null;
  };
}
