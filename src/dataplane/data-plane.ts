/**
 * The data plane behind one interface: promises for verbs, listeners for what it says by itself.
 *
 * Guarantees: events reach their listener in the order in which the data plane made them; a verb's promise settles
 * after every event that came before its end has been handed out. No block data of the serving path
 * passes here; `read`, `write` of disks and volumes are for labels, checkpoints, image work and tests.
 */
import { invariant, StorageError } from '../base/errors.ts';
import {
  type Addon,
  type ClientStats,
  type CopyOutMode,
  type DataPlaneEvent,
  type DiskCondition,
  type DiskPath,
  type DiskSpec,
  type ExportSpec,
  type FoundTarget,
  type Handle,
  type IscsiSpec,
  type LaggingReplica,
  loadAddon,
  type NfsSpec,
  type PoolSpec,
  type RegionAnswer,
  type StartOptions,
  type Token,
  type VolumeSpec,
  type VolumeStats,
} from './binding.ts';

type Done = Extract<DataPlaneEvent, { kind: 'done' }>;
export type DurableEvent = Extract<DataPlaneEvent, { kind: 'durable' }>;

/** A slot whose old content is to be moved away; the head owns no cluster there, and those zeroes. */
export type CowWanted = Pick<
  Extract<DataPlaneEvent, { kind: 'cow-wanted' }>,
  'slot' | 'zero' | 'era'
>;

/** What a pool's owner is told. Called synchronously, in order; must not throw. */
export interface PoolListener {
  durable(event: DurableEvent): void;
  /** Clusters released by records up to `sequence` may be reused or discarded. */
  safe(sequence: number): void;
  regionWanted(volume: Handle, region: number): void;
  /** A writer waits until the old content of that slot lies elsewhere; void when the volume's plane is in a later era. */
  cowWanted(volume: Handle, wanted: CowWanted): void;
  grantLow(group: number, clusters: number): void;
  /** A guest's write is held for want of space, and no other of its group is. */
  writerHeld(): void;
  journalFull(): void;
  replicasLag(replicas: readonly LaggingReplica[]): void;
  diskError(disk: number, error: number, message: string): void;
  failed(error: number, message: string): void;
}

/** The paths as they are now, all of them. Must not throw. */
export type DiskPathListener = (paths: readonly DiskPath[]) => void;

export interface ClientListener {
  connected(client: number, exportName: string, address: string): void;
  disconnected(client: number, exportName: string, reason: string): void;
}

const ESHUTDOWN = 108;

/** The operating system's or the data plane's error, with its errno name as `code`. */
export class DataPlaneError extends Error {
  override readonly name = 'DataPlaneError';
  constructor(
    readonly errno: number,
    message: string,
  ) {
    super(message);
  }
}

interface Pending {
  resolve(done: Done): void;
  reject(error: Error): void;
}

export const defaultStartOptions: StartOptions = {
  loops: 2,
  backend: 'auto',
  bufferBytes: 256 * 1024 * 1024,
  mapBytes: 512 * 1024 * 1024,
};

export class DataPlane {
  readonly #addon: Addon;
  readonly #pending = new Map<Token, Pending>();
  readonly #pools = new Map<Handle, PoolListener>();
  readonly #poolOfVolume = new Map<Handle, Handle>();
  readonly #patientDisks = new Map<Handle, PatientDiskPlane>();
  /** A pool may speak before its `open` promise has run its continuation. */
  #openingPools = new Map<Token, PoolListener>();
  #openingVolumes = new Map<Token, Handle>();
  #clients: ClientListener | undefined;
  /** Told before the disk's opening is done. */
  readonly #diskPaths = new Map<Handle, readonly DiskPath[]>();
  readonly #pathListeners = new Map<Handle, DiskPathListener>();
  #nextToken = 1;
  #isStopped = false;
  readonly backend: string;
  /** Of `Latency.counts`; see Addon.latencyBounds. */
  readonly latencyBounds: Float64Array;

  constructor(options: Partial<StartOptions> = {}) {
    this.#addon = loadAddon();
    this.backend = this.#addon.start({ ...defaultStartOptions, ...options }, (batch) => {
      for (const event of batch) this.#dispatch(event);
    });
    this.latencyBounds = this.#addon.latencyBounds();
  }

  /** Stops the loops. Everything opened must be closed. */
  stop(): void {
    invariant(this.#pools.size === 0, 'every pool is closed before the data plane stops');
    this.#isStopped = true;
    this.#addon.stop();
  }

  onClients(listener: ClientListener): void {
    this.#clients = listener;
  }

  /** @internal */
  diskPaths(disk: Handle): readonly DiskPath[] {
    return this.#diskPaths.get(disk) ?? [];
  }

  /** @internal */
  onDiskPaths(disk: Handle, listener: DiskPathListener): void {
    this.#pathListeners.set(disk, listener);
  }

  /** @internal */
  forgetDisk(disk: Handle): void {
    this.#diskPaths.delete(disk);
    this.#pathListeners.delete(disk);
  }

  async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const done = await this.#call((token) => this.#addon.openDisk(token, spec));
    invariant(done.data !== undefined, 'openDisk tells the size');
    const identity = new TextDecoder().decode(done.data.subarray(8));
    return new DiskPlane(this, done.value, readU64(done.data), identity);
  }

  /** What an iSCSI portal offers. */
  async scanIscsi(spec: IscsiSpec): Promise<readonly FoundTarget[]> {
    const done = await this.#call((token) => this.#addon.scanIscsi(token, spec));
    return done.targets ?? [];
  }

  /** Makes a sparse file on an NFS server; none is left when it fails. */
  async createNfsFile(spec: NfsSpec, sizeBytes: number): Promise<void> {
    await this.#call((token) => this.#addon.createNfsFile(token, spec, sizeBytes));
  }

  async removeNfsFile(spec: NfsSpec): Promise<void> {
    await this.#call((token) => this.#addon.removeNfsFile(token, spec));
  }

  /** The exports of a server, as folders; whatever `spec.path` says. */
  async listNfsExports(spec: NfsSpec): Promise<NfsEntry[]> {
    const done = await this.#call((token) => this.#addon.listNfsExports(token, spec));
    return decodeEntries(done.data);
  }

  /** Files and folders in the folder `spec.path`. */
  async listNfsFolder(spec: NfsSpec): Promise<NfsEntry[]> {
    const done = await this.#call((token) => this.#addon.listNfsFolder(token, spec));
    return decodeEntries(done.data);
  }

  /** Wraps an open disk, which is closed with it; see native/io/patient_disk.h. */
  async openPatientDisk(inner: DiskPlane, patienceMs: number): Promise<PatientDiskPlane> {
    const spec: DiskSpec = { kind: 'patient', inner: inner.handle, patienceMs };
    const { value } = await this.#call((token) => this.#addon.openDisk(token, spec));
    const disk = new PatientDiskPlane(this, value, inner, patienceMs);
    this.#patientDisks.set(value, disk);
    return disk;
  }

  async openPool(spec: PoolSpec, listener: PoolListener): Promise<PoolPlane> {
    const done = await this.#call((token) => {
      this.#openingPools.set(token, listener);
      this.#addon.openPool(token, spec);
    });
    return new PoolPlane(this, done.value);
  }

  /** The clock of leases, see Addon.bootTimeMs. */
  bootTimeMs(): number {
    return this.#addon.bootTimeMs();
  }

  /** @param untilMs of bootTimeMs */
  openLease(untilMs: number): LeasePlane {
    return new LeasePlane(this, this.#addon.openLease(untilMs));
  }

  /** @returns the listener; `port` is the one in use for TCP. */
  async listen(spec: { path?: string; host?: string; port?: number }): Promise<ListenerPlane> {
    const done = await this.#call((token) => this.#addon.listen(token, spec));
    const port = done.data ? readU64(done.data) : 0;
    return new ListenerPlane(this, done.value, port);
  }

  addExport(volume: VolumePlane, listeners: readonly ListenerPlane[], spec: ExportSpec): void {
    this.#addon.addExport(
      volume.handle,
      listeners.map((listener) => listener.handle),
      spec,
    );
  }

  /** Serves a whole disk as it is. The disk must stay open until `removeExport` has ended. */
  addDiskExport(disk: DiskPlane, listeners: readonly ListenerPlane[], spec: ExportSpec): void {
    this.#addon.addDiskExport(
      disk.handle,
      listeners.map((listener) => listener.handle),
      spec,
    );
  }

  /** @param options.abort clients get no answer any more @returns how many were connected. */
  async removeExport(name: string, { abort = false } = {}): Promise<number> {
    return (await this.#call((token) => this.#addon.removeExport(token, name, abort))).value;
  }

  /** Clients stay connected, and their requests wait. Resolves when none of them is under way. */
  async pauseExport(name: string): Promise<void> {
    await this.#call((token) => this.#addon.pauseExport(token, name));
  }

  /** @param volume serves the same bytes from now on; null: what was served before */
  async resumeExport(name: string, volume: VolumePlane | null): Promise<void> {
    const handle = volume?.handle ?? null;
    await this.#call((token) => this.#addon.resumeExport(token, name, handle));
  }

  clients(): ClientStats[] {
    return this.#addon.clients();
  }

  /** @internal for the handle classes of this file. */
  get addon(): Addon {
    return this.#addon;
  }

  /** @internal */
  call(start: (token: Token) => void): Promise<Done> {
    return this.#call(start);
  }

  /** @internal */
  openVolume(pool: Handle, spec: VolumeSpec): Promise<Done> {
    return this.#call((token) => {
      this.#openingVolumes.set(token, pool);
      this.#addon.openVolume(token, pool, spec);
    });
  }

  /** @internal */
  forgetPatientDisk(disk: Handle): void {
    this.#patientDisks.delete(disk);
  }

  /** @internal */
  forgetVolume(volume: Handle): void {
    this.#poolOfVolume.delete(volume);
  }

  /** @internal */
  isPoolOpen(pool: Handle): boolean {
    return this.#pools.has(pool);
  }

  #call(start: (token: Token) => void): Promise<Done> {
    const token = this.#nextToken++;
    return new Promise<Done>((resolve, reject) => {
      if (this.#isStopped) throw new DataPlaneError(ESHUTDOWN, 'the data plane has stopped');
      // Throws when it names what is closed; nothing ends then.
      start(token);
      this.#pending.set(token, { resolve, reject });
    });
  }

  #dispatch(event: DataPlaneEvent): void {
    switch (event.kind) {
      case 'done':
        return this.#settle(event);
      case 'durable':
        return this.#pools.get(event.pool)?.durable(event);
      case 'safe':
        return this.#pools.get(event.pool)?.safe(event.sequence);
      case 'region-wanted': {
        const pool = this.#poolOfVolume.get(event.volume);
        if (pool !== undefined) this.#pools.get(pool)?.regionWanted(event.volume, event.region);
        return;
      }
      case 'cow-wanted': {
        const pool = this.#poolOfVolume.get(event.volume);
        if (pool !== undefined) this.#pools.get(pool)?.cowWanted(event.volume, event);
        return;
      }
      case 'grant-low':
        return this.#pools.get(event.pool)?.grantLow(event.group, event.clusters);
      case 'writer-held':
        return this.#pools.get(event.pool)?.writerHeld();
      case 'journal-full':
        return this.#pools.get(event.pool)?.journalFull();
      case 'replicas-lag':
        return this.#pools.get(event.pool)?.replicasLag(event.replicas);
      case 'disk-paths':
        this.#diskPaths.set(event.disk, event.paths);
        return this.#pathListeners.get(event.disk)?.(event.paths);
      case 'disk-condition':
        return this.#patientDisks.get(event.disk)?.tell(event);
      case 'disk-error':
        return this.#pools.get(event.pool)?.diskError(event.disk, event.error, event.message);
      case 'pool-failed':
        return this.#pools.get(event.pool)?.failed(event.error, event.message);
      case 'pool-closed':
        this.#pools.delete(event.pool);
        return;
      case 'client-connected':
        return this.#clients?.connected(event.client, event.export, event.address);
      case 'client-disconnected':
        return this.#clients?.disconnected(event.client, event.export, event.reason);
    }
  }

  #settle(done: Done): void {
    const pending = this.#pending.get(done.token);
    invariant(pending !== undefined, `token ${done.token} was waited for`);
    this.#pending.delete(done.token);
    const listener = this.#openingPools.get(done.token);
    const poolOfVolume = this.#openingVolumes.get(done.token);
    this.#openingPools.delete(done.token);
    this.#openingVolumes.delete(done.token);
    if (done.error !== 0) {
      pending.reject(new DataPlaneError(done.error, done.message));
      return;
    }
    if (listener) this.#pools.set(done.value, listener);
    if (poolOfVolume !== undefined) this.#poolOfVolume.set(done.value, poolOfVolume);
    pending.resolve(done);
  }
}

export interface ByteRun {
  readonly offset: number;
  readonly length: number;
}

/** What an NFS server has. */
export interface NfsEntry {
  readonly name: string;
  readonly isFolder: boolean;
  readonly sizeBytes: number;
}

/** How many groups the grant has (native/volume/pool.h). */
export const grantGroups = 64;

/** An open backing disk. Offsets and lengths in bytes. */
export class DiskPlane {
  #afterClose: () => Promise<void> = async () => {};

  constructor(
    readonly plane: DataPlane,
    readonly handle: Handle,
    /** When it was opened, or what `measure` found more since. */
    public sizeBytes: number,
    /** Of a network disk: the same for every way to the same disk. Empty for others. */
    readonly identity = '',
  ) {}

  async read(offset: number, length: number): Promise<Uint8Array> {
    const done = await this.plane.call((token) =>
      this.plane.addon.diskRead(token, this.handle, offset, length),
    );
    invariant(done.data !== undefined, 'a read brings data');
    return done.data;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.plane.call((token) => this.plane.addon.diskWrite(token, this.handle, offset, data));
  }

  /** Durable when it resolves; see Addon.diskWriteLabel. @throws DataPlaneError ETIME `untilMs` of bootTimeMs was over */
  async writeLabel(offset: number, label: Uint8Array, untilMs: number): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.diskWriteLabel(token, this.handle, offset, label, untilMs),
    );
  }

  /** Everything written before is on stable storage. A failure is final for this opening of the disk. */
  async sync(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.diskSync(token, this.handle));
  }

  /** Gives the ranges' space back; `runs`: offset, length, … */
  async discard(runs: readonly number[]): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.diskDiscard(token, this.handle, Float64Array.from(runs)),
    );
  }

  /** The range reads as zero afterwards. */
  async zero(offset: number, length: number): Promise<void> {
    await this.plane.call((token) => this.plane.addon.diskZero(token, this.handle, offset, length));
  }

  /** Where in the range there may be something other than zeroes; `searchedBytes` of it were looked through. */
  async findData(
    offset: number,
    length: number,
  ): Promise<{ readonly runs: readonly ByteRun[]; readonly searchedBytes: number }> {
    const done = await this.plane.call((token) =>
      this.plane.addon.diskFindData(token, this.handle, offset, length),
    );
    const runs = decodePairs(done.data).map(([at, bytes]) => ({ offset: at, length: bytes }));
    return { runs, searchedBytes: done.value };
  }

  /** The portals of an iSCSI disk, as they are now; none for any other. */
  get paths(): readonly DiskPath[] {
    return this.plane.diskPaths(this.handle);
  }

  /** `listener` is told of each change in `paths`. One listener. */
  onPaths(listener: DiskPathListener): void {
    this.plane.onDiskPaths(this.handle, listener);
  }

  /** How large the disk is now; it may be used up to there. */
  async measure(): Promise<number> {
    const done = await this.plane.call((token) => this.plane.addon.diskMeasure(token, this.handle));
    this.sizeBytes = Math.max(this.sizeBytes, done.value);
    return done.value;
  }

  /** `work` runs when the disk was closed, in its closing. One. */
  onClosed(work: () => Promise<void>): void {
    this.#afterClose = work;
  }

  async close(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.closeDisk(token, this.handle));
    this.plane.forgetDisk(this.handle);
    await this.#afterClose();
  }
}

const onlineCondition: DiskCondition = {
  state: 'online',
  error: 0,
  message: '',
  failingMs: 0,
  patienceLeftMs: 0,
  held: 0,
};

const openingLookMs = 500;

/** A disk whose faults are waited out for a while (native/io/patient_disk.h). */
export class PatientDiskPlane extends DiskPlane {
  #listener: (condition: DiskCondition) => void = () => {};
  #patienceMs: number;
  #opening: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param inner the disk without the patience, for what must not wait: closed with this one */
  constructor(
    plane: DataPlane,
    handle: Handle,
    readonly inner: DiskPlane,
    patienceMs: number,
  ) {
    super(plane, handle, inner.sizeBytes, inner.identity);
    this.#patienceMs = patienceMs;
  }

  override get paths(): readonly DiskPath[] {
    return this.inner.paths;
  }

  override onPaths(listener: DiskPathListener): void {
    this.inner.onPaths(listener);
  }

  /** `listener` is told of each change of state. One listener. */
  onCondition(listener: (condition: DiskCondition) => void): void {
    this.#listener = listener;
  }

  /** Online once it is closed. */
  get condition(): DiskCondition {
    if (this.#closed) return onlineCondition;
    return this.plane.addon.diskCondition(this.handle);
  }

  /** Whether it is waited for at all. */
  get isPatient(): boolean {
    return !this.#closed && this.#patienceMs > 0;
  }

  /**
   * Until `setPatience` is called the patience ends everything, also what otherwise waits for as long as it takes (a sync that found no connection,
   * native/io/patient_disk.h): nobody was told yet that it is safe.
   */
  beginOpening(): void {
    if (this.#patienceMs === 0) return;
    this.#opening = setInterval(() => {
      const { state, failingMs } = this.condition;
      if (state !== 'online' && failingMs >= this.#patienceMs) this.surrender();
    }, openingLookMs);
    this.#opening.unref();
  }

  setPatience(patienceMs: number): void {
    clearInterval(this.#opening);
    this.#patienceMs = patienceMs;
    if (!this.#closed) this.plane.addon.diskPatience(this.handle, patienceMs);
  }

  /** Nothing waits for the disk any more: what it holds fails now. Before closing. */
  surrender(): void {
    if (!this.#closed) this.plane.addon.diskSurrender(this.handle);
  }

  override async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#opening);
    this.plane.forgetPatientDisk(this.handle);
    await super.close();
    await this.inner.close();
  }

  /** @internal */
  tell(condition: DiskCondition): void {
    this.#listener(condition);
  }
}

/** Until when the disks of a pool may be used. Times are of DataPlane.bootTimeMs. */
export class LeasePlane {
  constructor(
    readonly plane: DataPlane,
    readonly handle: Handle,
  ) {}

  /** The disk heeds the lease from now on. */
  cover(disk: DiskPlane): void {
    this.plane.addon.leaseDisk(this.handle, disk.handle);
  }

  renew(untilMs: number): void {
    this.plane.addon.renewLease(this.handle, untilMs);
  }

  /** See Addon.endLease. */
  end(options: { readonly fenced: boolean }): void {
    this.plane.addon.endLease(this.handle, options.fenced);
  }

  close(): void {
    this.plane.addon.closeLease(this.handle);
  }
}

/** A pool open in the data plane: the journal, the grants and the volumes. */
export class PoolPlane {
  constructor(
    readonly plane: DataPlane,
    readonly handle: Handle,
  ) {}

  /** False as soon as the data plane has let go of the pool: nothing is said to it any more. */
  get isOpen(): boolean {
    return this.plane.isPoolOpen(this.handle);
  }

  addDisk(disk: DiskPlane, number: number): void {
    this.plane.addon.addPoolDisk(this.handle, disk.handle, number);
  }

  /** See Addon.removePoolDisk. */
  async removeDisk(number: number): Promise<void> {
    await this.plane.call((token) => this.plane.addon.removePoolDisk(token, this.handle, number));
  }

  /** See Addon.beginReplica. */
  async beginReplica(number: number, offset: number): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.beginReplica(token, this.handle, number, offset),
    );
  }

  /** See Addon.endReplica. */
  async endReplica(number: number): Promise<void> {
    await this.plane.call((token) => this.plane.addon.endReplica(token, this.handle, number));
  }

  /** Appends one batch; resolves when it is durable on every replica, after its `durable` event. @returns its sequence. */
  async appendBatch(payload: Uint8Array): Promise<number> {
    const done = await this.plane.call((token) =>
      this.plane.addon.journalAppend(token, this.handle, 2, payload),
    );
    return done.value;
  }

  trim(tail: number): void {
    this.plane.addon.journalTrim(this.handle, tail);
  }

  /** Hands free clusters over; `runs`: disk number, first cluster, count, … */
  grant(runs: readonly number[], group = 0): void {
    this.plane.addon.grant(this.handle, Float64Array.from(runs), group);
  }

  /** Takes everything of one disk away again that nobody uses; as in `grant`. */
  takeBackDisk(number: number): readonly number[] {
    return [...this.plane.addon.takeBackDisk(this.handle, number)];
  }

  /** See Addon.grantExhausted. */
  grantExhausted(group: number, options: { readonly hold: boolean }): void {
    this.plane.addon.grantExhausted(this.handle, group, options.hold);
  }

  /** Requests of guests that are held for want of space. */
  get heldWriters(): number {
    return this.plane.addon.heldWriters(this.handle);
  }

  /** Stops writing at once, see Addon.failPool. */
  fail(errno: number, options: { readonly fenced: boolean }): void {
    this.plane.addon.failPool(this.handle, errno, options.fenced);
  }

  async flush(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.poolFlush(token, this.handle));
  }

  /** What guests of the pool waited for so far. */
  latencies(): Latencies {
    const numbers = this.plane.addon.poolLatencies(this.handle);
    const bounds = this.plane.latencyBounds;
    const ofKind = (kind: number): Latency => {
      const first = kind * (bounds.length + 1);
      const end = first + bounds.length;
      return { counts: numbers.subarray(first, end), seconds: numbers[end] as number };
    };
    return { read: ofKind(0), write: ofKind(1), flush: ofKind(2) };
  }

  /** How hard copies go at the disks, from the next one on. `gentle`: so that a guest's request meets little of them. */
  setCopyEffort(effort: 'gentle' | 'full'): void {
    this.plane.addon.setCopyEffort(this.handle, effort === 'gentle');
  }

  /** From the disks of `source`, which may be this pool, to ours; see Addon.copyRuns. */
  async copyRuns(source: PoolPlane, runs: readonly number[]): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.copyRuns(token, source.handle, this.handle, Float64Array.from(runs)),
    );
  }

  /** `clusters`: disk, cluster, mask of sub-blocks, …; in their order. See Addon.hashClusters. */
  async hashClusters(clusters: readonly number[]): Promise<ClusterHash[]> {
    const done = await this.plane.call((token) =>
      this.plane.addon.hashClusters(token, this.handle, Float64Array.from(clusters)),
    );
    return decodeHashes(done.data ?? new Uint8Array());
  }

  /** Resolves when every request admitted before has ended. */
  async grace(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.grace(token, this.handle));
  }

  async openVolume(spec: VolumeSpec): Promise<VolumePlane> {
    const done = await this.plane.openVolume(this.handle, spec);
    return new VolumePlane(this.plane, done.value);
  }

  async close(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.closePool(token, this.handle));
  }
}

/** What the content of a cluster hashes to, as two words; `error`: an errno when it cannot be read, else 0. */
export interface ClusterHash {
  readonly hashHi: number;
  readonly hashLo: number;
  readonly error: number;
}

function decodeHashes(data: Uint8Array): ClusterHash[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: data.length / 16 }, (_, n) => ({
    hashLo: view.getUint32(16 * n, true),
    hashHi: view.getUint32(16 * n + 4, true),
    error: view.getUint32(16 * n + 8, true),
  }));
}

/** Of requests that took less than each bound, and not less than the one before: how many. All numbers only grow. */
export interface Latency {
  readonly counts: Float64Array;
  /** Of all requests together. */
  readonly seconds: number;
}

/** `flush`: writes with FUA, too. */
export interface Latencies {
  readonly read: Latency;
  readonly write: Latency;
  readonly flush: Latency;
}

/** A head's own states: words (lo, hi) and zero masks, as in format/slot-states.ts. */
export interface HeadStates {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly zeros: Uint16Array<ArrayBuffer>;
}

/** By the data plane's number. */
const relocationOutcomes = ['moved', 'busy', 'gone'] as const;
export type RelocationOutcome = (typeof relocationOutcomes)[number];

export interface MapExtent {
  readonly length: number;
  /** No space is held for it. */
  readonly hole: boolean;
  /** Reads as zero. */
  readonly zero: boolean;
}

/** An open volume. Offsets and lengths in bytes, any alignment. */
export class VolumePlane {
  /** Grows whenever the map is forgotten; what was asked for before is void then. */
  era = 0;

  constructor(
    readonly plane: DataPlane,
    readonly handle: Handle,
  ) {}

  /** Answers `regionWanted`, see Addon.installRegion. */
  installRegion(region: number, answer: RegionAnswer): void {
    this.plane.addon.installRegion(this.handle, region, answer);
  }

  regionFailed(region: number): void {
    this.plane.addon.regionFailed(this.handle, region);
  }

  resize(sizeBytes: number): void {
    this.plane.addon.resizeVolume(this.handle, sizeBytes);
  }

  /** Gives every cluster of the range a place, without writing it. */
  async provision(offset: number, length: number): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.volumeProvision(token, this.handle, offset, length),
    );
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const done = await this.plane.call((token) =>
      this.plane.addon.volumeRead(token, this.handle, offset, length),
    );
    invariant(done.data !== undefined, 'a read brings data');
    return done.data;
  }

  async write(offset: number, data: Uint8Array, options: { fua?: boolean } = {}): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.volumeWrite(token, this.handle, offset, data, options.fua ?? false),
    );
  }

  /** The range reads as zero and, where whole sub-blocks allow, gives its space back. */
  async zero(offset: number, length: number): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.volumeZero(token, this.handle, offset, length, false),
    );
  }

  /** Whole sub-blocks of the range read as zero and give their space back. */
  async trim(offset: number, length: number): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.volumeZero(token, this.handle, offset, length, true),
    );
  }

  async flush(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.volumeFlush(token, this.handle));
  }

  /** Runs in one state from `offset` on; may cover less than asked. */
  async map(offset: number, length: number): Promise<MapExtent[]> {
    const done = await this.plane.call((token) =>
      this.plane.addon.volumeMap(token, this.handle, offset, length),
    );
    invariant(done.data !== undefined, 'a map brings extents');
    return decodeExtents(done.data);
  }

  /** See Addon.volumeCopyOut. */
  async copyOut(disk: DiskPlane, { offset, length }: ByteRun, mode: CopyOutMode): Promise<void> {
    await this.plane.call((token) =>
      this.plane.addon.volumeCopyOut(token, this.handle, disk.handle, offset, length, mode),
    );
  }

  stats(): VolumeStats {
    return this.plane.addon.volumeStats(this.handle);
  }

  /** New writes wait from now on; resolves when those under way have ended. `resume` must follow. */
  async hold(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.holdVolume(token, this.handle));
  }

  /** See Addon.swapHead; between `hold` and `resume`. */
  swapHead(layer: number, options: { readonly inherit: boolean }): void {
    this.plane.addon.swapHead(this.handle, layer, options.inherit);
    if (!options.inherit) this.era += 1;
  }

  resume(): void {
    this.plane.addon.resumeVolume(this.handle);
  }

  setGrantGroup(group: number): void {
    this.plane.addon.setGrantGroup(this.handle, group);
  }

  setCopyOnWrite(on: boolean): void {
    this.plane.addon.setCopyOnWrite(this.handle, on);
  }

  /** The head's own states of those slots of one region, which nobody changes until `unlockSlots`. */
  async lockSlots(first: number, count: number): Promise<HeadStates> {
    const done = await this.plane.call((token) =>
      this.plane.addon.lockSlots(token, this.handle, first, count),
    );
    invariant(done.data !== undefined, 'a lock brings states');
    return decodeSlots(done.data, count);
  }

  /** Ends a lock; `patches` and `forgetBelow` as in Addon.unlockSlots. */
  unlockSlots(
    range: { readonly first: number; readonly count: number },
    patches: ArrayLike<number> = [],
    options: { readonly forgetBelow: boolean } = { forgetBelow: false },
  ): void {
    const { first, count } = range;
    const words = new Uint32Array(patches);
    this.plane.addon.unlockSlots(this.handle, first, count, words, options.forgetBelow);
  }

  failSlot(slot: number, errno: number): void {
    this.plane.addon.failSlot(this.handle, slot, errno);
  }

  /** See Addon.repoint. */
  repoint(moves: readonly number[]): void {
    this.plane.addon.repoint(this.handle, Float64Array.from(moves));
  }

  /** What became of each move, in order; see Addon.relocate. */
  async relocate(
    moves: readonly number[],
    options: { readonly holdWriters: boolean },
  ): Promise<RelocationOutcome[]> {
    const done = await this.plane.call((token) =>
      this.plane.addon.relocate(token, this.handle, Float64Array.from(moves), options.holdWriters),
    );
    invariant(done.data !== undefined, 'a relocation brings outcomes');
    return [...done.data].map((outcome) => relocationOutcomes[outcome] as RelocationOutcome);
  }

  async close(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.closeVolume(token, this.handle));
    this.plane.forgetVolume(this.handle);
  }
}

/** A socket that NBD clients connect to. */
export class ListenerPlane {
  constructor(
    readonly plane: DataPlane,
    readonly handle: Handle,
    readonly port: number,
  ) {}

  async close(): Promise<void> {
    await this.plane.call((token) => this.plane.addon.closeListener(token, this.handle));
  }
}

/** The error of a disk operation, for people: which disk, what happened. */
export function diskIoError(uri: string, cause: unknown): StorageError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StorageError('disk/io', `disk ${uri}: ${reason}`, { cause });
}

function readU64(data: Uint8Array): number {
  return Number(new DataView(data.buffer, data.byteOffset, data.byteLength).getBigUint64(0, true));
}

/** count u64 states, then count u16 zero masks. */
function decodeSlots(data: Uint8Array, count: number): HeadStates {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const states: HeadStates = {
    words: new Uint32Array(2 * count),
    zeros: new Uint16Array(count),
  };
  for (let at = 0; at < 2 * count; at++) states.words[at] = view.getUint32(4 * at, true);
  for (let at = 0; at < count; at++) states.zeros[at] = view.getUint16(8 * count + 2 * at, true);
  return states;
}

/** Per entry 1 byte (1: a folder), u64 size, the name, a zero byte; nothing for no entry. */
function decodeEntries(data: Uint8Array = new Uint8Array(0)): NfsEntry[] {
  const entries: NfsEntry[] = [];
  for (let at = 0; at < data.length; ) {
    const end = data.indexOf(0, at + 9);
    entries.push({
      isFolder: data[at] === 1,
      sizeBytes: readU64(data.subarray(at + 1, at + 9)),
      name: new TextDecoder().decode(data.subarray(at + 9, end)),
    });
    at = end + 1;
  }
  return entries;
}

function decodeExtents(data: Uint8Array): MapExtent[] {
  return decodePairs(data).map(([length, flags]) => ({
    length,
    hole: (flags & 1) !== 0,
    zero: (flags & 2) !== 0,
  }));
}

/** u64 pairs; no data is none. */
function decodePairs(data: Uint8Array | undefined): [number, number][] {
  if (data === undefined) return [];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const pairs: [number, number][] = [];
  for (let at = 0; at < data.byteLength; at += 16) {
    pairs.push([Number(view.getBigUint64(at, true)), Number(view.getBigUint64(at + 8, true))]);
  }
  return pairs;
}
