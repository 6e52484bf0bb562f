/**
 * Pools: the pools this host serves, by name.
 *
 * What an operator may do with pools as wholes: create, import, export, delete, add a disk, check. Everything is checked
 * before anything is written; one such change runs at a time. A pool that cannot be opened at the start of the
 * service is listed as failed with the reason, and opened when it can be (known-pools.ts); the others serve.
 */
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Mutex } from '../base/mutex.ts';
import { expectName } from '../base/names.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import {
  type BackingPlan,
  type DiskUse,
  identifyPool,
  locateDisks,
  planBackings,
  probeUri,
  usedDisks,
} from './backing.ts';
import { createFiles, removeFiles } from './backing-files.ts';
import { expectAnswering, patienceSecondsDefault } from './disk-conditions.ts';
import type { DiskLocation, PoolDisk } from './disk-set.ts';
import { isNetworkUri, parseDiskUri } from './disk-uri.ts';
import { type ExistingDisk, findExistingDisk } from './existing-disk.ts';
import { foreignUse } from './foreign-disks.ts';
import { defaultClusterBytes, isClusterBytes } from './format/geometry.ts';
import type { ImageServers } from './image-disk.ts';
import { KnownPools } from './known-pools.ts';
import { expectLeaseFree, type LeaseTimes, leaseTimes } from './lease.ts';
import { expectNoClash, type NamedRecords } from './name-clash.ts';
import { checkOnline } from './online-check.ts';
import { type ClosingOptions, Pool, type PoolServices } from './pool.ts';
import {
  labelDisk,
  type NewPool,
  planPool,
  previewPool,
  wipeDisks,
  writePool,
} from './pool-creation.ts';
import { previewDisk } from './pool-info.ts';
import { type PoolEntry, PoolList } from './pool-list.ts';
import { openReadOnly } from './read-only-opening.ts';
import { peekRecords } from './record-peek.ts';
import { type RecoveryInput, recoverPool } from './recovery.ts';
import type {
  CheckReport,
  CreatePoolOptions,
  DiskInfo,
  EmitEvent,
  ImportPoolOptions,
  PoolActivity,
  PoolInfo,
  PoolSettings,
} from './types.ts';
import { describeUnopened } from './unopened-pool.ts';

export interface PoolsOptions {
  /** Unflushed writes become durable within this. */
  readonly flushWindowMs: number;
  /** Patience with disks of pools that have none of their own; 60 unless given. */
  readonly patienceSeconds?: number;
  /** Tests only, to be the same on all hosts: 30 s unless given. */
  readonly leaseTimes?: LeaseTimes;
}

const patienceSecondsMax = 86_400;

export interface PoolsDependencies {
  readonly stateDir: string;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly log: Log;
  readonly emit: EmitEvent;
  readonly images?: ImageServers;
  readonly options: PoolsOptions;
}

export class Pools {
  readonly #services: PoolServices;
  readonly #list: PoolList;
  readonly #open = new Map<string, Pool>();
  readonly #known: KnownPools;
  readonly #changing = new Mutex();
  readonly #afterOpen: ((pool: Pool) => void)[] = [];
  readonly #beforeClose: ((pool: Pool) => Promise<void>)[] = [];
  readonly #otherUses: (() => readonly DiskUse[])[] = [];
  readonly #returned = new Set<string>();
  #whenFenced: (pool: Pool) => void = () => {};
  #whenReturned: (name: string) => void = (name) => this.#returned.add(name);

  private constructor(services: PoolServices, list: PoolList) {
    this.#services = services;
    this.#list = list;
    this.#known = new KnownPools({
      clock: services.clock,
      open: (entry, how) => this.#openKnown(entry, how),
      isServed: (name) => this.#open.has(name),
      inTurn: (work) => this.#changing.run(work),
      onRefused: (entry, error) => this.#tellUnopened(entry, error),
      onReturned: ({ name }) => {
        this.#tell('pool/opened', name, `pool ${name} can be opened by now, and is`);
        this.#whenReturned(name);
      },
    });
  }

  /** Opens every pool of the state folder that can be opened; what takes longer goes on behind it. @throws StorageError service/state-version */
  static async open(dependencies: PoolsDependencies): Promise<Pools> {
    const { stateDir, options, ...services } = dependencies;
    const list = await PoolList.open(stateDir);
    const patienceSeconds = options.patienceSeconds ?? patienceSecondsDefault;
    const { flushWindowMs, leaseTimes: times = leaseTimes() } = options;
    const given = { flushWindowMs, patienceSeconds, leaseTimes: times };
    const pools = new Pools({ ...services, ...given }, list);
    await pools.#known.open(list.entries);
    return pools;
  }

  list(): PoolInfo[] {
    const open = [...this.#open.values()].map((pool) => pool.info());
    const unopened = this.#known.all
      .filter(({ entry }) => !this.#open.has(entry.name))
      .map(describeUnopened);
    return [...open, ...unopened].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The open pools. */
  all(): readonly Pool[] {
    return [...this.#open.values()];
  }

  /** Of the open ones. */
  activity(): PoolActivity[] {
    return this.all().map((pool) => pool.activity());
  }

  /** @throws StorageError pool/not-found; whatever kept the pool from being opened */
  get(name: string): Pool {
    const pool = this.#open.get(name);
    if (pool !== undefined) return pool;
    const unopened = this.#known.byName(name);
    if (unopened !== undefined) throw unopened.error;
    throw new StorageError('pool/not-found', `there is no pool ${name}`, {
      actions: ['varve pool list'],
    });
  }

  /** `work` runs for every pool that is open, and for each that will be. */
  onOpen(work: (pool: Pool) => void): void {
    this.#afterOpen.push(work);
    for (const pool of this.#open.values()) work(pool);
  }

  /** `work` runs at once when a pool turns out to be another host's. One. */
  onFenced(work: (pool: Pool) => void): void {
    this.#whenFenced = work;
  }

  /** `work` runs when a pool is served that could not be at the service's start. One. */
  onReturned(work: (name: string) => void): void {
    this.#whenReturned = work;
    for (const name of this.#returned) work(name);
  }

  /** `work` runs before a pool is closed or let go, so that nobody above still uses it. */
  onClose(work: (pool: Pool) => Promise<void>): void {
    this.#beforeClose.push(work);
  }

  /** `uses` tells of disks that others than pools use. */
  addDiskUses(uses: () => readonly DiskUse[]): void {
    this.#otherUses.push(uses);
  }

  /** What a disk of that identity (ProbeResult) is used for here; it says undefined when it is free. */
  async diskUses(): Promise<(identity: string) => string | undefined> {
    const ofPools = this.#list.entries.map(({ name, disks }) => {
      return { use: `belongs to pool ${name}`, disks };
    });
    const adopted = this.all().flatMap(({ name, foreignDisks }) =>
      foreignDisks.map(({ record }) => foreignUse(name, record)),
    );
    const others = this.#otherUses.flatMap((uses) => uses());
    const uses = [...ofPools, ...adopted, ...others];
    const used = await usedDisks(this.#services.dataPlane, uses);
    return (identity) => used.get(identity);
  }

  /** A disk that is to be used as it is; see existing-disk.ts. */
  async findExistingDisk(
    uri: string,
    access: { readonly readOnly: boolean },
  ): Promise<ExistingDisk> {
    const usedAs = await this.diskUses();
    return findExistingDisk(this.#services.dataPlane, uri, { ...access, usedAs });
  }

  /** Whether the disk is there, carries no label and is used for nothing here. */
  async isNobodys(uri: string): Promise<boolean> {
    try {
      await this.findExistingDisk(uri, { readOnly: true });
      return true;
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
  }

  /**
   * A disk, or a file that may not be there yet, that is to be written over as a whole; nothing is changed.
   *
   * @throws StorageError request/invalid, disk/unusable, disk/in-use it is used here, or carries something and `force` is not given
   */
  async planTarget(
    uri: string,
    { sizeBytes, force }: { readonly sizeBytes: number; readonly force: boolean },
  ): Promise<BackingPlan> {
    const { dataPlane } = this.#services;
    const rules = { force, usedAs: await this.diskUses() };
    const found = parseDiskUri(uri);
    const isNew =
      !isNetworkUri(found) &&
      found.kind !== 'block' &&
      (await probeUri(dataPlane, found)).kind === 'missing';
    const sized = isNew && found.sizeBytes === undefined ? `${uri}?size=${sizeBytes}` : uri;
    const [plan] = await planBackings(dataPlane, [sized], rules);
    if (plan === undefined) throw new StorageError('request/invalid', 'no disk was named');
    return plan;
  }

  /**
   * Creates a pool on disks, files among them created sparse when they have a size and are absent.
   *
   * The same name on the same disks again changes nothing.
   *
   * @throws StorageError request/invalid, pool/exists, disk/unusable, disk/in-use, disk/too-small, pool/held, disk/io;
   *   files it created are removed then
   */
  create(
    name: string,
    uris: readonly string[],
    options: CreatePoolOptions = {},
  ): Promise<{ pool: PoolInfo; changed: boolean }> {
    return this.#changing.run(async () => {
      expectName('pool', name);
      const clusterBytes = options.clusterBytes ?? defaultClusterBytes;
      expectClusterBytes(clusterBytes);
      const patienceSeconds = options.patienceSeconds ?? this.#services.patienceSeconds;
      expectPatience(patienceSeconds);
      const same = await this.#sameAsExisting(name, uris, options.clusterBytes);
      if (same !== undefined) return { pool: same, changed: false };
      const plans = await this.#planBackings(uris, options.force ?? false);
      const { clock } = this.#services;
      const plan = planPool({ name, clusterBytes, plans, clock, settings: { patienceSeconds } });
      if (options.dryRun) return { pool: previewPool(plan), changed: true };
      return { pool: (await this.#make(plan)).info(), changed: true };
    });
  }

  /**
   * Changes what may be changed of a pool that serves.
   *
   * @throws StorageError pool/not-found, pool/failed, request/invalid
   */
  set(
    name: string,
    settings: PoolSettings,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<{ pool: PoolInfo; changed: boolean }> {
    return this.#changing.run(async () => {
      const pool = this.get(name);
      pool.expectWritable();
      expectPatience(settings.patienceSeconds);
      const changed = settings.patienceSeconds !== pool.info().patienceSeconds;
      if (changed && !options.dryRun) await pool.set(settings);
      return { pool: pool.info(), changed };
    });
  }

  /**
   * Removes an empty pool: its disks carry no label afterwards. Files stay.
   *
   * @throws StorageError pool/not-found, pool/not-empty
   */
  delete(name: string, options: { readonly dryRun?: boolean } = {}): Promise<void> {
    return this.#changing.run(async () => {
      const pool = this.get(name);
      pool.expectWritable();
      expectEmpty(pool);
      if (options.dryRun) return;
      await expectReady(pool);
      // Whoever came meanwhile counts.
      expectEmpty(pool);
      const locations = pool.disks.map((disk) => disk.location);
      await this.#letGo(pool);
      await wipeDisks(this.#services.dataPlane, locations);
      this.#tell('pool/deleted', name, `pool ${name} was deleted`);
    });
  }

  /**
   * Lets go of a pool cleanly, so that any host may import it; one that could not be opened, or was taken over by another host, is
   * forgotten.
   *
   * @throws StorageError pool/not-found, export/busy, disk/io
   */
  export(name: string, options: { readonly dryRun?: boolean } = {}): Promise<void> {
    return this.#changing.run(async () => {
      const unopened = this.#known.byName(name);
      if (unopened !== undefined && !this.#open.has(name)) {
        if (options.dryRun) return;
        this.#known.forget(unopened.entry.uuid);
        await this.#forget(unopened.entry.uuid);
        return;
      }
      const pool = this.get(name);
      if (options.dryRun) return;
      if (isOurs(pool)) await expectReady(pool);
      await this.#letGo(pool);
      this.#tell('pool/exported', name, `pool ${name} was let go`);
    });
  }

  /**
   * Opens a pool from its disks alone.
   *
   * @throws StorageError pool/exists; volume/exists it has volumes or exports of names in use here; pool/held, pool/opening, pool/disk-missing, pool/format, pool/damaged, disk/unusable, disk/io
   */
  import(uris: readonly string[], options: ImportPoolOptions = {}): Promise<PoolInfo> {
    return this.#changing.run(async () => {
      const { takeover = false, readOnly = false, dryRun } = options;
      expectOneWay({ takeover, readOnly });
      this.#known.expectIdle(uris.map((uri) => parseDiskUri(uri).path));
      const disks = await locateDisks(this.#services.dataPlane, uris);
      const { uuid, name } = await identifyPool(this.#services.dataPlane, disks);
      this.#expectNotServed(name);
      if (readOnly) return this.#importReadOnly(disks, { uuid, dryRun: dryRun ?? false });
      if (dryRun) {
        await this.#checkImport(disks, takeover);
        return describeUnopened({ entry: { uuid, name, disks }, error: null });
      }
      const pool = await this.#start(disks, { takeover });
      await this.#remember(pool);
      this.#known.forget(uuid);
      this.#tell('pool/imported', name, `pool ${name} was imported`);
      return pool.info();
    });
  }

  /**
   * Adds a disk to a pool while it serves.
   *
   * @throws StorageError pool/not-found, pool/failed, disk/unusable, disk/in-use, disk/too-small, disk/io
   */
  addDisk(
    poolName: string,
    uri: string,
    options: { readonly force?: boolean; readonly dryRun?: boolean } = {},
  ): Promise<DiskInfo> {
    return this.#changing.run(async () => {
      const pool = this.get(poolName);
      pool.expectWritable();
      const [plan] = await this.#planBackings([uri], options.force ?? false);
      if (plan === undefined) throw new StorageError('request/invalid', 'no disk was named');
      const label = pool.labelForNewDisk(plan.sizeBytes);
      if (options.dryRun) return previewDisk({ label, location: plan.location });
      return this.#addDisk(pool, plan, label);
    });
  }

  /**
   * Takes an empty disk out of a pool while it serves: it belongs to nobody afterwards.
   *
   * @returns what it was
   * @throws StorageError pool/not-found, disk/not-found, disk/not-empty, disk/needed; pool/failed, disk/io it may be repeated
   */
  removeDisk(
    poolName: string,
    number: number,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<DiskInfo> {
    return this.#changing.run(async () => {
      const pool = this.get(poolName);
      pool.expectWritable();
      expectDisk(pool, number);
      const disk = pool.diskInfo(number);
      await pool.expectRemovable(number);
      if (options.dryRun) return disk;
      await pool.removeDisk(number);
      await this.#remember(pool);
      this.#tell('disk/removed', poolName, `disk ${disk.uri} was removed from pool ${poolName}`);
      return disk;
    });
  }

  /** Verifies a pool while it serves. @throws StorageError pool/not-found, pool/failed */
  async check(name: string): Promise<CheckReport> {
    const pool = this.get(name);
    await pool.flush();
    return checkOnline(pool);
  }

  /** Every pool is going to be closed, and whatever works in them to end before: see Pool.hurry. */
  hurry(): void {
    for (const pool of this.#open.values()) pool.hurry();
  }

  /** Closes every pool; the same service may open them again. @param options.soon see Pool.close */
  close(options: { readonly soon?: boolean } = {}): Promise<void> {
    return this.#changing.run(async () => {
      await this.#known.close();
      for (const pool of this.#open.values()) await this.#close(pool, options);
    });
  }

  async #openKnown(entry: PoolEntry, { isRetry }: { readonly isRetry: boolean }): Promise<void> {
    const expectWanted = () => {
      if (!this.#known.isWanted(entry)) throw notWanted(entry);
    };
    const pool = await this.#start(entry.disks, { remembered: true, isRetry, expectWanted });
    if (pool.disks.length !== entry.disks.length) await this.#remember(pool);
  }

  #tellUnopened({ name }: PoolEntry, error: StorageError): void {
    const message = `pool ${name} cannot be opened: ${error.message}`;
    this.#services.log.error({ pool: name, error }, message);
    this.#services.emit({ kind: 'pool/unopened', level: 'error', subject: name, message });
  }

  async #start(
    disks: readonly DiskLocation[],
    how: Partial<Pick<RecoveryInput, 'takeover' | 'remembered' | 'isRetry' | 'expectWanted'>> = {},
  ): Promise<Pool> {
    const { takeover = false, remembered = false, isRetry = false } = how;
    const { expectWanted = () => {} } = how;
    const { dataPlane, clock, leaseTimes: times } = this.#services;
    const recovered = await recoverPool({
      dataPlane,
      clock,
      times,
      locations: disks,
      hostId: this.#list.hostId,
      takeover,
      remembered,
      isRetry,
      expectWanted,
      accept: (found) => expectNoClash(found, this.all().map(namedRecords)),
      folderOf: (uuid) => this.#list.folderOf(uuid),
    });
    const pool = await Pool.start(recovered, this.#services);
    try {
      expectWanted();
      this.#expectWelcome(pool);
    } catch (error) {
      await pool.close();
      throw error;
    }
    this.#serve(pool);
    return pool;
  }

  /** Of an opening that took its time: others may have come before it. @throws StorageError pool/exists, volume/exists */
  #expectWelcome(pool: Pool): void {
    this.#expectNotServed(pool.name);
    expectNoClash(namedRecords(pool), this.all().map(namedRecords));
  }

  #serve(pool: Pool): void {
    this.#open.set(pool.name, pool);
    pool.onFenced(() => this.#whenFenced(pool));
    for (const work of this.#afterOpen) work(pool);
  }

  /** What an import would be refused for, of what can be told without opening the pool. */
  async #checkImport(disks: readonly DiskLocation[], takeover: boolean): Promise<void> {
    const { dataPlane, clock, leaseTimes: times } = this.#services;
    const claim = { clock, times, takeover, hostId: this.#list.hostId };
    const found = await peekRecords(dataPlane, disks, (opened, truth) =>
      expectLeaseFree(opened, truth, claim),
    );
    expectNoClash(found, this.all().map(namedRecords));
  }

  /** Nothing of it is remembered: it is gone with the service, and what this host remembers of the pool stays as it is. */
  async #importReadOnly(
    locations: readonly DiskLocation[],
    { uuid, dryRun }: { readonly uuid: string; readonly dryRun: boolean },
  ): Promise<PoolInfo> {
    const { dataPlane, clock, leaseTimes: times } = this.#services;
    const recovered = await openReadOnly({
      dataPlane,
      clock,
      times,
      locations,
      hostId: this.#list.hostId,
      accept: (found) => expectNoClash(found, this.all().map(namedRecords)),
      folder: await this.#list.readOnlyFolderOf(uuid),
    });
    const pool = await Pool.start(recovered, this.#services);
    if (dryRun) {
      const info = pool.info();
      await pool.close();
      return info;
    }
    this.#serve(pool);
    this.#tell('pool/imported', pool.name, `pool ${pool.name} was imported to be read only`);
    return pool.info();
  }

  async #make(plan: NewPool): Promise<Pool> {
    await createFiles(this.#services.dataPlane, plan.plans);
    try {
      await writePool(this.#services.dataPlane, plan);
      const disks = plan.plans.map(({ location }) => location);
      const pool = await this.#start(disks);
      await this.#remember(pool);
      this.#tell('pool/created', pool.name, `pool ${pool.name} was created`);
      return pool;
    } catch (error) {
      await removeFiles(this.#services.dataPlane, plan.plans);
      throw error;
    }
  }

  async #addDisk(pool: Pool, plan: BackingPlan, label: PoolDisk['label']): Promise<DiskInfo> {
    await createFiles(this.#services.dataPlane, [plan]);
    const disk = await labelDisk(this.#services.dataPlane, plan, label);
    await this.#remember(pool, plan.location);
    const info = await pool.addDisk(disk);
    this.#tell('disk/added', pool.name, `disk ${info.uri} was added to pool ${pool.name}`);
    return info;
  }

  /** Where the pool's disks are, and one that is about to join. */
  async #remember({ uuid, name, disks }: Pool, joining?: DiskLocation): Promise<void> {
    const known = disks.map(({ location }) => location);
    await this.#list.put({
      uuid,
      name,
      disks: joining === undefined ? known : [...known, joining],
    });
  }

  async #letGo(pool: Pool): Promise<void> {
    await this.#close(pool, { letGo: true });
    if (!pool.isReadOnly) await this.#forget(pool.uuid);
  }

  async #forget(uuid: string): Promise<void> {
    await this.#list.remove(uuid);
    const folder = await this.#list.folderOf(uuid);
    await folder.remove();
  }

  async #close(pool: Pool, { letGo = false, soon = false }: ClosingOptions): Promise<void> {
    const isLetGo = letGo && isOurs(pool);
    if (isLetGo) pool.expectOnline();
    if (letGo) pool.expectUnused();
    // What is to end before it may wait for a disk that does not answer.
    pool.hurry();
    for (const work of this.#beforeClose) await work(pool);
    try {
      await pool.close({ letGo: isLetGo, soon });
    } catch (error) {
      this.#keepUnopened(pool.uuid, error);
      throw error;
    } finally {
      this.#open.delete(pool.name);
    }
  }

  /** A pool that is closed and still ours is listed with the reason. */
  #keepUnopened(uuid: string, error: unknown): void {
    const entry = this.#list.entries.find((candidate) => candidate.uuid === uuid);
    if (entry === undefined || !(error instanceof StorageError)) return;
    this.#known.keep(entry, error);
  }

  async #planBackings(uris: readonly string[], force: boolean): Promise<BackingPlan[]> {
    const { dataPlane } = this.#services;
    const plans = await planBackings(dataPlane, uris, { force, usedAs: await this.diskUses() });
    if (plans.length === 0) throw new StorageError('request/invalid', 'no disk was named');
    return plans;
  }

  async #sameAsExisting(
    name: string,
    uris: readonly string[],
    clusterBytes: number | undefined,
  ): Promise<PoolInfo | undefined> {
    if (!this.#open.has(name) && this.#known.byName(name) === undefined) return undefined;
    const info = this.get(name).info();
    const paths = info.disks.map((disk) => disk.path).sort();
    const named = uris.map((uri) => parseDiskUri(uri).path).sort();
    const sameDisks =
      paths.length === named.length && paths.every((path, at) => path === named[at]);
    if (sameDisks && (clusterBytes ?? info.clusterBytes) === info.clusterBytes) return info;
    throw new StorageError('pool/exists', `pool ${name} exists with other parameters`, {
      actions: [`varve pool show ${name}`],
    });
  }

  #expectNotServed(name: string): void {
    if (!this.#open.has(name)) return;
    throw new StorageError('pool/exists', `pool ${name} is served here already`);
  }

  #tell(kind: string, subject: string, message: string): void {
    this.#services.emit({ kind, level: 'info', subject, message });
  }
}

function notWanted({ name }: PoolEntry): StorageError {
  return new StorageError('pool/failed', `pool ${name} is not to be opened any more`);
}

/** Its labels are to be written when it is let go. */
function isOurs(pool: Pool): boolean {
  return pool.fencedBy === undefined && !pool.isReadOnly;
}

/** Waits a moment for disks that do not answer. @throws StorageError pool/failed; disk/io what the pool holds cannot be made whole now */
async function expectReady(pool: Pool): Promise<void> {
  pool.expectOnline();
  await expectAnswering(pool.disks, `pool ${pool.name} cannot be let go`);
}

/** @throws StorageError request/invalid */
function expectOneWay({ takeover, readOnly }: { takeover: boolean; readOnly: boolean }): void {
  if (!takeover || !readOnly) return;
  throw new StorageError(
    'request/invalid',
    'a pool that is imported to be read is taken from nobody: --read-only goes without --takeover',
  );
}

function expectClusterBytes(clusterBytes: number): void {
  if (isClusterBytes(clusterBytes)) return;
  throw new StorageError(
    'request/invalid',
    'a cluster size is a power of two between 16 KiB and 1 MiB',
  );
}

function expectDisk({ name, disks }: Pool, number: number): void {
  if (disks.some(({ label }) => label.diskNumber === number)) return;
  throw new StorageError('disk/not-found', `pool ${name} has no disk ${number}`);
}

function expectPatience(seconds: number): void {
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= patienceSecondsMax) return;
  throw new StorageError(
    'request/invalid',
    'a patience is a whole number of seconds, at most a day; 0 waits for nothing',
  );
}

function namedRecords({ name, index }: Pool): NamedRecords {
  return { name, records: index.state.allRecords() };
}

function expectEmpty(pool: Pool): void {
  const names = pool.records<{ name: string }>('volume/').map(({ name }) => name);
  if (names.length === 0) return expectNothingOnItsWay(pool);
  throw new StorageError(
    'pool/not-empty',
    `pool ${pool.name} holds ${names.length} volumes: ${names.slice(0, 5).join(', ')}`,
    { actions: ['varve volume delete NAME'] },
  );
}

/** Of moves between pools (src/volume/moves.ts). @throws StorageError pool/not-empty */
function expectNothingOnItsWay(pool: Pool): void {
  const kept = pool.records<{ names: readonly string[] }>('kept/').flatMap(({ names }) => names);
  if (kept.length > 0) {
    throw new StorageError(
      'pool/not-empty',
      `pool ${pool.name} keeps what ${kept.join(', ')} had before they moved away`,
      { actions: kept.map((name) => `varve volume move ${name} --finish`) },
    );
  }
  const copies = pool.records<{ incoming?: unknown }>('layer/');
  if (copies.every(({ incoming }) => incoming === undefined)) return;
  throw new StorageError('pool/not-empty', `volumes are on their way to pool ${pool.name}`, {
    actions: ['varve op list'],
  });
}
