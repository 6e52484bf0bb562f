/**
 * Exports: which volumes, snapshots and whole disks are served, under which names, on which sockets.
 *
 *   recorded ──serve──▶ online ──remove──▶ gone
 *       └──cannot be served──▶ failed (kept, said in `failure`; adding it again tries again)
 *
 * Guarantees: an export is answered for only after its record is durable, and its record is gone before its
 * clients are let go, so a kill in between leaves one of the two states. A volume is open as long as it is served. Restored
 * at start under the same addresses. Changing calls run one after the other.
 */
import { invariant, messageOf, StorageError } from '../base/errors.ts';
import { newUuid } from '../base/ids.ts';
import { Mutex } from '../base/mutex.ts';
import { expectName } from '../base/names.ts';
import type { VolumeStats } from '../dataplane/binding.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { DiskUse } from '../pool/backing.ts';
import { hurry } from '../pool/disk-conditions.ts';
import { parseDiskUri } from '../pool/disk-uri.ts';
import type { EmitEvent } from '../pool/types.ts';
import type { VolumeInfo } from '../volume/types.ts';
import { type Address, formatAddress, nbdUri, parseAddress, sameAddresses } from './address.ts';
import { tellOfClients } from './client-events.ts';
import { type Entry, isOfVolume } from './entry.ts';
import { type ExportStore, type RecordPool, storeOf } from './export-store.ts';
import { HandOver } from './hand-over.ts';
import type { Heir } from './heir.ts';
import { type Listener, Listeners } from './listeners.ts';
import { describePassthrough, type ExportDisks } from './passthrough.ts';
import { serialOfDisk, serialOfSnapshot, serialOfVolume } from './serial.ts';
import {
  type ExportSnapshots,
  type ExportVolumes,
  type OpenedSource,
  type Served,
  Serving,
  volumeById,
} from './serving.ts';
import {
  type AddExportOptions,
  type DiskExportRecord,
  type ExportClient,
  type ExportInfo,
  type ExportRecord,
  isPassthrough,
  type PassthroughInfo,
  type PassthroughOptions,
  type RemoveExportOptions,
  type VolumeExportRecord,
} from './types.ts';

export type ExportDataPlane = Pick<
  DataPlane,
  | 'listen'
  | 'addExport'
  | 'addDiskExport'
  | 'removeExport'
  | 'pauseExport'
  | 'resumeExport'
  | 'clients'
  | 'onClients'
>;

export interface ExportServiceDependencies {
  readonly dataPlane: ExportDataPlane;
  readonly volumes: ExportVolumes;
  readonly snapshots: ExportSnapshots;
  readonly disks: ExportDisks;
  /** Every pool that is open now. */
  readonly pools: () => readonly RecordPool[];
  /** Remembers exports of whole disks. */
  readonly host: ExportStore;
  readonly emit: EmitEvent;
  readonly now: () => Date;
  /** Serves every export. */
  readonly defaultAddress: Address;
  /** The service stops, and no client waits for an answer any more; volumes are still to be closed. */
  readonly onClientsGone: () => void;
}

/** A remembered export with what it serves open, not yet served. */
interface Opened {
  readonly entry: Entry;
  readonly source: OpenedSource;
}

/** What of an export's description comes from what it serves. */
type SourceInfo = Pick<
  ExportInfo,
  'kind' | 'volume' | 'snapshot' | 'disk' | 'scratch' | 'changedSince' | 'sizeBytes' | 'serial'
>;

const snapshotKeys = ['snapshotId', 'scratch', 'changedSince', 'changedSinceTime'] as const;
type SnapshotPart = Pick<VolumeExportRecord, (typeof snapshotKeys)[number]>;

export class ExportService {
  readonly #to: ExportServiceDependencies;
  readonly #listeners: Listeners;
  readonly #serving: Serving;
  readonly #entries = new Map<string, Entry>();
  #default: Listener | null = null;
  readonly #turns = new Mutex();

  constructor(dependencies: ExportServiceDependencies) {
    this.#to = dependencies;
    const { dataPlane, volumes, snapshots, disks, defaultAddress } = dependencies;
    this.#listeners = new Listeners(dataPlane);
    const sources = { volumes, snapshots, disks };
    this.#serving = new Serving(dataPlane, sources, this.#listeners, defaultAddress);
    volumes.addGuard((volume) => this.#guard(volume));
    volumes.explainMissing((name) => this.#passthroughError(name));
    snapshots.addGuard((pool, snapshotId) => this.#snapshotGuard(pool, snapshotId));
    tellOfClients(dataPlane, dependencies.emit);
  }

  list(): ExportInfo[] {
    return [...this.#entries.values()]
      .map((entry) => this.#info(entry))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws StorageError export/not-found */
  get(name: string): ExportInfo {
    return this.#info(this.#entry(name));
  }

  /** The first export that serves the volume, if any. */
  nameOfVolume(volume: string): string | null {
    return this.#ofVolume(volume)[0]?.record.name ?? null;
  }

  /** Clients of the volume itself, not of its snapshots. */
  clientsOf(volume: string): number {
    const all = this.#ofVolume(volume).map(({ record }) => this.clients(record.name).length);
    return all.reduce((sum, count) => sum + count, 0);
  }

  /** Closes the connections of the volume's clients behind what is in flight; they may come again at once. @returns how many there were */
  disconnect(volume: string): Promise<number> {
    return this.#turns.run(async () => {
      let count = 0;
      for (const { record, served } of this.#ofVolume(volume)) {
        if (served === null) continue;
        count += await this.#to.dataPlane.removeExport(record.name);
        this.#serving.expose(record, served);
      }
      return count;
    });
  }

  clients(exportName?: string): ExportClient[] {
    const all = this.#to.dataPlane.clients();
    return exportName === undefined ? all : all.filter((client) => client.export === exportName);
  }

  /** Counters of every volume that is served, since it was opened. */
  volumeStats(): { volume: string; stats: VolumeStats }[] {
    const byVolume = new Map<string, VolumeStats>();
    for (const entry of this.#volumeEntries()) {
      const source = entry.served?.source;
      if (source?.kind !== 'volume') continue;
      byVolume.set(this.#volumeOf(entry).name, source.plane.stats());
    }
    return [...byVolume].map(([volume, stats]) => ({ volume, stats }));
  }

  /**
   * Serves the volume under the name; true already → nothing changes.
   *
   * @throws StorageError volume/not-found, export/listen
   * @throws StorageError export/exists the name serves something else, or otherwise
   */
  add(options: AddExportOptions): Promise<{ export: ExportInfo | null; changed: boolean }> {
    return this.#turns.run(() => this.#add(options));
  }

  /**
   * Serves a whole disk as it is, under the name; true already → nothing changes.
   *
   * @throws StorageError request/invalid, disk/unusable, disk/in-use, pool/held, export/listen
   * @throws StorageError export/exists the name serves something else, or otherwise
   */
  passThrough(
    options: PassthroughOptions,
  ): Promise<{ export: ExportInfo | null; changed: boolean }> {
    return this.#turns.run(() => this.#passThrough(options));
  }

  /** The disks that are served as they are, and those that are to be. */
  passthroughs(): PassthroughInfo[] {
    return [...this.#entries.values()].flatMap(({ record, served }) => {
      if (!isPassthrough(record)) return [];
      const { uuid, name, disk } = record;
      const sizeBytes = sizeOf(record, served);
      const state = describePassthrough(disk, diskOf(served)?.plane);
      return [{ uuid, export: name, disk, sizeBytes, ...state }];
    });
  }

  /** What those disks are used for, so that nobody else takes them. */
  diskUses(): DiskUse[] {
    return this.passthroughs().map(({ export: name, disk }) => {
      return { use: `is passed through as export ${name}`, disks: [disk] };
    });
  }

  /**
   * Stops serving; the volume, or the disk, and its data stay.
   *
   * @throws StorageError export/not-found
   * @throws StorageError export/busy clients are connected and `disconnect` was not given
   */
  remove(name: string, options: RemoveExportOptions = {}): Promise<void> {
    return this.#turns.run(() => this.#remove(name, options));
  }

  /**
   * Serves what the open pools remember, and listens on the default socket from now on.
   *
   * @throws StorageError export/listen the default socket cannot be had
   */
  start(): Promise<void> {
    return this.#turns.run(async () => {
      const opened: Opened[] = [];
      const stores = [this.#to.host, ...this.#to.pools().map(storeOf)];
      for (const store of stores) opened.push(...(await this.#openStored(store)));
      this.#default = await this.#listeners.hold(this.#to.defaultAddress);
      for (const each of opened) await this.#serveStored(each);
    });
  }

  /** Serves what a pool remembers that was opened later, or again; what cannot be served is kept as failed and said. */
  restore(pool: RecordPool): Promise<void> {
    return this.#turns.run(async () => {
      for (const each of await this.#openStored(storeOf(pool))) await this.#serveStored(each);
    });
  }

  /**
   * Stops serving the pool's exports without forgetting them, so that it can be let go.
   *
   * @throws StorageError export/busy clients are connected
   */
  release(pool: string, { disconnect = false } = {}): Promise<void> {
    return this.#turns.run(async () => {
      if (!disconnect) this.checkIdle(pool);
      await this.#dropAll((entry) => entry.pool === pool);
    });
  }

  /**
   * Another host has the pool: its clients lose their connections, without an answer to what is in flight, and are refused from now on,
   * so that they find the new host. Begun when it returns.
   */
  abandon(pool: string): void {
    for (const entry of this.#entries.values()) {
      const { served, record } = entry;
      if (entry.pool !== pool || served === null) continue;
      entry.served = null;
      entry.failure = 'another host has the pool';
      this.#to.dataPlane
        .removeExport(record.name, { abort: true })
        .then(() => this.#serving.end(served))
        .catch((error) => this.#fail(entry, error));
    }
  }

  /** @throws StorageError export/busy clients use exports of the pool */
  checkIdle(pool: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.pool === pool) this.#checkIdle(entry.record.name, 'varve client list');
    }
  }

  /** `work` may have the exports of volumes serve the same volumes of another pool; nothing is added or removed meanwhile. */
  handOver<T>(work: (hand: HandOver) => Promise<T>): Promise<T> {
    const { dataPlane } = this.#to;
    return this.#turns.run(() => work(new HandOver(dataPlane, this.#serving, this.#entries)));
  }

  /** As `close`, but clients and sockets are left to the next process as they are once what is in flight has been answered. */
  leaveTo(heir: Heir): Promise<void> {
    return this.#turns.run(async () => {
      await this.#listeners.leave((listener) => heir.parkListener(listener));
      await heir.takeClients();
      this.#to.onClientsGone();
      await this.#dropAll(() => true, { abort: true });
      this.#default = null;
    });
  }

  /** Answers what is in flight, closes clients, volumes and sockets. May be called twice. */
  close(): Promise<void> {
    return this.#turns.run(async () => {
      const all = [...this.#entries.values()];
      this.#entries.clear();
      for (const entry of all) await this.#withServed(entry, () => this.#removeExport(entry));
      this.#to.onClientsGone();
      for (const entry of all) {
        await this.#withServed(entry, (served) => this.#serving.end(served));
      }
      if (this.#default !== null) await this.#listeners.release(this.#default);
      this.#default = null;
    });
  }

  async #add(options: AddExportOptions): Promise<{ export: ExportInfo | null; changed: boolean }> {
    expectName('export', options.name);
    expectSensible(options);
    const volume = this.#to.volumes.get(options.volume);
    const source = this.#snapshotOf(options);
    const addresses = (options.listen ?? []).map(parseAddress);
    this.#expectAllowed(volume, options);
    const known = this.#entries.get(options.name);
    if (known !== undefined) return this.#confirm(known, volume, options);
    if (options.dryRun) return { export: null, changed: true };

    const draft: VolumeExportRecord = {
      name: options.name,
      volumeId: volume.id,
      ...source,
      readOnly: isReadOnly(options),
      listen: addresses.map(formatAddress),
      createdAt: this.#to.now().toISOString(),
    };
    return this.#added(await this.#bringUp(this.#store(volume.pool), draft));
  }

  #added(entry: Entry) {
    const info = this.#info(entry);
    this.#to.emit({
      kind: 'export/added',
      level: 'info',
      subject: info.name,
      message: `export ${info.name} serves ${sourceOf(info)}`,
    });
    return { export: info, changed: true };
  }

  async #passThrough(options: PassthroughOptions) {
    expectName('export', options.name);
    const { name, disk: uri, readOnly = false, listen = [], dryRun } = options;
    const addresses = listen.map(parseAddress);
    const known = this.#entries.get(name);
    if (known !== undefined) {
      const { record } = known;
      const same =
        isPassthrough(record) &&
        record.disk.path === parseDiskUri(uri).path &&
        record.readOnly === readOnly &&
        sameAddresses(record.listen, listen);
      return this.#confirmSame(known, same, dryRun);
    }
    const { location, sizeBytes } = await this.#to.disks.find(uri, { readOnly });
    if (dryRun) return { export: null, changed: true };
    const draft: ExportRecord = {
      name,
      uuid: newUuid(),
      disk: location,
      sizeBytes,
      readOnly,
      listen: addresses.map(formatAddress),
      createdAt: this.#to.now().toISOString(),
    };
    return this.#added(await this.#bringUp(this.#to.host, draft));
  }

  async #confirm(known: Entry, volume: VolumeInfo, options: AddExportOptions) {
    const { record } = known;
    const same =
      isOfVolume(known) &&
      this.#volumeOf(known).name === volume.name &&
      sameSnapshot(known.record, this.#snapshotOf(options)) &&
      record.readOnly === isReadOnly(options) &&
      sameAddresses(record.listen, options.listen ?? []);
    return this.#confirmSame(known, same, options.dryRun);
  }

  /** The name is known: the same is confirmed (and, where it failed, tried again), something else refused. */
  async #confirmSame(known: Entry, same: boolean, dryRun: boolean | undefined) {
    if (!same) {
      const { name } = known.record;
      throw new StorageError(
        'export/exists',
        `export ${name} serves ${sourceOf(this.#info(known))} with other parameters`,
        {
          actions: [
            `varve export show ${name}`,
            'choose another name, or remove that export first',
          ],
        },
      );
    }
    if (known.served !== null) return { export: this.#info(known), changed: false };
    if (!dryRun) await this.#retry(known);
    return { export: this.#info(known), changed: true };
  }

  async #retry(entry: Entry): Promise<void> {
    const source = await this.#serving.open(entry.pool, entry.record);
    entry.served = await this.#serving.listen(source, entry.record);
    this.#serving.expose(entry.record, entry.served);
    entry.failure = null;
  }

  async #bringUp(store: ExportStore, draft: ExportRecord): Promise<Entry> {
    const source = await this.#serving.open(store.pool, draft);
    const served = await this.#serving.listen(source, draft);
    const listen = served.listeners.slice(1).map((listener) => formatAddress(listener.address));
    const record = { ...draft, listen };
    try {
      await store.put(record);
    } catch (error) {
      await this.#serving.end(served);
      throw error;
    }
    this.#serving.expose(record, served);
    const entry: Entry = { record, pool: store.pool, served, failure: null };
    this.#entries.set(record.name, entry);
    return entry;
  }

  async #remove(name: string, options: RemoveExportOptions): Promise<void> {
    const entry = this.#entry(name);
    if (!options.disconnect) this.#checkIdle(name, `varve export remove ${name} --disconnect`);
    if (options.dryRun) return;
    await this.#store(entry.pool).remove(name);
    await this.#drop(entry);
    this.#to.emit({
      kind: 'export/removed',
      level: 'info',
      subject: name,
      message: `export ${name} is gone`,
    });
  }

  /**
   * Opens what the exports of a store serve. Everything is open before the first is served: a client that
   * reconnects after a restart must not find its export missing while another's volume opens.
   */
  async #openStored(store: ExportStore): Promise<Opened[]> {
    const opened: Opened[] = [];
    for (const record of store.all()) {
      const entry: Entry = { record, pool: store.pool, served: null, failure: null };
      const known = this.#entries.get(record.name);
      const isSame = known?.pool === entry.pool;
      if (isSame && known?.served !== null) continue;
      if (known !== undefined && !isSame) {
        this.#fail(entry, new Error(`${homeOf(known)} has an export of the same name`));
        continue;
      }
      this.#entries.set(record.name, entry);
      try {
        opened.push({ entry, source: await this.#serving.open(entry.pool, record) });
      } catch (error) {
        this.#fail(entry, error);
      }
    }
    return opened;
  }

  async #serveStored({ entry, source }: Opened): Promise<void> {
    try {
      entry.served = await this.#serving.listen(source, entry.record);
      this.#serving.expose(entry.record, entry.served);
    } catch (error) {
      this.#fail(entry, error);
    }
  }

  #fail(entry: Entry, error: unknown): void {
    entry.failure = messageOf(error);
    this.#to.emit({
      kind: 'export/failed',
      level: 'error',
      subject: entry.record.name,
      message: `export ${entry.record.name} of ${homeOf(entry)} is not served: ${entry.failure}`,
    });
  }

  async #drop(entry: Entry, { abort = false } = {}): Promise<void> {
    this.#entries.delete(entry.record.name);
    await this.#withServed(entry, async (served) => {
      await this.#removeExport(entry, { abort });
      await this.#serving.end(served);
    });
  }

  async #removeExport({ record }: Entry, { abort = false } = {}): Promise<void> {
    await this.#to.dataPlane.removeExport(record.name, { abort });
  }

  /** What its disk does not do must not keep the clients' requests, and with them `work`, for as long as the disk's patience. */
  async #withServed({ served }: Entry, work: (served: Served) => Promise<void>): Promise<void> {
    if (served === null) return;
    const disk = diskOf(served);
    const stopHurrying = hurry(disk === undefined ? [] : [disk]);
    try {
      await work(served);
    } finally {
      stopHurrying();
    }
  }

  async #dropAll(which: (entry: Entry) => boolean, { abort = false } = {}): Promise<void> {
    for (const entry of [...this.#entries.values()].filter(which))
      await this.#drop(entry, { abort });
  }

  #checkIdle(name: string, action: string): void {
    const count = this.clients(name).length;
    if (count === 0) return;
    const clients = count === 1 ? '1 client is' : `${count} clients are`;
    throw new StorageError('export/busy', `${clients} connected to export ${name}`, {
      actions: [action, 'detach the disk in the guest first'],
    });
  }

  /** Exports of volumes themselves. */
  #volumeEntries(): Entry<VolumeExportRecord>[] {
    const all = [...this.#entries.values()].filter(isOfVolume);
    return all.filter(({ record }) => record.snapshotId === undefined);
  }

  #ofVolume(volume: string): Entry<VolumeExportRecord>[] {
    const own = this.#volumeEntries();
    return own.filter((entry) => this.#volumeOf(entry).name === volume).sort(byName);
  }

  /** What is remembered of the snapshot to be served, if it is one. @throws StorageError snapshot/not-found */
  #snapshotOf({ volume, snapshot, scratch, changedSince }: AddExportOptions): SnapshotPart {
    if (snapshot === undefined) return {};
    const { id: snapshotId, kind } = this.#to.snapshots.get(volume, snapshot);
    if (kind === 'bookmark') {
      throw new StorageError(
        'snapshot/not-found',
        `${volume}@${snapshot} is a bookmark without data`,
      );
    }
    if (scratch) return { snapshotId, scratch };
    if (changedSince === undefined) return { snapshotId };
    const { createdAt } = this.#to.snapshots.get(volume, changedSince);
    return { snapshotId, changedSince, changedSinceTime: createdAt };
  }

  #snapshotGuard(pool: string, snapshotId: number): string | null {
    const entry = [...this.#entries.values()]
      .filter(isOfVolume)
      .find((each) => each.pool === pool && each.record.snapshotId === snapshotId);
    if (entry === undefined) return null;
    const { name } = entry.record;
    return `it is exported as ${name} (varve export remove ${name})`;
  }

  #guard(volume: string): string | null {
    const name = this.nameOfVolume(volume);
    return name === null ? null : `it is exported as ${name} (varve export remove ${name})`;
  }

  /** Why the name of a whole disk does not do where a volume is wanted. */
  #passthroughError(name: string): StorageError | undefined {
    const record = this.#entries.get(name)?.record;
    if (record === undefined || !isPassthrough(record)) return undefined;
    return new StorageError(
      'export/passthrough',
      `${name} is the disk ${record.disk.uri} as it is, not a volume: it has no snapshots, no clones and the size it has`,
      {
        actions: [
          `varve export remove ${name}, then varve volume adopt ${record.disk.uri} ${name} --pool POOL: its data is a volume at once`,
        ],
      },
    );
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    const isVolume = this.#to.volumes.list().some((volume) => volume.name === name);
    throw new StorageError('export/not-found', `there is no export ${name}`, {
      actions: [...(isVolume ? [`varve export add ${name}`] : []), 'varve export list'],
    });
  }

  /** @throws StorageError pool/read-only it would be written to */
  #expectAllowed({ name, pool }: VolumeInfo, options: AddExportOptions): void {
    if (isReadOnly(options) || !this.#pool(pool).info().readOnly) return;
    const what = options.snapshot === undefined ? name : `${name}@${options.snapshot}`;
    throw new StorageError('pool/read-only', `pool ${pool} was imported to be read only`, {
      actions: [`varve export add ${what}${options.scratch ? '' : ' --read-only'}`],
    });
  }

  #store(pool: string | null): ExportStore {
    return pool === null ? this.#to.host : storeOf(this.#pool(pool));
  }

  #pool(name: string): RecordPool {
    const found = this.#to.pools().find((candidate) => candidate.info().name === name);
    invariant(found !== undefined, `pool ${name} of an export is open`);
    return found;
  }

  #volumeOf({ pool, record }: Entry<VolumeExportRecord>): VolumeInfo {
    invariant(pool !== null, 'a volume is in a pool');
    return volumeById(this.#to.volumes, pool, record.volumeId);
  }

  #info(entry: Entry): ExportInfo {
    const { record, pool, failure } = entry;
    const addresses = [this.#to.defaultAddress, ...record.listen.map(parseAddress)];
    return {
      name: record.name,
      pool,
      ...this.#sourceInfo(entry),
      readOnly: record.readOnly,
      listen: addresses.map(formatAddress),
      uris: addresses.map((address) => nbdUri(address, record.name)),
      clients: this.clients(record.name).length,
      createdAt: record.createdAt,
      failure,
    };
  }

  #sourceInfo(entry: Entry): SourceInfo {
    if (!isOfVolume(entry)) return diskInfo(entry as Entry<DiskExportRecord>);
    const volume = this.#volumeOf(entry);
    const { snapshotId, scratch = false, changedSince = null } = entry.record;
    const common = { volume: volume.name, disk: null, scratch, changedSince };
    if (snapshotId === undefined) {
      const { sizeBytes } = volume;
      const serial = serialOfVolume(volume);
      return { ...common, kind: 'volume', snapshot: null, sizeBytes, serial };
    }
    const snapshot = this.#to.snapshots.byId(volume.pool, snapshotId);
    const { name, sizeBytes } = snapshot;
    const serial = serialOfSnapshot(volume, snapshot, entry.record);
    return { ...common, kind: 'snapshot', snapshot: name, sizeBytes, serial };
  }
}

/** @throws StorageError request/invalid */
function expectSensible({ snapshot, scratch, changedSince, readOnly }: AddExportOptions): void {
  const refused = (why: string) => new StorageError('request/invalid', why);
  if (scratch && snapshot === undefined) throw refused('scratch is for snapshots: name one');
  if (scratch && readOnly) throw refused('a scratch export is there to be written to');
  if (changedSince === undefined) return;
  if (snapshot === undefined || scratch) {
    throw refused('what changed can be told of a snapshot only: a volume changes while it is read');
  }
}

/** A snapshot never changes; its scratch does. */
function isReadOnly({ snapshot, scratch, readOnly }: AddExportOptions): boolean {
  return snapshot === undefined ? (readOnly ?? false) : !scratch;
}

function sourceOf({ kind, volume, snapshot, disk }: ExportInfo): string {
  if (kind === 'passthrough') return `disk ${disk}`;
  return kind === 'volume' ? `volume ${volume}` : `snapshot ${volume}@${snapshot}`;
}

function homeOf({ pool }: Entry): string {
  return pool === null ? 'this host' : `pool ${pool}`;
}

function diskInfo({ record, served }: Entry<DiskExportRecord>): SourceInfo {
  const nothing = { volume: null, snapshot: null, scratch: false, changedSince: null };
  const sizeBytes = sizeOf(record, served);
  const serial = serialOfDisk(record);
  return { ...nothing, kind: 'passthrough', disk: record.disk.uri, sizeBytes, serial };
}

/** As found when it was opened, else when it was added. */
function sizeOf(record: DiskExportRecord, served: Served | null): number {
  return diskOf(served)?.plane.sizeBytes ?? record.sizeBytes;
}

/** The disk that is served as it is, if that is what is served. */
function diskOf(served: Served | null) {
  return served?.source.kind === 'disk' ? served.source : undefined;
}

function sameSnapshot(a: SnapshotPart, b: SnapshotPart): boolean {
  return snapshotKeys.every((key) => a[key] === b[key]);
}

function byName(a: Entry, b: Entry): number {
  return a.record.name < b.record.name ? -1 : 1;
}
