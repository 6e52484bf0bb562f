/**
 * Pool: an open pool of backing disks, and the one place where its metadata changes.
 *
 *   online → failed          failed and closed are final; a failed pool answers pool/failed
 *      └────────┴→ closed
 *
 * One that was opened read-only (read-only-opening.ts) is online and answers every change with pool/read-only; nothing of it is written.
 *
 * What the data plane reports durable is applied in order, at once and in memory; index, checkpoint, grants and lease follow
 * in the background. Metadata changes are batches: `commit` resolves when one is durable and applied.
 * Elsewhere: opening (recovery.ts), names and lists of pools (pools.ts), what records mean (src/volume, src/export).
 */
import { AttentiveClock } from '../base/attentive-clock.ts';
import type { Clock } from '../base/clock.ts';
import { invariant, StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import { clustersFor, subBlocksPerCluster } from '../base/units.ts';
import type { Handle, LaggingReplica } from '../dataplane/binding.ts';
import type {
  ClusterHash,
  CowWanted,
  DataPlane,
  DiskPlane,
  DurableEvent,
  PatientDiskPlane,
  PoolListener,
  PoolPlane,
  VolumePlane,
} from '../dataplane/data-plane.ts';
import type { ClusterPlace, Placement, Target } from './allocator.ts';
import type { Checkpointer } from './checkpoint.ts';
import { Damage, type DamageRecord, damageWarnings } from './damage.ts';
import { conditionWarnings, DiskConditions, hurry } from './disk-conditions.ts';
import { DiskPaths, pathWarnings } from './disk-paths.ts';
import { type DiskLocation, type DiskSet, explained, type PoolDisk } from './disk-set.ts';
import { isFenced, type NewOwner } from './fenced.ts';
import {
  type ForeignDiskRecord,
  identify,
  isForeign,
  type OpenForeignDisk,
  openForeignDisk,
  openForeignPlane,
} from './foreign-disk.ts';
import { ForeignDisks } from './foreign-disks.ts';
import { type BatchOp, batchBytes, type ClusterRun, packed } from './format/batch.ts';
import { memberGeometry } from './format/geometry.ts';
import { hasMoves, hasSeals, type Label, withMoves, withSeals } from './format/label.ts';
import { slotMask } from './format/slot.ts';
import type { SlotEntry } from './format/slot-states.ts';
import { Governor, systemTiming } from './governor.ts';
import { Grants } from './grants.ts';
import { Growth } from './growth.ts';
import type { ImageServers } from './image-disk.ts';
import { JournalFeed } from './journal-feed.ts';
import { recordPayloadLimit } from './journal-replay.ts';
import { blended } from './latency-histogram.ts';
import type { LeaseTimes } from './lease.ts';
import type { PoolLease } from './lease-keeper.ts';
import type { PoolFolder } from './lineage.ts';
import { LostReplicas } from './lost-replicas.ts';
import { Maintenance } from './maintenance.ts';
import { Members } from './members.ts';
import { OpenVolumes, type VolumeToOpen } from './open-volumes.ts';
import type { OwnerWatch } from './owner-watch.ts';
import { type PendingMove, PendingMoves, placeOf } from './pending-moves.ts';
import { planeSpec } from './plane-spec.ts';
import { messageOf, PoolHealth } from './pool-health.ts';
import type { PoolIndex } from './pool-index.ts';
import {
  describeDisk,
  describePool,
  missingWarnings,
  type PoolDescription,
  spaceUse,
} from './pool-info.ts';
import {
  type DiskRecord,
  deleteRecord,
  diskRecordName,
  diskRecordOp,
  type PoolRecord,
  placementOf,
  putRecord,
} from './pool-records.ts';
import type { PoolState } from './pool-state.ts';
import type { RecoveredPool } from './recovery.ts';
import { type ReplicaParts, Replicas } from './replicas.ts';
import { SpaceAlarms } from './space-alarms.ts';
import { SpacePatience } from './space-patience.ts';
import type { DiskInfo, EmitEvent, PoolActivity, PoolInfo, PoolSettings } from './types.ts';

const EIO = 5;
const nothing = () => {};

export interface PoolServices {
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly log: Log;
  readonly emit: EmitEvent;
  readonly flushWindowMs: number;
  /** Who shows images to the data plane; without it what lies in one cannot be read. */
  readonly images?: ImageServers | undefined;
  /** Unless the pool has its own. */
  readonly patienceSeconds: number;
  readonly leaseTimes: LeaseTimes;
}

/** What of a cluster is copied where: `bytes` from `at` on, the same place in both. */
export interface ClusterCopy {
  readonly from: ClusterPlace;
  readonly to: ClusterPlace;
  readonly at: number;
  readonly bytes: number;
}

export interface ClosingOptions {
  readonly letGo?: boolean;
  readonly soon?: boolean;
}

/** In clusters. */
export interface DiskOccupancy {
  /** Of layers. */
  readonly owned: number;
  /** Not free, but for checkpoints: of layers, granted, or on their way back. */
  readonly occupied: number;
  /** What new data can take on the other disks. */
  readonly roomBeside: number;
}

/** Who is open under that key waits for that slot. */
export type CowListener = (
  open: { readonly key: string; readonly plane: VolumePlane },
  wanted: CowWanted,
) => void;

export class Pool {
  readonly isReadOnly: boolean;
  readonly #services: PoolServices;
  /** For what looks after the pool: records and the conditions of its disks are changes. */
  readonly #attentiveClock: AttentiveClock;
  readonly #folder: PoolFolder;
  readonly #disks: DiskSet;
  readonly #lease: PoolLease;
  readonly #index: PoolIndex;
  readonly #checkpointer: Checkpointer;
  readonly #state: PoolState;
  readonly #epoch: number;
  readonly #health: PoolHealth;
  readonly #feed: JournalFeed;
  #foreign = new ForeignDisks([]);
  #plane!: PoolPlane;
  #grants!: Grants;
  #maintenance!: Maintenance;
  #growth!: Growth;
  #spaceAlarms!: SpaceAlarms;
  readonly #spacePatience: SpacePatience;
  readonly #conditions: DiskConditions;
  readonly #paths: DiskPaths;
  #volumes!: OpenVolumes;
  #members!: Members;
  #lostReplicas!: LostReplicas;
  #governor!: Governor;
  readonly #moves = new PendingMoves();
  /** Copies that read its disks. */
  readonly #lent = new Set<Promise<void>>();
  #cowListener: CowListener = () => {};
  #onFenced: () => void = () => {};
  #closing: Promise<void> | undefined;
  #stopHurrying: (() => void) | undefined;
  #giveUpCheckpoints = false;

  private constructor(recovered: RecoveredPool, services: PoolServices) {
    this.isReadOnly = recovered.readOnly;
    this.#services = services;
    this.#attentiveClock = new AttentiveClock(services.clock);
    this.#folder = recovered.folder;
    this.#disks = recovered.disks;
    this.#lease = recovered.lease;
    this.#index = recovered.index;
    this.#checkpointer = recovered.checkpointer;
    this.#state = recovered.index.state;
    this.#epoch = recovered.lineage.epoch;
    for (const { label } of recovered.disks.all) {
      const record = this.record<DiskRecord>(diskRecordName(label.diskNumber));
      this.#state.allocator.place(label.diskNumber, placementOf(record));
    }
    this.#health = new PoolHealth({
      ...services,
      pool: this.name,
      onFailure: (cause) => this.#stopWriting(cause),
      onIndexDamage: () => void this.#condemnIndex(),
    });
    this.#conditions = new DiskConditions({
      subject: this.name,
      emit: services.emit,
      patienceSeconds: () => this.#patienceSeconds,
      onChange: () => this.#disksChanged(),
    });
    this.#spacePatience = new SpacePatience({
      subject: this.name,
      clock: services.clock,
      emit: services.emit,
      patienceSeconds: () => this.#patienceSeconds,
      heldWriters: () => this.#plane.heldWriters,
      onRefuse: () => this.#grants.spaceFreed(),
    });
    this.#paths = new DiskPaths({ subject: this.name, emit: services.emit });
    const payloadBytesMax = this.batchBytesMax;
    this.#feed = new JournalFeed(this.#state, { epoch: this.#epoch, payloadBytesMax });
  }

  /** Hands a recovered pool to the data plane. @throws StorageError disk/io; everything is closed then */
  static async start(recovered: RecoveredPool, services: PoolServices): Promise<Pool> {
    const pool = new Pool(recovered, services);
    try {
      await pool.#start(recovered);
      return pool;
    } catch (error) {
      pool.#health.fail(error);
      await pool.close();
      throw error;
    }
  }

  get name(): string {
    return this.#disks.label.poolName;
  }

  get uuid(): string {
    return this.#disks.label.poolUuid;
  }

  get clusterBytes(): number {
    return this.#disks.label.clusterBytes;
  }

  /** Bytes that data can still take. */
  get freeBytes(): number {
    return this.info().freeBytes;
  }

  get disks(): readonly PoolDisk[] {
    return this.#disks.all;
  }

  /** Adopted disks that the pool's maps point into. */
  get foreignDisks(): readonly OpenForeignDisk[] {
    return this.#foreign.all;
  }

  /** Whether the disk of that number is only read, never written to. */
  isForeign(number: number): boolean {
    return this.#foreign.has(number);
  }

  /** Clusters that layers still own on a disk that is only read. */
  foreignUsedCount(number: number): number {
    return this.#state.allocator.foreignUsedCount(number);
  }

  get index(): PoolIndex {
    return this.#index;
  }

  info(): PoolInfo {
    return describePool(this.#description());
  }

  /** Whether there is a disk of that number, which is not only read. */
  hasDisk(number: number): boolean {
    return this.#disks.byNumber(number) !== undefined;
  }

  diskInfo(number: number): DiskInfo {
    return describeDisk(this.#diskOf(number), this.#description());
  }

  /** @returns undefined when there is no such record */
  record<T>(name: string): T | undefined {
    return this.#state.record(name) as T | undefined;
  }

  /** The records of one kind, as `volume/`: the same array as long as they are the same records. */
  records<T>(prefix: `${string}/`): readonly T[] {
    return this.#state.recordsOf(prefix.slice(0, -1)) as readonly T[];
  }

  /** Clusters that a layer owns. */
  clustersOf(layer: number): number {
    return this.#state.clustersOf(layer);
  }

  /** The largest batch `commit` takes, in bytes. */
  get batchBytesMax(): number {
    return recordPayloadLimit(this.#disks.journalBytes);
  }

  /**
   * Makes a batch durable and applies it: all of it or, after a crash, none.
   *
   * @returns its sequence in the journal
   * @throws StorageError pool/failed
   */
  async commit(ops: readonly BatchOp[]): Promise<number> {
    this.expectWritable();
    try {
      const forgets = !this.damage.isNone && ops.some(({ op }) => op === 'release');
      const whole = forgets ? await this.#withMarksForgotten(ops) : ops;
      return await this.#feed.append(this.#plane, whole);
    } catch (cause) {
      throw this.#health.failedError(cause);
    }
  }

  /** What is known to be damaged. */
  get damage(): Damage {
    return Damage.of(this.records<DamageRecord>('damage/'));
  }

  /** Opens a volume in the data plane, or joins whoever has it open. `closeVolume` once per call. */
  async openVolume(volume: VolumeToOpen): Promise<VolumePlane> {
    this.expectOnline();
    return this.#volumes.open(volume);
  }

  closeVolume(key: string): Promise<void> {
    return this.#volumes.close(key);
  }

  /** `work` with a volume that others have open, who wait for its end before they close it; undefined when it is not open. */
  borrowVolume<T>(key: string, work: (plane: VolumePlane) => Promise<T>): Promise<T | undefined> {
    return this.#volumes.borrow(key, work);
  }

  isVolumeOpen(key: string): boolean {
    return this.planeOf(key) !== undefined;
  }

  /** @returns undefined when it is not open */
  planeOf(key: string): VolumePlane | undefined {
    return this.#volumes.planeOf(key);
  }

  /** How many have the volume open. */
  usersOf(key: string): number {
    return this.#volumes.usersOf(key);
  }

  /** Versions that do not know of volumes between pools refuse this one from now on. @throws StorageError disk/io */
  async noteMoves(): Promise<void> {
    this.expectOnline();
    const unaware = this.disks.filter(({ label }) => !hasMoves(label));
    if (unaware.length > 0) await this.#disks.writeLabels(({ label }) => withMoves(label), unaware);
  }

  /** The same of versions that do not know seals. @throws StorageError disk/io */
  async noteSeals(): Promise<void> {
    this.expectWritable();
    const unaware = this.disks.filter(({ label }) => !hasSeals(label));
    if (unaware.length > 0) await this.#disks.writeLabels(({ label }) => withSeals(label), unaware);
  }

  /** While `work` runs no volume is opened or closed; it must not open or close one itself. */
  holdOpenings<T>(work: () => Promise<T>): Promise<T> {
    return this.#volumes.holding(work);
  }

  /** Where the volume's new clusters come from, from now on; nothing when it is not open. */
  volumePlaced(key: string, target: Target): void {
    this.planeOf(key)?.setGrantGroup(this.#grants.groupOf(target));
  }

  /** Tells the data plane of a volume's new size; nothing when it is not open. */
  volumeResized(key: string, sizeBytes: number): void {
    this.#volumes.resize(key, sizeBytes);
  }

  /** `listener` is told, once, when another host has the pool, right before everything fails here. One listener. */
  onFenced(listener: () => void): void {
    this.#onFenced = listener;
  }

  /** `listener` is told which slots writers wait for, until their old content lies elsewhere. One listener. */
  onCowWanted(listener: CowListener): void {
    this.#cowListener = listener;
  }

  /**
   * Takes free clusters for what the control plane writes itself, of the first target that has so many. They are used when a durable batch acquires them; give back the rest.
   *
   * @throws StorageError pool/full there are not that many
   */
  holdClusters(count: number, targets: readonly Target[] = [{}]): ClusterRun[] {
    this.expectWritable();
    return this.#grants.hold(count, targets);
  }

  /** Clusters of `holdClusters` that no batch has acquired. */
  returnClusters(runs: readonly ClusterRun[]): void {
    this.#grants.giveBack(runs);
  }

  /**
   * Copies clusters within the pool, or from another one with clusters of the same size; a batch committed here afterwards is durable only
   * behind the copies.
   *
   * @param options.evenDamaged whoever copies takes the marks of what is damaged along
   * @throws StorageError pool/failed, disk/io; data/damaged
   */
  async copyClusters(
    copies: readonly ClusterCopy[],
    source: Pool = this,
    { evenDamaged = false }: { readonly evenDamaged?: boolean } = {},
  ): Promise<void> {
    source.expectOnline();
    this.expectWritable();
    if (!evenDamaged) source.#expectSound(copies);
    const { clusterBytes } = this;
    const offset = ({ cluster }: ClusterPlace) => cluster * clusterBytes;
    const runs = copies.flatMap(({ from, to, at, bytes }) => [
      from.disk,
      offset(from) + at,
      to.disk,
      offset(to) + at,
      bytes,
    ]);
    const copying = this.#plane.copyRuns(source.#plane, runs);
    source.#lent.add(copying);
    try {
      await copying;
    } catch (cause) {
      source.expectOnline();
      this.expectOnline();
      throw new StorageError('disk/io', `pool ${this.name}: ${messageOf(cause)}`, { cause });
    } finally {
      source.#lent.delete(copying);
    }
    source.expectOnline();
  }

  /**
   * What clusters hold now: XXH64 of the sub-blocks that each entry claims, ascending.
   *
   * @throws StorageError pool/failed
   */
  async hashClusters(entries: readonly SlotEntry[]): Promise<readonly ClusterHash[]> {
    this.expectOnline();
    const numbers = entries.flatMap((entry) => {
      const { disk, cluster } = placeOf(entry);
      return [disk, cluster, slotMask(entry.lo)];
    });
    const hashing = this.#plane.hashClusters(numbers);
    const lent = hashing.then(nothing, nothing);
    this.#lent.add(lent);
    try {
      return await hashing;
    } finally {
      this.#lent.delete(lent);
    }
  }

  /**
   * For whoever copies clusters that others may take, and bring back with other content, meanwhile. `end` once. What is committed in the same turn of the
   * event loop as it is asked, and releases nothing, comes before whatever it could not know of yet.
   */
  watchOwners(places: readonly ClusterPlace[]): OwnerWatch {
    return this.#state.ownerWatches.begin(places);
  }

  /** Resolves when the journal has room for what can wait: its last quarter is the guests'. Ends early with the signal. */
  journalRoom(signal: AbortSignal): Promise<void> {
    return this.#maintenance.roomToSpare(signal);
  }

  /** How fast background work may go. */
  get governor(): Governor {
    return this.#governor;
  }

  /** What it did for guests and in the background since it was opened. */
  activity(): PoolActivity {
    const { movedBytes, bytesPerSecond } = this.#governor;
    return {
      pool: this.name,
      latencies: this.#plane.latencies(),
      latencyBounds: this.#services.dataPlane.latencyBounds,
      background: { movedBytes, bytesPerSecondMax: bytesPerSecond },
      heldWriters: this.#plane.heldWriters,
    };
  }

  /**
   * Reads go to the new places from now on, in everything that is open; the map has still to say so.
   *
   * Resolves when nobody reads an old place on behalf of a frozen layer any more.
   *
   * @returns to be called when the map says so, or the move is given up
   */
  async movePlaces(moves: readonly PendingMove[]): Promise<() => void> {
    const end = this.#moves.add(moves);
    const numbers = moves.flatMap(({ slot, from, to }) => {
      const [old, now] = [placeOf(from), placeOf(to)];
      return [slot, old.disk, old.cluster, now.disk, now.cluster];
    });
    for (const plane of this.#volumes.planes()) plane.repoint(numbers);
    await this.requestsEnded();
    return end;
  }

  /** Resolves when every request that is under way now, of whatever volume, has ended: none reads by a map of before any more. */
  async requestsEnded(): Promise<void> {
    await this.#plane.grace();
  }

  /** Everything written so far is durable. @throws StorageError pool/failed */
  async flush(): Promise<void> {
    this.expectOnline();
    try {
      await this.#plane.flush();
    } catch (cause) {
      throw this.#health.failedError(cause);
    }
  }

  /**
   * Takes a labelled disk into the pool while it serves; its clusters are used at once, and it carries a replica of the journal where one is missing.
   *
   * After a crash the disk belongs to the pool when its record is durable, or when it is named at the next opening.
   *
   * @throws StorageError disk/io, pool/failed
   */
  async addDisk(disk: PoolDisk): Promise<DiskInfo> {
    this.#watch(disk);
    await this.#members.add(disk);
    return this.diskInfo(disk.label.diskNumber);
  }

  /** Whether an empty disk may leave the pool, see `removeDisk`. @throws StorageError disk/not-empty, disk/needed; pool/failed */
  expectRemovable(number: number): Promise<void> {
    return this.#members.expectRemovable(this.#diskOf(number));
  }

  /**
   * Takes an empty disk out of the pool while it serves: it carries no label afterwards, and is closed. A replica that it carried begins on another
   * disk. Killed in between, the disk belongs to the pool as before or is out of it.
   *
   * @throws StorageError disk/not-empty, disk/needed; disk/io, pool/failed it may be repeated
   */
  async removeDisk(number: number): Promise<void> {
    this.expectWritable();
    await this.#members.remove(this.#diskOf(number));
  }

  /** What is said of the disk holds for everything that is allocated from now on. @throws StorageError pool/failed */
  async placeDisk(number: number, placement: Placement): Promise<void> {
    await this.commit([diskRecordOp(this.#diskOf(number), placement)]);
    this.#state.allocator.place(number, placement);
    if (placement.cordoned) this.takeBackGrants(number);
    this.#grants.spaceFreed();
  }

  placement(number: number): Placement {
    return this.#state.allocator.placement(number);
  }

  /** What of a disk is in use, and what the other disks can take; in clusters. */
  occupancy(number: number): DiskOccupancy {
    const { allocator } = this.#state;
    return {
      owned: allocator.disk(number).usedCount,
      occupied: allocator.occupiedCountOn(number),
      roomBeside: allocator.roomBeside(number),
    };
  }

  /** Clusters that new data of that target can take, those among them that are granted already. */
  roomOf(target: Target): number {
    return this.#state.allocator.roomOf(target);
  }

  /** Whoever wants to empty a cordoned disk: nothing there is granted any more but what is just being written. */
  takeBackGrants(number: number): void {
    this.#grants.takeBack(number);
  }

  /** See openForeignPlane. */
  openForeign(location: DiskLocation): Promise<PatientDiskPlane> {
    return openForeignPlane(this.#services, location);
  }

  /**
   * Takes a disk into the pool that is read as it is and never written to. The record is committed together with `ops`, which say who reads
   * it: a disk that no layer names is dropped (src/volume/reaper.ts).
   *
   * @param disk open for reading alone; closed when this fails
   * @throws StorageError disk/unusable no number is left; disk/io, pool/failed
   */
  async addForeignDisk(
    disk: Pick<PoolDisk, 'location' | 'plane'>,
    ops: (number: number) => readonly BatchOp[],
  ): Promise<ForeignDiskRecord> {
    const { location, plane } = disk;
    let record: ForeignDiskRecord | undefined;
    try {
      record = await this.#foreignRecord(location, plane);
      this.#foreign.add({ record, plane, problem: null });
      this.#plane.addDisk(plane, record.number);
      await this.commit([putRecord(diskRecordName(record.number), record), ...ops(record.number)]);
      this.#watch(disk);
      return record;
    } catch (error) {
      if (record !== undefined) this.#foreign.remove(record.number);
      await plane.close();
      throw error;
    }
  }

  /** No layer points to the foreign disk any more: it is closed and forgotten; nothing was ever changed on it. */
  async dropForeignDisk(number: number): Promise<void> {
    const disk = this.#foreign.get(number);
    if (disk === undefined) return;
    await this.commit([deleteRecord(diskRecordName(number))]);
    await this.#plane.removeDisk(number);
    this.#foreign.remove(number);
    await disk.plane.close();
    const { uri } = disk.record;
    this.#health.tell('info', 'disk/released', `adopted disk ${uri} is not needed any more`);
  }

  /**
   * Writes a piece of a held cluster, durably: for the little that the control plane makes itself.
   *
   * @throws StorageError disk/io
   */
  async writeCluster({ disk: number, cluster }: ClusterPlace, bytes: Uint8Array, at: number) {
    const disk = this.#diskOf(number);
    await explained(disk, async () => {
      await disk.plane.write(cluster * this.clusterBytes + at, bytes);
      await disk.plane.sync();
    });
  }

  /** Changes settings, durably. @throws StorageError pool/failed */
  async set(settings: PoolSettings): Promise<void> {
    await this.commit([putRecord('pool', { ...this.record<PoolRecord>('pool'), ...settings })]);
    for (const { plane } of this.#watched) plane.setPatience(1000 * settings.patienceSeconds);
    this.#grants.spaceFreed();
  }

  /** Looks whether disks have grown, and uses what they have. */
  lookForGrowth(): Promise<void> {
    return this.#growth.look();
  }

  /** The label that a disk of that size must carry to join now. @throws StorageError disk/too-small */
  labelForNewDisk(diskBytes: number): Label {
    const ringBytes = this.#disks.journalBytes;
    const disk = { diskBytes, clusterBytes: this.clusterBytes };
    return {
      ...this.#disks.label,
      ...disk,
      ...memberGeometry({ ...disk, ringBytes }),
      ...this.#members.next,
      diskUuid: newUuid(),
      generation: 0,
      checkpoint: null,
      heartbeatMs: this.#services.clock.nowMs(),
    };
  }

  /** Who has the pool now, if it was taken over. */
  get fencedBy(): NewOwner | undefined {
    return this.#health.fencedBy;
  }

  /** @throws StorageError pool/failed */
  expectOnline(): void {
    if (this.#health.failure !== undefined) throw this.#health.failedError();
    if (this.#closing !== undefined) {
      throw new StorageError('service/stopping', `pool ${this.name} is being closed`);
    }
  }

  /** @throws StorageError pool/failed; pool/read-only */
  expectWritable(): void {
    this.expectOnline();
    this.expectNotReadOnly();
  }

  /** @throws StorageError pool/read-only */
  expectNotReadOnly(): void {
    if (!this.isReadOnly) return;
    throw new StorageError('pool/read-only', `pool ${this.name} was imported to be read only`, {
      actions: [
        `varve pool export ${this.name}, then varve pool import with all of its disks and without --read-only`,
      ],
    });
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
   * @param options.letGo another host may import the pool at once
   * @param options.soon guests wait for whoever opens it next: no checkpoint is written or waited for, which takes longer the more is mapped; the next
   *   opening replays the journal instead
   * @throws StorageError disk/io, pool/failed it could not be let go; it is closed all the same
   */
  close(options: ClosingOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  /** The pool is going to be closed: what waits for one of its disks waits a few seconds more, then fails. */
  hurry(): void {
    this.#stopHurrying ??= hurry([...this.#disks.all, ...this.#foreign.all]);
    this.#lease.hurry();
  }

  #diskOf(number: number): PoolDisk {
    const disk = this.#disks.byNumber(number);
    invariant(disk !== undefined, `disk ${number} belongs to the pool`);
    return disk;
  }

  async #condemnIndex(): Promise<void> {
    try {
      await this.#folder.condemnIndex();
    } catch (error) {
      const action = 'delete it by hand before the next start';
      const message = `the damaged index ${this.#folder.indexPath} is not marked as such: ${action}`;
      this.#services.log.error({ pool: this.name, error }, message);
    }
  }

  async #foreignRecord(location: DiskLocation, plane: DiskPlane): Promise<ForeignDiskRecord> {
    const identity = await explained({ location }, () => identify(plane, location));
    const { path, kind, uri } = location;
    const clusterCount = clustersFor(identity.sizeBytes, this.clusterBytes);
    const number = this.#foreign.freeNumber(
      this.name,
      this.#disks.all.map(({ label }) => label.diskNumber),
    );
    return { number, uuid: newUuid(), uri, foreign: { ...identity, path, kind, clusterCount } };
  }

  async #openForeign(): Promise<void> {
    const tell = (problem: string) => this.#health.tell('error', 'disk/unusable', problem);
    for (const record of this.records<unknown>('disk/').filter(isForeign)) {
      this.#foreign.add(await openForeignDisk(this.#services, record, tell));
    }
    for (const disk of this.#foreign.awaited) this.#watch(disk);
  }

  async #start(recovered: RecoveredPool): Promise<void> {
    await this.#openForeign();
    if (this.isReadOnly) return this.#startReading(recovered);
    await recovered.folder.writeLineage({ ...recovered.lineage, served: recovered.lineage.epoch });
    await this.#openPlane(recovered.journal);
    this.#listenToLease();
    await this.#grants.discard(recovered.discards);
    this.#grants.replenish(0, 0);
    if (this.#epoch > 1) this.#health.tellRecovery(recovered);
    await this.#recordDisks();
    await this.#members.completeReplicas(this.#disks.leftBehind);
  }

  /** Nobody gives out clusters, looks for growth or takes checkpoints. */
  async #startReading({ journal }: RecoveredPool): Promise<void> {
    await this.#openPlane(journal);
    this.#stopWatchingSpace();
    await this.#growth.stop();
    await this.#lostReplicas.stopMending();
    await this.#maintenance.stop();
    this.#listenToLease();
  }

  #listenToLease(): void {
    this.#lease.listen({
      lost: (error) => this.#health.fail(error),
      ranOut: () => this.#health.leaseRanOut(),
      heldAgain: () => this.#health.leaseHeldAgain(),
      beatFailed: ({ location }, error) =>
        this.#health.tell(
          'warning',
          'disk/heartbeat',
          `disk ${location.uri} takes no heartbeat: ${messageOf(error)}`,
        ),
    });
  }

  /**
   * Clusters that are given up are marked no more. Where one batch does not take it all the marks go first: content that is not
   * marked for a moment is better than a mark on what is somebody else's.
   */
  async #withMarksForgotten(ops: readonly BatchOp[]): Promise<readonly BatchOp[]> {
    const forgotten = this.damage.forgetting(ops.filter((op) => op.op === 'release'));
    if (batchBytes([...ops, ...forgotten]) <= this.batchBytesMax) return [...ops, ...forgotten];
    for (const batch of packed(
      forgotten.map((op) => [op]),
      this.batchBytesMax,
    )) {
      await this.#feed.append(this.#plane, batch);
    }
    return ops;
  }

  /** @throws StorageError data/damaged */
  #expectSound(copies: readonly ClusterCopy[]): void {
    const { damage } = this;
    if (damage.isNone) return;
    const subBlockBytes = this.clusterBytes / subBlocksPerCluster;
    for (const { from, at, bytes } of copies) {
      const [first, end] = [at / subBlockBytes, (at + bytes) / subBlockBytes];
      const mask = 2 ** end - 2 ** first;
      if (((damage.at(from)?.mask ?? 0) & mask) === 0) continue;
      const { uri } = this.diskInfo(from.disk);
      const message = `cluster ${from.cluster} of disk ${uri} is damaged: it is not what was written`;
      throw new StorageError('data/damaged', message);
    }
  }

  async #close(options: ClosingOptions): Promise<void> {
    this.hurry();
    try {
      await this.#closeParts(options);
    } finally {
      this.#stopHurrying?.();
    }
  }

  async #closeParts(options: ClosingOptions): Promise<void> {
    if (this.#planeOpen) await this.#closePlane(options);
    try {
      await this.#sayGoodbye(options);
    } finally {
      this.#lease.close();
      await this.#index.close();
      if (this.isReadOnly) await this.#folder.remove();
      await this.#foreign.close();
      await this.#disks.close();
    }
  }

  get #planeOpen(): boolean {
    return this.#plane?.isOpen ?? false;
  }

  /** The data plane makes what is pending durable first, which may need a checkpoint to make room. */
  async #closePlane({ soon = false }: ClosingOptions): Promise<void> {
    this.#stopWatchingSpace();
    await this.#growth.stop();
    await this.#lostReplicas.stopMending();
    await this.#volumes.closeAll();
    await Promise.allSettled(this.#lent);
    await this.#plane.close();
    this.#giveUpCheckpoints = soon;
    if (soon) this.#checkpointer.stop();
    await this.#grants.close();
    await this.#maintenance.stop();
  }

  /** A failed pool's labels stay as they are: they name what was last known to be whole. */
  async #sayGoodbye({ letGo = false, soon = false }: ClosingOptions): Promise<void> {
    if (this.isReadOnly) return;
    if (this.#health.failure !== undefined) {
      if (letGo) throw this.#health.failedError();
      return;
    }
    try {
      if (this.#hasUncheckpointed && !soon) await this.#checkpointer.take();
      await this.#lease.stop();
      await this.#disks.writeLabels(() => ({ heartbeatMs: 0, ...(letGo ? { owner: null } : {}) }));
    } catch (error) {
      if (letGo) throw error;
      this.#services.log.error({ pool: this.name, error }, 'the pool was not closed cleanly');
    }
  }

  get #hasUncheckpointed(): boolean {
    return this.#state.applied.sequence + 1 !== this.#disks.label.tailSequence;
  }

  async #openPlane(journal: RecoveredPool['journal']): Promise<void> {
    const { dataPlane, flushWindowMs } = this.#services;
    const { pendingLogPath } = this.#folder;
    const parts = {
      disks: this.#disks,
      foreign: this.#foreign,
      epoch: this.#epoch,
      journal,
      pendingLogPath,
      flushWindowMs,
    };
    this.#plane = await dataPlane.openPool(planeSpec(parts), this.#listener());
    this.#governor = this.#newGovernor();
    this.#startWorkers();
    // One that is missing does not come back while the pool is open: nobody waits for it.
    const there = this.#disks.all.filter(({ isMissing }) => !isMissing);
    for (const disk of there) this.#watch(disk);
  }

  #newGovernor(): Governor {
    return new Governor({
      latencies: () => {
        const { read, write, flush } = this.#plane.latencies();
        return [write, flush].reduce((sum, { counts }) => blended(sum, counts, 1), read.counts);
      },
      bounds: this.#services.dataPlane.latencyBounds,
      settle: () => this.flush(),
      onHeld: (isHeld) => this.#plane.setCopyEffort(isHeld ? 'gentle' : 'full'),
      timing: systemTiming,
    });
  }

  #startWorkers(): void {
    const { log } = this.#services;
    const clock = this.#attentiveClock;
    const parts = { plane: this.#plane, index: this.#index, clusterBytes: this.clusterBytes };
    const onDamage = (error: unknown) => this.#health.indexDamaged(error);
    const groupOf = (target: Target) => this.#grants.groupOf(target);
    const damage = () => this.damage;
    this.#volumes = new OpenVolumes({ ...parts, moves: this.#moves, damage, onDamage, groupOf });
    const { allocator } = this.#state;
    this.#grants = new Grants({
      allocator,
      disks: this.#disks,
      plane: this.#plane,
      log,
      onSpill: (target) => this.#spilled(target),
      holdsWriters: () => this.#spacePatience.holdsWriters,
      onExhausted: () => this.#spacePatience.nothingLeft(),
      onRelief: () => this.#spacePatience.spaceCame(),
    });
    this.#spaceAlarms = new SpaceAlarms({
      subject: this.name,
      clock,
      emit: this.#services.emit,
      use: () => spaceUse(allocator, this.clusterBytes),
    });
    this.#growth = new Growth({
      ...this.#services,
      allocator,
      disks: this.#disks,
      onSpace: () => this.#grants.spaceFreed(),
    });
    this.#maintenance = new Maintenance({
      clock,
      index: this.#index,
      checkpointer: this.#checkpointer,
      journalBytes: this.#disks.journalBytes,
      tail: () => this.#disks.label.tailPosition,
      onTail: (position) => this.#tailMoved(position),
      onError: (work, error) => this.#maintenanceFailed(work, error),
    });
    const replicaParts: ReplicaParts = {
      disks: this.#disks,
      allocator,
      checkpointer: this.#checkpointer,
      plane: this.#plane,
      grants: this.#grants,
      onTail: (position) => this.#tailMoved(position),
    };
    const replicas = new Replicas(replicaParts);
    this.#members = new Members({
      ...replicaParts,
      replicas,
      lease: this.#lease,
      grants: this.#grants,
      commit: (ops) => this.commit(ops),
      flush: () => this.flush(),
      onUndone: (kind, message) => this.#health.tell('warning', kind, message),
    });
    this.#lostReplicas = new LostReplicas({
      disks: this.#disks,
      clock,
      replicas,
      complete: (back) => this.#members.completeReplicas(back),
      tell: (level, kind, message) => this.#health.tell(level, kind, message),
      // Once the data plane has let go of it, no round waits.
      onError: (error) => {
        if (this.#planeOpen) this.#health.fail(error);
      },
    });
    this.#checkpointer.onReplicaFailure((disk, error) => {
      this.#attentiveClock.changed();
      return this.#lostReplicas.failed(disk, error);
    });
  }

  #listener(): PoolListener {
    return {
      durable: (event) => this.#durable(event),
      safe: (sequence) => this.#grants.reclaim(sequence),
      regionWanted: (volume, region) => this.#volumes.regionWanted(volume, region),
      cowWanted: (volume, wanted) => this.#cowWanted(volume, wanted),
      grantLow: (group, clusters) => this.#grants.replenish(group, clusters),
      writerHeld: () => this.#writerHeld(),
      journalFull: () => this.#maintenance.checkpoint(),
      replicasLag: (replicas) => this.#replicasLag(replicas),
      diskError: (disk, _errno, message) => this.#diskError(disk, message),
      failed: (_errno, message) => this.#health.fail(message),
    };
  }

  #cowWanted(handle: Handle, wanted: CowWanted): void {
    const open = this.#volumes.byHandle(handle);
    if (open !== undefined) this.#cowListener(open, wanted);
  }

  #writerHeld(): void {
    // Told late, when there is space again, it is no news.
    if (this.#grants.isExhausted) this.#spacePatience.writerHeld();
  }

  #stopWatchingSpace(): void {
    this.#spaceAlarms.stop();
    this.#spacePatience.stop();
  }

  #durable(event: DurableEvent): void {
    try {
      this.#feed.apply(event);
      this.#maintenance.recordApplied();
      this.#attentiveClock.changed();
    } catch (error) {
      this.#health.fail(error, `record ${event.sequence} cannot be applied: ${messageOf(error)}`);
    }
  }

  #replicasLag(replicas: readonly LaggingReplica[]): void {
    this.#attentiveClock.changed();
    this.#lostReplicas.lag(replicas);
  }

  #tailMoved(position: number): void {
    this.#health.clear('pool/checkpoint');
    if (this.#planeOpen) this.#plane.trim(position);
  }

  #spilled(target: Target): void {
    const where = target.class === undefined ? `disk ${target.disk}` : `class ${target.class}`;
    const message = `${where} of pool ${this.name} is full: what is written there goes to other disks`;
    this.#health.tell('warning', 'pool/class-full', message);
  }

  get #patienceSeconds(): number {
    return this.record<PoolRecord>('pool')?.patienceSeconds ?? this.#services.patienceSeconds;
  }

  get #silentDisks(): readonly PoolDisk[] {
    return this.disks.filter(({ plane }) => plane.condition.state !== 'online');
  }

  #disksChanged(): void {
    if (!this.#planeOpen) return;
    this.#attentiveClock.changed();
    if (!this.isReadOnly) this.#lostReplicas.conditionChanged();
    this.#grants.avoid(this.#silentDisks.map(({ label }) => label.diskNumber));
  }

  #maintenanceFailed(work: 'fold' | 'checkpoint', error: unknown): void {
    const isGivenUp = error instanceof StorageError && error.code === 'pool/failed';
    if (this.#giveUpCheckpoints && work === 'checkpoint' && isGivenUp) return;
    this.#health.maintenanceFailed(work, error);
  }

  #diskError(number: number, message: string): void {
    const disk = this.#disks.byNumber(number)?.location ?? this.#foreign.get(number)?.record;
    const uri = disk?.uri ?? `number ${number}`;
    this.#health.tell('error', 'disk/error', `disk ${uri}: ${message}`);
  }

  /** What was not submitted yet is not written, be it data, journal, checkpoint or label. */
  #stopWriting(cause: unknown): void {
    const fenced = isFenced(cause);
    this.#checkpointer.stop();
    // Before requests are answered with errors: clients are to lose their connections, not their data.
    if (fenced) this.#onFenced();
    if (this.#planeOpen) this.#plane.fail(EIO, { fenced });
    this.#lease.end({ fenced });
    for (const { plane } of this.#disks.all) plane.surrender();
    if (!this.#planeOpen) return;
    this.#grants.halt();
    this.#stopWatchingSpace();
    void this.#growth.stop();
    void this.#lostReplicas.stopMending();
    void this.#maintenance.stop();
  }

  /** The records name the members: what was cut off when a disk was added or removed. */
  async #recordDisks(): Promise<void> {
    const { all } = this.#disks;
    const missing = all.filter(
      ({ label }) => this.record(diskRecordName(label.diskNumber)) === undefined,
    );
    const left = this.records<DiskRecord>('disk/').filter(
      (record) => !isForeign(record) && this.#disks.byNumber(record.number) === undefined,
    );
    const ops = [
      ...missing.map((disk) => diskRecordOp(disk)),
      ...left.map(({ number }) => deleteRecord(diskRecordName(number))),
    ];
    if (ops.length > 0) await this.commit(ops);
  }

  /** Disks that are there, the pool's own and those that are only read. */
  get #watched(): readonly Pick<PoolDisk, 'location' | 'plane'>[] {
    return [...this.disks.filter(({ isMissing }) => !isMissing), ...this.#foreign.awaited];
  }

  #watch(disk: Pick<PoolDisk, 'location' | 'plane'>): void {
    this.#conditions.watch(disk);
    this.#paths.watch(disk);
  }

  #description(): PoolDescription {
    return {
      readOnly: this.isReadOnly,
      disks: this.#disks.all,
      foreign: this.#foreign.all,
      leftBehind: this.#disks.leftBehind,
      allocator: this.#state.allocator,
      promisedBytes: this.#promisedBytes(),
      journalUsedBytes: this.#state.applied.position - this.#disks.label.tailPosition,
      patienceSeconds: this.#patienceSeconds,
      createdAt: this.record<PoolRecord>('pool')?.createdAt ?? '',
      failure: this.#health.failure,
      fencedBy: this.#health.fencedBy,
      warnings: [
        ...missingWarnings(this.disks),
        ...this.#watched.flatMap(conditionWarnings),
        ...this.#watched.flatMap(pathWarnings),
        ...this.#lostReplicas.warnings,
        ...this.#growth.warnings,
        ...this.#spacePatience.warnings,
        ...this.#health.warnings,
        ...damageWarnings(this.name, this.damage),
        ...this.#foreign.warnings(),
      ],
    };
  }

  #promisedBytes(): number {
    const volumes = this.records<{ sizeBytes: number }>('volume/');
    return volumes.reduce((sum, volume) => sum + volume.sizeBytes, 0);
  }
}
