/**
 * Pool: an open pool of backing disks, and the one place where its metadata changes.
 *
 *   online → failed          failed and closed are final; a failed pool answers pool/failed
 *      └────────┴→ closed
 *
 * What the data plane reports durable is applied in order, at once and in memory; index, checkpoint, grants and lease follow
 * in the background. Metadata changes are batches: `commit` resolves when one is durable and applied.
 * Elsewhere: opening (recovery.ts), names and lists of pools (pools.ts), what records mean (src/volume, src/export).
 */
import type { Clock } from '../base/clock.ts';
import { invariant, StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type {
  DataPlane,
  DurableEvent,
  PoolListener,
  PoolPlane,
  VolumePlane,
} from '../dataplane/data-plane.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { DiskSet, PoolDisk } from './disk-set.ts';
import { type BatchOp, encodeBatch } from './format/batch.ts';
import { uuidBytes } from './format/bytes.ts';
import { recordKey } from './format/index-keys.ts';
import type { Label } from './format/label.ts';
import { Grants } from './grants.ts';
import { recordPayloadLimit } from './journal-replay.ts';
import { beat, heartbeatIntervalMs } from './lease.ts';
import type { PoolFolder } from './lineage.ts';
import { Maintenance } from './maintenance.ts';
import { OpenVolumes, type VolumeToOpen } from './open-volumes.ts';
import type { PoolIndex } from './pool-index.ts';
import { describeDisk, describePool, type PoolDescription } from './pool-info.ts';
import { encodeJson, type PoolState } from './pool-state.ts';
import type { RecoveredPool } from './recovery.ts';
import type { DiskInfo, EmitEvent, PoolInfo, PoolWarning } from './types.ts';

export interface PoolServices {
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly log: Log;
  readonly emit: EmitEvent;
  readonly flushWindowMs: number;
}

/** `R pool`. */
export interface PoolRecord {
  readonly createdAt: string;
}

/** `R disk/<number>`. */
export interface DiskRecord {
  readonly number: number;
  readonly uuid: string;
  /** Where it was when it was added: helps to find it, nothing more. */
  readonly uri: string;
}

/** The put of a record. */
export function putRecord(name: string, value: unknown): BatchOp {
  return { op: 'put', key: recordKey(name), value: encodeJson(value) };
}

export function deleteRecord(name: string): BatchOp {
  return { op: 'delete', key: recordKey(name) };
}

export class Pool {
  readonly #services: PoolServices;
  readonly #folder: PoolFolder;
  readonly #disks: DiskSet;
  readonly #index: PoolIndex;
  readonly #checkpointer: Checkpointer;
  readonly #state: PoolState;
  readonly #epoch: number;
  readonly #warnings = new Map<string, PoolWarning>();
  /** Batches on their way, in the order in which they become durable. */
  readonly #committing: (readonly BatchOp[])[] = [];
  #plane!: PoolPlane;
  #grants!: Grants;
  #maintenance!: Maintenance;
  #volumes!: OpenVolumes;
  #stopHeartbeat: () => void = () => {};
  #beating: Promise<void> = Promise.resolve();
  #failure: string | undefined;
  #closing: Promise<void> | undefined;
  #planeOpen = false;

  private constructor(recovered: RecoveredPool, services: PoolServices) {
    this.#services = services;
    this.#folder = recovered.folder;
    this.#disks = recovered.disks;
    this.#index = recovered.index;
    this.#checkpointer = recovered.checkpointer;
    this.#state = recovered.index.state;
    this.#epoch = recovered.lineage.epoch;
  }

  /** Hands a recovered pool to the data plane. @throws StorageError disk/io; everything is closed then */
  static async start(recovered: RecoveredPool, services: PoolServices): Promise<Pool> {
    const pool = new Pool(recovered, services);
    try {
      await pool.#start(recovered);
      return pool;
    } catch (error) {
      pool.#fail(messageOf(error));
      await pool.close();
      throw error;
    }
  }

  get name(): string {
    return this.#label.poolName;
  }

  get uuid(): string {
    return this.#label.poolUuid;
  }

  get clusterBytes(): number {
    return this.#label.clusterBytes;
  }

  /** Bytes that data can still take. */
  get freeBytes(): number {
    return this.info().freeBytes;
  }

  get disks(): readonly PoolDisk[] {
    return this.#disks.all;
  }

  get index(): PoolIndex {
    return this.#index;
  }

  info(): PoolInfo {
    return describePool(this.#description());
  }

  diskInfo(number: number): DiskInfo {
    const disk = this.#disks.byNumber(number);
    invariant(disk !== undefined, `disk ${number} belongs to the pool`);
    return describeDisk(disk, this.#description());
  }

  /** @returns undefined when there is no such record */
  record<T>(name: string): T | undefined {
    return this.#state.record(name) as T | undefined;
  }

  /** The records whose names begin with `prefix`. */
  records<T>(prefix: string): readonly T[] {
    return this.#state.records(prefix).map(([, value]) => value as T);
  }

  /** Clusters that a layer owns. */
  clustersOf(layer: number): number {
    return this.#state.clustersOf(layer);
  }

  /** The largest batch `commit` takes, in bytes. */
  get batchBytesMax(): number {
    return recordPayloadLimit(this.#journalBytes);
  }

  /**
   * Makes a batch durable and applies it: all of it or, after a crash, none.
   *
   * @returns its sequence in the journal
   * @throws StorageError pool/failed
   */
  async commit(ops: readonly BatchOp[]): Promise<number> {
    this.expectOnline();
    const payload = encodeBatch(ops);
    invariant(payload.length <= this.batchBytesMax, 'a batch fits a quarter of the ring');
    this.#committing.push(ops);
    try {
      return await this.#plane.append('batch', payload);
    } catch (cause) {
      throw this.#failedError(cause);
    }
  }

  /** Opens a volume in the data plane, or joins whoever has it open. `closeVolume` once per call. */
  async openVolume(volume: VolumeToOpen): Promise<VolumePlane> {
    this.expectOnline();
    return this.#volumes.open(volume);
  }

  closeVolume(id: number): Promise<void> {
    return this.#volumes.close(id);
  }

  isVolumeOpen(id: number): boolean {
    return this.#volumes.isOpen(id);
  }

  /** Tells the data plane of a volume's new size; nothing when it is not open. */
  volumeResized(id: number, sizeBytes: number): void {
    this.#volumes.resize(id, sizeBytes);
  }

  /** Everything written so far is durable. @throws StorageError pool/failed */
  async flush(): Promise<void> {
    this.expectOnline();
    try {
      await this.#plane.flush();
    } catch (cause) {
      throw this.#failedError(cause);
    }
  }

  /**
   * Takes a labelled disk into the pool while it serves; its clusters are used at once.
   *
   * Disks added here carry no replica of the journal: a ring cannot be begun in the middle of a life.
   * After a crash the disk belongs to the pool when its record is durable, or when it is named at the next opening.
   */
  async addDisk(disk: PoolDisk): Promise<DiskInfo> {
    const { label } = disk;
    const number = label.diskNumber;
    this.#plane.addDisk(disk.plane, number);
    await this.commit([diskRecordOp(disk)]);
    this.#disks.add(disk);
    this.#state.allocator.addDisk({ ...label, number, journal: false });
    await this.#disks.writeLabels(() => ({ diskCount: this.#disks.all.length }));
    this.#grants.spaceFreed();
    return this.diskInfo(number);
  }

  /** The label that a disk joining now must carry. */
  labelForNewDisk(
    geometry: Pick<Label, 'diskUuid' | 'diskBytes' | 'clusterCount' | 'firstCluster'>,
  ): Label {
    return {
      ...this.#label,
      ...geometry,
      generation: 0,
      diskNumber: this.#disks.all.length,
      diskCount: this.#disks.all.length + 1,
      journalOffset: 0,
      journalBytes: 0,
      checkpoint: null,
      heartbeatMs: this.#services.clock.nowMs(),
    };
  }

  /** @throws StorageError pool/failed */
  expectOnline(): void {
    if (this.#failure !== undefined) throw this.#failedError(undefined);
    if (this.#closing !== undefined) {
      throw new StorageError('service/stopping', `pool ${this.name} is being closed`);
    }
  }

  /** @throws StorageError export/busy somebody has a volume open */
  expectUnused(): void {
    if (this.#volumes.count === 0) return;
    throw new StorageError('export/busy', `volumes of pool ${this.name} are exported or in use`, {
      actions: ['varve export list', 'varve export remove NAME'],
    });
  }

  /**
   * Closes volumes, journal, index and disks; after it the disks alone hold everything.
   *
   * @param letGo another host may import the pool at once
   */
  close(options: { readonly letGo?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(options.letGo ?? false);
    return this.#closing;
  }

  async #start(recovered: RecoveredPool): Promise<void> {
    await recovered.folder.writeLineage({ ...recovered.lineage, served: recovered.lineage.epoch });
    await this.#openPlane(recovered.journal);
    await this.#grants.discard(recovered.discards);
    this.#grants.replenish(0);
    this.#tellRecovery(recovered);
    await this.#recordDisks();
  }

  async #close(letGo: boolean): Promise<void> {
    this.#stopHeartbeat();
    await this.#beating;
    if (this.#planeOpen) await this.#closePlane();
    await this.#sayGoodbye(letGo);
    await this.#index.close();
    await this.#disks.close();
  }

  /** The data plane makes what is pending durable first, which may need a checkpoint to make room. */
  async #closePlane(): Promise<void> {
    await this.#volumes.closeAll();
    await this.#plane.close();
    this.#planeOpen = false;
    await this.#grants.close();
    await this.#maintenance.stop();
  }

  /** A failed pool's labels stay as they are: they name what was last known to be whole. */
  async #sayGoodbye(letGo: boolean): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      if (this.#hasUncheckpointed) await this.#checkpointer.take();
      await this.#disks.writeLabels(() => ({ heartbeatMs: 0, ...(letGo ? { owner: null } : {}) }));
    } catch (error) {
      if (letGo) throw error;
      this.#services.log.error({ pool: this.name, error }, 'the pool was not closed cleanly');
    }
  }

  get #hasUncheckpointed(): boolean {
    return this.#state.applied.sequence + 1 !== this.#label.tailSequence;
  }

  async #openPlane(journal: RecoveredPool['journal']): Promise<void> {
    const { dataPlane, flushWindowMs } = this.#services;
    this.#plane = await dataPlane.openPool(
      {
        uuid: uuidBytes(this.uuid),
        epoch: this.#epoch,
        clusterBytes: this.clusterBytes,
        disks: this.#disks.all.map(({ plane, label }) => ({
          handle: plane.handle,
          number: label.diskNumber,
        })),
        journal: {
          replicas: this.#disks.journals.map(({ label }) => ({
            number: label.diskNumber,
            offset: label.journalOffset,
          })),
          bytes: this.#journalBytes,
          head: journal.position,
          tail: journal.tail,
          sequence: journal.sequence,
        },
        pendingLogPath: this.#folder.pendingLogPath,
        flushWindowMs,
      },
      this.#listener(),
    );
    this.#planeOpen = true;
    this.#startWorkers();
  }

  #startWorkers(): void {
    const { clock, log } = this.#services;
    const parts = { plane: this.#plane, index: this.#index, clusterBytes: this.clusterBytes };
    const onDamage = (error: unknown) => this.#indexDamaged(error);
    this.#volumes = new OpenVolumes({ ...parts, onDamage });
    const { allocator } = this.#state;
    this.#grants = new Grants({ allocator, disks: this.#disks, plane: this.#plane, log });
    this.#maintenance = new Maintenance({
      clock,
      index: this.#index,
      checkpointer: this.#checkpointer,
      journalBytes: this.#journalBytes,
      tail: () => this.#label.tailPosition,
      onTail: (position) => this.#tailMoved(position),
      onError: (work, error) => this.#maintenanceFailed(work, error),
    });
    this.#stopHeartbeat = clock.every(heartbeatIntervalMs, () => {
      this.#beating = this.#beating.then(() => this.#beat());
    });
  }

  #listener(): PoolListener {
    return {
      durable: (event) => this.#durable(event),
      safe: (sequence) => this.#grants.reclaim(sequence),
      regionWanted: (volume, region) => this.#volumes.regionWanted(volume, region),
      grantLow: (clusters) => this.#grants.replenish(clusters),
      journalFull: () => this.#maintenance.checkpoint(),
      diskError: (disk, _errno, message) => this.#diskError(disk, message),
      failed: (_errno, message) => this.#fail(message),
    };
  }

  #durable(event: DurableEvent): void {
    const { sequence, head: position } = event;
    const before = this.#state.applied;
    try {
      if (event.deltas !== undefined) {
        const at = { ...before, epoch: this.#epoch, serial: event.serial, sequence, position };
        this.#state.applyDeltas(event.deltas, at);
      } else {
        const ops = this.#committing.shift();
        invariant(ops !== undefined, 'a durable batch was committed here');
        this.#state.applyBatch(ops, { ...before, sequence, position });
      }
    } catch (error) {
      this.#fail(`record ${sequence} cannot be applied: ${messageOf(error)}`);
      return;
    }
    this.#maintenance.recordApplied();
  }

  #tailMoved(position: number): void {
    this.#warnings.delete('pool/checkpoint');
    if (this.#planeOpen) this.#plane.trim(position);
  }

  #maintenanceFailed(work: 'fold' | 'checkpoint', error: unknown): void {
    const message = `${work} of pool ${this.name} failed: ${messageOf(error)}`;
    this.#services.log.error({ pool: this.name, error }, message);
    if (error instanceof StorageError && error.code === 'disk/io') this.#fail(message);
    else if (work === 'fold') this.#indexDamaged(error);
    else
      this.#warnings.set('pool/checkpoint', {
        level: 'critical',
        code: 'pool/checkpoint',
        message,
        actions: [
          'add space or delete volumes; new space cannot be written once the journal is full',
        ],
      });
  }

  /** The index is only a copy: what it cannot answer fails, the next opening builds a new one. */
  #indexDamaged(error: unknown): void {
    if (this.#warnings.has('pool/index')) return;
    const message = `the index of pool ${this.name} is damaged: ${messageOf(error)}`;
    this.#warnings.set('pool/index', {
      level: 'critical',
      code: 'pool/index',
      message,
      actions: ['restart the service: it builds a new index from the disks'],
    });
    this.#tell('error', 'pool/index-damaged', message);
    void this.#folder.condemnIndex();
  }

  #diskError(number: number, message: string): void {
    const uri = this.#disks.byNumber(number)?.location.uri ?? `number ${number}`;
    this.#tell('error', 'disk/error', `disk ${uri}: ${message}`);
  }

  #fail(message: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = message;
    this.#stopHeartbeat();
    this.#tell('error', 'pool/failed', `pool ${this.name} stopped: ${message}`);
  }

  async #beat(): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await beat(this.#disks, this.#epoch, this.#services.clock);
    } catch (error) {
      this.#fail(messageOf(error));
    }
  }

  /** Disks whose addition was cut off become members. */
  async #recordDisks(): Promise<void> {
    const missing = this.#disks.all.filter(
      ({ label }) => this.record(diskRecordName(label.diskNumber)) === undefined,
    );
    if (missing.length > 0) await this.commit(missing.map(diskRecordOp));
  }

  #tellRecovery({ rebuilt, recoveredDeltas }: RecoveredPool): void {
    const isNew = this.#epoch === 1;
    if (rebuilt !== undefined && !isNew) {
      const message = `the index of pool ${this.name} was built from its disks: ${rebuilt}`;
      this.#tell('warning', 'pool/index-rebuilt', message);
    }
    if (recoveredDeltas > 0) {
      const message = `${recoveredDeltas} changes of a killed service were recovered`;
      this.#tell('info', 'pool/recovered', message);
    }
  }

  #tell(level: 'info' | 'warning' | 'error', kind: string, message: string): void {
    this.#services.emit({ kind, level, subject: this.name, message });
  }

  #failedError(cause: unknown): StorageError {
    const why = this.#failure ?? messageOf(cause);
    return new StorageError('pool/failed', `pool ${this.name} stopped: ${why}`, { cause });
  }

  #description(): PoolDescription {
    return {
      disks: this.#disks.all,
      allocator: this.#state.allocator,
      promisedBytes: this.#promisedBytes(),
      journalUsedBytes: this.#state.applied.position - this.#label.tailPosition,
      createdAt: this.record<PoolRecord>('pool')?.createdAt ?? '',
      failure: this.#failure,
      warnings: [...this.#warnings.values()],
    };
  }

  #promisedBytes(): number {
    const volumes = this.records<{ sizeBytes: number; state: string }>('volume/');
    return volumes
      .filter((volume) => volume.state === 'online')
      .reduce((sum, volume) => sum + volume.sizeBytes, 0);
  }

  /** Any disk's label: pool fields are the same on all. */
  get #label(): Label {
    const [disk] = this.#disks.all;
    invariant(disk !== undefined, 'a pool has disks');
    return disk.label;
  }

  get #journalBytes(): number {
    const [disk] = this.#disks.journals;
    invariant(disk !== undefined, 'a pool has a journal');
    return disk.label.journalBytes;
  }
}

function diskRecordName(number: number): string {
  return `disk/${number}`;
}

export function diskRecordOp({ label, location }: Pick<PoolDisk, 'label' | 'location'>): BatchOp {
  const { diskNumber: number, diskUuid: uuid } = label;
  const record: DiskRecord = { number, uuid, uri: location.uri };
  return putRecord(diskRecordName(number), record);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
