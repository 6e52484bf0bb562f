/** The API over in-memory pools and volumes: enough to see what a route asks for and answers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Arrivals } from '../../src/api/arrival.ts';
import { EventLog } from '../../src/api/event-log.ts';
import { Operations } from '../../src/api/operations.ts';
import type {
  ApiServices,
  MigrationPort,
  PoolMovesPort,
  PoolsPort,
  VolumesPort,
} from '../../src/api/ports.ts';
import type { ApiApp } from '../../src/api/route-kit.ts';
import { buildServer } from '../../src/api/server.ts';
import { systemClock } from '../../src/base/clock.ts';
import { StorageError } from '../../src/base/errors.ts';
import { DomainDisks } from '../../src/export/domain-disks.ts';
import { ExportService } from '../../src/export/export-service.ts';
import { GuestDisks } from '../../src/export/guest-disks.ts';
import type { DiskName } from '../../src/migration/migration-service.ts';
import type {
  CheckReport,
  DiskInfo,
  PoolActivity,
  PoolInfo,
  PoolSettings,
  ReportProgress,
} from '../../src/pool/types.ts';
import type { CreateVolumeOptions, VolumeInfo, VolumeMapExtent } from '../../src/volume/types.ts';
import {
  FakeDataPlane,
  FakeDisks,
  FakeHostStore,
  FakePool,
  FakeVolumes,
  poolInfo,
} from '../export/fakes.ts';
import { FakeSnapshotService } from './fake-snapshots.ts';

export class FakePools implements PoolsPort {
  readonly pools = new Map<string, FakePool>();
  /** What the next check answers. */
  findings: CheckReport['findings'] = [];

  list(): PoolInfo[] {
    return [...this.pools.values()].map((pool) => pool.info());
  }

  get(name: string): FakePool {
    const pool = this.pools.get(name);
    if (pool !== undefined) return pool;
    throw new StorageError('pool/not-found', `there is no pool ${name}`, {
      actions: ['varve pool list'],
    });
  }

  all(): FakePool[] {
    return [...this.pools.values()];
  }

  /** Three reads, one of them in the last bucket; nothing else. */
  activity(): PoolActivity[] {
    const none = { counts: new Float64Array(24), seconds: 0 };
    const counts = none.counts.slice();
    counts.set([1], 2);
    counts.set([1], 10);
    counts.set([1], 23);
    const latencies = { read: { counts, seconds: 0.5 }, write: none, flush: none };
    const latencyBounds = Float64Array.from({ length: 24 }, (_, at) => (at + 1) / 1000);
    const background = { movedBytes: 65_536, bytesPerSecondMax: Number.POSITIVE_INFINITY };
    return this.all().map(({ poolInfo: { name: pool } }) => ({
      pool,
      latencies,
      latencyBounds,
      heldWriters: 3,
      background,
    }));
  }

  async create(name: string, _uris: string[], options: { dryRun?: boolean }) {
    const known = this.pools.get(name);
    if (known !== undefined) return { pool: known.info(), changed: false };
    const pool = new FakePool(poolInfo(name));
    if (!options.dryRun) this.pools.set(name, pool);
    return { pool: pool.info(), changed: true };
  }

  async delete(name: string, options: { dryRun?: boolean }): Promise<void> {
    if (!options.dryRun) this.pools.delete(name);
  }

  async export(name: string, options: { dryRun?: boolean }): Promise<void> {
    await this.delete(name, options);
  }

  async import(uris: string[], options: { dryRun?: boolean }): Promise<PoolInfo> {
    return (await this.create('imported', uris, options)).pool;
  }

  async addDisk(name: string, uri: string): Promise<DiskInfo> {
    const [disk] = this.get(name).info().disks;
    return { ...(disk as DiskInfo), number: 1, uri };
  }

  async isNobodys(): Promise<boolean> {
    return false;
  }

  async removeDisk(name: string, number: number): Promise<DiskInfo> {
    const { disks } = this.get(name).info();
    if (disks.length > 1) return disks[number] as DiskInfo;
    throw new StorageError('disk/needed', `disk ${number} is the only one of its pool`);
  }

  async set(name: string, settings: PoolSettings, options: { dryRun?: boolean }) {
    const before = this.get(name).info();
    const changed = settings.patienceSeconds !== before.patienceSeconds;
    const pool = { ...before, ...settings };
    if (changed && !options.dryRun) this.pools.set(name, new FakePool(pool));
    return { pool, changed };
  }

  async check(name: string): Promise<CheckReport> {
    const counts = { clustersChecked: 10, leavesChecked: 2, recordsChecked: 3 };
    return { pool: this.get(name).info().name, findings: this.findings, ...counts };
  }
}

export class FakeVolumeService extends FakeVolumes implements VolumesPort {
  /** Thick creation waits until this resolves. */
  provisioned: Promise<void> = Promise.resolve();

  async create(options: CreateVolumeOptions, report?: ReportProgress, signal?: AbortSignal) {
    const { name, sizeBytes, pool = 'main', dryRun = false } = options;
    const known = this.volumes.get(name);
    if (known !== undefined) return { volume: known, changed: false };
    if (dryRun) return { volume: { name } as VolumeInfo, changed: true };
    report?.(sizeBytes / 2, sizeBytes);
    if (options.thick) await Promise.race([this.provisioned, aborted(signal)]);
    return { volume: this.add(name, pool, sizeBytes), changed: true };
  }

  async rename(name: string, to: string, options: { dryRun?: boolean }): Promise<VolumeInfo> {
    const volume = { ...this.get(name), name: to };
    if (options.dryRun) return volume;
    this.volumes.delete(name);
    this.volumes.set(to, volume);
    return volume;
  }

  async resize(
    name: string,
    sizeBytes: number,
    options: { dryRun?: boolean },
  ): Promise<VolumeInfo> {
    const volume = this.get(name);
    if (sizeBytes < volume.sizeBytes) throw new StorageError('volume/shrink', 'it would shrink');
    if (!options.dryRun) this.volumes.set(name, { ...volume, sizeBytes });
    return { ...volume, sizeBytes };
  }

  async delete(name: string, options: { dryRun?: boolean }): Promise<{ freedBytes: number }> {
    const guarded = this.guards.map((guard) => guard(name)).find((why) => why !== null);
    if (guarded) throw new StorageError('volume/busy', `volume ${name} is in use: ${guarded}`);
    if (!options.dryRun) this.volumes.delete(name);
    return { freedBytes: 65_536 };
  }

  async map(name: string, offset: number, length: number): Promise<VolumeMapExtent[]> {
    const { sizeBytes } = this.get(name);
    const extents: VolumeMapExtent[] = [];
    for (let at = offset; at < Math.min(offset + length, sizeBytes); at += 65_536) {
      const odd = (at / 65_536) % 2 === 1;
      extents.push({ offset: at, length: 65_536, hole: odd, zero: odd });
    }
    return extents;
  }
}

async function nothingToMove() {
  return { copiedBytes: 0, roomBytes: 65_536, volumes: [] };
}

/** Nothing lies on any disk. */
export class FakeMigration implements MigrationPort {
  async setCordoned(_disk: DiskName, cordoned: boolean) {
    const disk = { ...(poolInfo('main').disks[0] as DiskInfo), cordoned };
    return { disk, changed: cordoned };
  }

  async setClass(_disk: DiskName, label: string | null) {
    const disk = { ...(poolInfo('main').disks[0] as DiskInfo), class: label };
    return { disk, changed: true };
  }

  placementFor(_volume: string, to: string) {
    return { class: to };
  }

  findPlacement(_volume: string, to: string) {
    return { class: to };
  }

  expectNotMoving(): void {}

  async beginReplace() {
    const replacement = poolInfo('main').disks[0] as DiskInfo;
    return { plan: await nothingToMove(), replacement };
  }

  readonly planDrain = nothingToMove;
  readonly planRebalance = nothingToMove;
  readonly planPlacement = nothingToMove;

  async planAbsorb() {
    return undefined;
  }
}

/** There is one pool. */
export class FakePoolMoves implements PoolMovesPort {
  async plan() {
    return { ...(await nothingToMove()), exports: [], changed: true };
  }

  async planUndo(name: string): Promise<never> {
    throw new StorageError('op/state', `volume ${name} has no move that can be undone`);
  }

  async finish() {
    return { changed: false };
  }

  async settle() {
    return [];
  }

  async dropAbandoned(): Promise<void> {}

  expectNotMoving(): void {}
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

export interface TestApi {
  readonly app: ApiApp;
  readonly folder: string;
  readonly pools: FakePools;
  readonly volumes: FakeVolumeService;
  readonly snapshots: FakeSnapshotService;
  readonly dataPlane: FakeDataPlane;
  readonly services: ApiServices;
  readonly service: { stopping: boolean };
  close(): Promise<void>;
}

export async function openApi(): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), 'varve-api-'));
  const log = pino({ level: 'silent' });
  const pools = new FakePools();
  const volumes = new FakeVolumeService();
  const snapshots = new FakeSnapshotService(volumes);
  const dataPlane = new FakeDataPlane();
  const events = new EventLog(systemClock, log, join(folder, 'events.jsonl'));
  const emit = events.emit.bind(events);
  const exports = new ExportService({
    dataPlane,
    volumes,
    snapshots,
    disks: new FakeDisks(),
    emit,
    pools: () => [...pools.pools.values()],
    host: new FakeHostStore(),
    now: () => new Date(0),
    defaultAddress: { kind: 'unix', path: join(folder, 'nbd.sock') },
    onClientsGone() {},
  });
  const operations = new Operations(systemClock, log, emit, join(folder, 'operations.jsonl'));
  const service = {
    stateDir: folder,
    backend: 'fake',
    startedAt: new Date(0),
    stopping: false,
    readiness: () => [{ name: 'started', ok: !service.stopping }],
  };
  const leave = {
    plan: async () => {
      throw new StorageError('disk/unusable', 'no disk');
    },
  };
  const noImage = {
    plan: async () => {
      throw new StorageError('image/unusable', 'no image');
    },
  };
  const nothingSent = async (): Promise<never> => {
    throw new StorageError('backup/format', 'no backup');
  };
  const backups = {
    send: {
      plan: nothingSent,
      expectTarget: nothingSent,
      stream: async function* (): AsyncGenerator<Uint8Array> {},
    },
    receive: { plan: nothingSent, receive: nothingSent },
  };
  const adoption = {
    plan: async () => {
      throw new StorageError('disk/unusable', 'no disk');
    },
    adopt: async () => {},
  };
  const migration = new FakeMigration();
  const poolMoves = new FakePoolMoves();
  const services = {
    pools,
    volumes,
    snapshots,
    exports,
    guestDisks: new GuestDisks(exports),
    domainDisks: new DomainDisks(exports),
    migration,
    poolMoves,
    arrivals: new Arrivals({ exports, operations, poolMoves, pools, snapshots }),
    scrubs: { expectScrubbable() {} },
    adoption,
    scanDisks: async () => [],
    leave,
    images: { load: noImage, save: noImage },
    backups,
    operations,
    events,
    service,
  };
  const app = await buildServer(services, log);
  const close = async () => {
    await app.close();
    await operations.close();
    events.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { app, folder, pools, volumes, snapshots, dataPlane, services, service, close };
}

export type Method = 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';

/** Injects requests into the server. */
export function callerOf(api: TestApi) {
  return async (method: Method, url: string, payload?: object, headers = {}) => {
    const response = await api.app.inject({ method, url, headers, ...(payload && { payload }) });
    return { status: response.statusCode, headers: response.headers, body: response.json() };
  };
}
