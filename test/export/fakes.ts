/** In-memory stand-ins for the layers below exports: just enough of each to see what was asked of it. */
import { writeFileSync } from 'node:fs';
import { StorageError } from '../../src/base/errors.ts';
import type { ChangedContext, ClientStats, VolumeStats } from '../../src/dataplane/binding.ts';
import type {
  ClientListener,
  DiskPlane,
  ListenerPlane,
  PatientDiskPlane,
  VolumePlane,
} from '../../src/dataplane/data-plane.ts';
import type { ExportDataPlane } from '../../src/export/export-service.ts';
import type { ExportStore, RecordPool } from '../../src/export/export-store.ts';
import type { ExportDisks } from '../../src/export/passthrough.ts';
import type { ExportSnapshots, ExportVolumes } from '../../src/export/serving.ts';
import type { DiskExportRecord, ExportRecord } from '../../src/export/types.ts';
import { parseDiskUri } from '../../src/pool/disk-uri.ts';
import type { ExistingDisk } from '../../src/pool/existing-disk.ts';
import type { BatchOp } from '../../src/pool/format/batch.ts';
import { parseIndexKey } from '../../src/pool/format/index-keys.ts';
import type { ProbeResult } from '../../src/pool/probe.ts';
import type { PoolInfo } from '../../src/pool/types.ts';
import type { ChangedExtent, SnapshotInfo } from '../../src/snapshot/types.ts';
import type { VolumeInfo } from '../../src/volume/types.ts';

const zeroStats: VolumeStats = {
  reads: 0,
  writes: 0,
  flushes: 0,
  discards: 0,
  readBytes: 0,
  writeBytes: 0,
  discardBytes: 0,
  errors: 0,
  mapBytes: 0,
};

/** Keeps a list of what is exported; a unix socket is a plain file. */
export class FakeDataPlane implements ExportDataPlane {
  readonly exports = new Map<
    string,
    { readOnly: boolean; listeners: number[]; contexts?: readonly ChangedContext[] }
  >();
  readonly listening = new Map<number, string>();
  connected: ClientStats[] = [];
  listener: ClientListener | undefined;
  /** Addresses that cannot be had. */
  readonly taken = new Set<string>();
  #nextHandle = 1;

  async listen(spec: { path?: string; host?: string; port?: number }): Promise<ListenerPlane> {
    const port = spec.port === 0 ? 40_000 : (spec.port ?? 0);
    const address = spec.path ?? `${spec.host}:${port}`;
    if (this.taken.has(address)) throw new Error('EADDRINUSE');
    if (spec.path !== undefined) writeFileSync(spec.path, '');
    const handle = this.#nextHandle++;
    this.listening.set(handle, address);
    const close = async () => {
      this.listening.delete(handle);
    };
    return { handle, port, close } as unknown as ListenerPlane;
  }

  addExport(
    _volume: VolumePlane,
    listeners: readonly ListenerPlane[],
    spec: { name: string; readOnly: boolean; contexts?: readonly ChangedContext[] },
  ): void {
    const { readOnly, contexts = [] } = spec;
    const served = { readOnly, listeners: listeners.map((listener) => listener.handle) };
    this.exports.set(spec.name, contexts.length === 0 ? served : { ...served, contexts });
  }

  async pauseExport(): Promise<void> {}
  async resumeExport(): Promise<void> {}

  addDiskExport(
    _disk: DiskPlane,
    listeners: readonly ListenerPlane[],
    { name, readOnly }: { name: string; readOnly: boolean },
  ): void {
    this.exports.set(name, { readOnly, listeners: listeners.map(({ handle }) => handle) });
  }

  async removeExport(name: string): Promise<number> {
    this.exports.delete(name);
    const before = this.connected.length;
    this.connected = this.connected.filter((client) => client.export !== name);
    return before - this.connected.length;
  }

  clients(): ClientStats[] {
    return this.connected;
  }

  onClients(listener: ClientListener): void {
    this.listener = listener;
  }

  connect(exportName: string): void {
    const client = this.connected.length + 1;
    this.connected.push({
      client,
      export: exportName,
      address: 'unix',
      connectedAtMs: 0,
      reads: 0,
      writes: 0,
      readBytes: 0,
      writeBytes: 0,
      inFlight: 0,
    });
    this.listener?.connected(client, exportName, 'unix');
  }
}

/** Records of a pool as they would be in its index. */
export class FakePool implements RecordPool {
  readonly stored = new Map<string, unknown>();
  /** Makes the next commits fail. */
  broken = false;

  constructor(readonly poolInfo: PoolInfo) {}

  info(): PoolInfo {
    return this.poolInfo;
  }

  records<T>(prefix: string): readonly T[] {
    return [...this.stored]
      .filter(([name]) => name.startsWith(prefix))
      .map(([, value]) => value as T);
  }

  async commit(operations: readonly BatchOp[]): Promise<number> {
    if (this.broken) throw new StorageError('pool/failed', 'the pool stopped');
    for (const operation of operations) this.#apply(operation);
    return 1;
  }

  #apply(operation: BatchOp): void {
    if (operation.op !== 'put' && operation.op !== 'delete') return;
    const key = parseIndexKey(operation.key);
    if (key.kind !== 'record') return;
    if (operation.op === 'delete') this.stored.delete(key.name);
    else this.stored.set(key.name, JSON.parse(new TextDecoder().decode(operation.value)));
  }
}

export function poolInfo(name: string): PoolInfo {
  return {
    uuid: `00000000-0000-0000-0000-${name.padStart(12, '0').slice(-12)}`,
    name,
    state: 'online',
    readOnly: false,
    warnings: [],
    clusterBytes: 65_536,
    capacityBytes: 1000 * 65_536,
    usedBytes: 10 * 65_536,
    freeBytes: 980 * 65_536,
    promisedBytes: 0,
    reserveBytes: 10 * 65_536,
    disks: [
      {
        role: 'pool',
        uuid: '11111111-aaaa-0000-0000-000000000000',
        number: 0,
        pool: name,
        uri: `file:/disks/${name}.img`,
        path: `/disks/${name}.img`,
        kind: 'file',
        state: 'online',
        class: null,
        cordoned: false,
        failing: null,
        paths: [],
        journal: true,
        journalLost: false,
        sizeBytes: 2000 * 65_536,
        capacityBytes: 1000 * 65_536,
        usedBytes: 10 * 65_536,
        freeBytes: 980 * 65_536,
      },
    ],
    journalBytes: 1024 * 1024,
    journalUsedBytes: 4096,
    patienceSeconds: 60,
    createdAt: '2026-01-01T00:00:00.000Z',
  };
}

export class FakeVolumes implements ExportVolumes {
  explain: (name: string) => StorageError | undefined = () => undefined;
  readonly volumes = new Map<string, VolumeInfo>();
  readonly opened = new Map<string, number>();
  readonly guards: ((volume: string) => string | null)[] = [];
  /** Names of volumes that cannot be opened. */
  readonly damaged = new Set<string>();

  add(name: string, pool: string, sizeBytes = 1024 * 1024): VolumeInfo {
    const volume: VolumeInfo = {
      id: this.volumes.size + 1,
      uuid: `00000000-0000-8000-8000-${String(this.volumes.size + 1).padStart(12, '0')}`,
      name,
      pool,
      sizeBytes,
      exclusiveBytes: 0,
      sharedBytes: 0,
      origin: null,
      hasParent: false,
      adoptedFrom: null,
      snapshotMode: 'row',
      thick: false,
      class: null,
      createdAt: '2026-01-01T00:00:00.000Z',
    };
    this.volumes.set(name, volume);
    return volume;
  }

  list(): VolumeInfo[] {
    return [...this.volumes.values()];
  }

  get(name: string): VolumeInfo {
    const volume = this.volumes.get(name);
    if (volume !== undefined) return volume;
    throw new StorageError('volume/not-found', `there is no volume ${name}`, {
      actions: ['varve volume list'],
    });
  }

  async open(name: string) {
    if (this.damaged.has(name)) throw new StorageError('pool/damaged', 'its map is damaged');
    this.opened.set(name, (this.opened.get(name) ?? 0) + 1);
    const close = async () => {
      this.opened.set(name, (this.opened.get(name) ?? 0) - 1);
    };
    return { plane: { stats: () => zeroStats } as unknown as VolumePlane, close };
  }

  addGuard(guard: (volume: string) => string | null): void {
    this.guards.push(guard);
  }

  explainMissing(explain: (name: string) => StorageError | undefined): void {
    this.explain = explain;
  }
}

/** Disks that are all there; opening counts by path. */
export class FakeDisks implements ExportDisks {
  readonly opened = new Map<string, number>();
  /** Paths that cannot be opened. */
  readonly broken = new Set<string>();
  readonly sizeBytes = 1024 * 1024;

  async find(uri: string): Promise<ExistingDisk> {
    const { normalized, path } = parseDiskUri(uri);
    const location = { uri: normalized, path, kind: 'file' } as const;
    return { location, sizeBytes: this.sizeBytes, probe: {} as ProbeResult };
  }

  async open({ disk: { path } }: DiskExportRecord): Promise<PatientDiskPlane> {
    if (this.broken.has(path)) throw new StorageError('disk/unusable', `no ${path}`);
    this.opened.set(path, (this.opened.get(path) ?? 0) + 1);
    const close = async () => {
      this.opened.set(path, (this.opened.get(path) ?? 0) - 1);
    };
    const condition = { state: 'online' };
    const { sizeBytes } = this;
    return { sizeBytes, condition, paths: [], close } as unknown as PatientDiskPlane;
  }
}

/** Remembers exports of disks in memory. */
export class FakeHostStore implements ExportStore {
  readonly pool = null;
  readonly records = new Map<string, ExportRecord>();

  all(): readonly ExportRecord[] {
    return [...this.records.values()];
  }

  async put(record: ExportRecord): Promise<void> {
    this.records.set(record.name, record);
  }

  async remove(name: string): Promise<void> {
    this.records.delete(name);
  }
}

/** Snapshots of fake volumes; opening counts under `volume@name`. */
export class FakeSnapshots implements ExportSnapshots {
  readonly snapshots: SnapshotInfo[] = [];
  readonly opened = new Map<string, number>();
  readonly guards: ((pool: string, snapshotId: number) => string | null)[] = [];
  changed: ChangedExtent[] = [];
  /** Makes telling what changed fail. */
  damaged = false;
  #lastId = 0;

  add(volume: VolumeInfo, name: string, kind: SnapshotInfo['kind'] = 'snapshot'): SnapshotInfo {
    const snapshot: SnapshotInfo = {
      id: ++this.#lastId,
      volume: volume.name,
      name,
      pool: volume.pool,
      kind,
      sizeBytes: volume.sizeBytes / 2,
      createdAt: `2026-01-0${this.#lastId}T00:00:00.000Z`,
      consistency: 'crash',
      note: null,
      labels: {},
      group: null,
      origin: null,
      hasAttachment: false,
      clones: [],
      parent: null,
    };
    this.snapshots.push(snapshot);
    return snapshot;
  }

  get(volume: string, name: string): SnapshotInfo {
    const found = this.snapshots.find((each) => each.volume === volume && each.name === name);
    if (found !== undefined) return found;
    throw new StorageError('snapshot/not-found', `there is no snapshot ${volume}@${name}`);
  }

  byId(pool: string, id: number): SnapshotInfo {
    const found = this.snapshots.find((each) => each.pool === pool && each.id === id);
    if (found !== undefined) return found;
    throw new StorageError('snapshot/not-found', `pool ${pool} has no snapshot with id ${id}`);
  }

  open(pool: string, id: number) {
    return this.#open(`${this.byId(pool, id).volume}@${this.byId(pool, id).name}`);
  }

  openScratch(pool: string, id: number) {
    return this.#open(`scratch of ${this.byId(pool, id).name}`);
  }

  /** The name is free; a bookmark keeps it, and when it was taken, under an id of its own. */
  forget(name: string, bookmark: boolean): void {
    const at = this.snapshots.findIndex((each) => each.name === name);
    const [gone] = this.snapshots.splice(at, 1);
    if (bookmark && gone) this.snapshots.push({ ...gone, id: gone.id + 100, kind: 'bookmark' });
  }

  async changedSince(): Promise<readonly ChangedExtent[]> {
    if (this.damaged) throw new StorageError('pool/damaged', 'a map is damaged');
    return this.changed;
  }

  addGuard(guard: (pool: string, snapshotId: number) => string | null): void {
    this.guards.push(guard);
  }

  async #open(key: string) {
    this.opened.set(key, (this.opened.get(key) ?? 0) + 1);
    const close = async () => {
      this.opened.set(key, (this.opened.get(key) ?? 0) - 1);
    };
    return { plane: { stats: () => zeroStats } as unknown as VolumePlane, close };
  }
}
