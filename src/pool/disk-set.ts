/**
 * The open disks of a pool and their labels.
 *
 * A label is written to the copy of its generation and synced before the next one is begun, so that one of the two copies is whole at
 * any moment. Writers of a disk's label (lease, checkpoint, disk add) wait for each other, never for another disk. None is written
 * over a higher epoch's, nor at a moment at which what was read before may no longer be so. Each names the rings that were left behind by
 * then, whoever writes it and why.
 * Elsewhere: the label's bytes (format/label.ts), which label is the truth (recovery.ts).
 */

import { setTimeout as delay } from 'node:timers/promises';
import { allEnded } from '../base/all-ended.ts';
import { invariant, isDiskIo, messageOf, StorageError } from '../base/errors.ts';
import { Mutex } from '../base/mutex.ts';
import type { Secret } from '../base/secret.ts';
import {
  type DataPlane,
  DataPlaneError,
  type DiskPlane,
  diskIoError,
  type PatientDiskPlane,
} from '../dataplane/data-plane.ts';
import { diskSpec } from './disk-spec.ts';
import { FencedError } from './fenced.ts';
import { FormatError } from './format/format-error.ts';
import { labelAreaBytes, labelBytes } from './format/geometry.ts';
import {
  type DiskNumbers,
  encodeLabel,
  isAlone,
  type Label,
  labelOffset,
  newestLabel,
} from './format/label.ts';
import { lostRings, newestBy, tailOrder } from './label-order.ts';
import { leaseTimes } from './lease.ts';
import { networkRemedies } from './network-remedies.ts';

const EWOULDBLOCK = 11;
const EBUSY = 16;
const ETIME = 62;
/** A label that was held up that often between reading and writing: the host is too busy to own anything. */
const labelAttemptsMax = 5;
/** Of a disk that reads and refuses labels. */
const labelRetriesMax = 5;
const labelRetryMs = 200;
/** A label that takes longer may hang. */
const labelNoticeMs = 1_000;

/** `image`: read through a server that knows its format (image-disk.ts). */
export type DiskKind = 'file' | 'block' | 'nfs' | 'iscsi' | 'image';

/** Where a disk is, as the operator said and as the operating system knows it. */
export interface DiskLocation {
  readonly uri: string;
  readonly path: string;
  readonly kind: DiskKind;
  /** CHAP's password of an iSCSI disk. */
  readonly secret?: Secret;
}

/** Of what was read from a file of the state folder: of a disk that may be written to. */
export function isDiskLocation(value: unknown): value is DiskLocation {
  if (typeof value !== 'object' || value === null) return false;
  const { uri, path, kind } = value as Partial<DiskLocation>;
  const isKind = kind !== undefined && ['file', 'block', 'nfs', 'iscsi'].includes(kind);
  return typeof uri === 'string' && typeof path === 'string' && isKind;
}

export interface PoolDisk {
  readonly location: DiskLocation;
  readonly plane: PatientDiskPlane;
  /** As last written or read. */
  label: Label;
  /** It is not there: `plane` answers with errors, `label` says what the others know. */
  readonly isMissing?: true;
}

/**
 * The kernel drops the files of a killed process's io_uring, and with them its locks, some time after the process is
 * gone: a restart right behind a kill must not take the dead for the living.
 */
const lockPatienceMs = 2_000;
const lockRetryMs = 20;

export type PatientDiskOpener = Pick<DataPlane, 'openDisk' | 'openPatientDisk'>;

/**
 * Opens and locks a disk.
 *
 * @param readOnly it is only read here, and written by nobody else
 * @throws StorageError pool/held another process has had it for two seconds; disk/in-use the host has it mounted or claimed; disk/unusable
 */
export async function openDiskPlane(
  dataPlane: Pick<DataPlane, 'openDisk'>,
  location: DiskLocation,
  { readOnly }: { readonly readOnly: boolean } = { readOnly: false },
): Promise<DiskPlane> {
  const access = readOnly ? { readOnly, alone: true } : {};
  const giveUpAt = performance.now() + lockPatienceMs;
  for (;;) {
    try {
      return await dataPlane.openDisk(diskSpec(location, access));
    } catch (cause) {
      if (!isLocked(cause)) throw cannotOpen(location, cause);
      if (performance.now() > giveUpAt) throw heldByOther(location, cause);
    }
    await delay(lockRetryMs);
  }
}

/**
 * Who opens a disk waits a moment for what it does not do: a path is switched, a server answers again. Longer than that, he is told. Once it
 * serves it has its pool's patience (disk-conditions.ts).
 */
const openingPatienceMs = 5_000;

export interface DiskAccess {
  readonly readOnly?: boolean;
  /** 0: what is wrong is told at once. */
  readonly patienceMs?: number;
}

/** As `openDiskPlane`, for a disk that is to serve. */
export async function openPatientDiskPlane(
  dataPlane: PatientDiskOpener,
  location: DiskLocation,
  { readOnly = false, patienceMs = openingPatienceMs }: DiskAccess = {},
): Promise<PatientDiskPlane> {
  const plane = await openDiskPlane(dataPlane, location, { readOnly });
  const patient = await dataPlane.openPatientDisk(plane, patienceMs);
  patient.beginOpening();
  return patient;
}

function isLocked(error: unknown): boolean {
  return error instanceof DataPlaneError && error.errno === EWOULDBLOCK;
}

/** Another process had the disk open, which may have let go of it since. */
export function isHeldByProcess(error: StorageError): boolean {
  return error.code === 'pool/held' && isLocked(error.cause);
}

function heldByOther({ uri }: DiskLocation, cause: unknown): StorageError {
  return new StorageError('pool/held', `disk ${uri} is in use by another process`, {
    cause,
    actions: ['stop the other process, then retry'],
  });
}

function cannotOpen({ uri, kind }: DiskLocation, cause: unknown): StorageError {
  if (cause instanceof DataPlaneError && cause.errno === EBUSY) {
    return new StorageError('disk/in-use', `disk ${uri} is mounted or used by this host`, {
      cause,
      actions: ['unmount it, or stop what uses it (lsblk shows that), then retry'],
    });
  }
  const text = `disk ${uri} cannot be opened: ${messageOf(cause)}`;
  return new StorageError('disk/unusable', text, { cause, ...networkRemedies(kind, cause) });
}

/**
 * The newer valid label of an open disk.
 *
 * @throws StorageError disk/unusable it carries none; pool/format a newer version's; pool/damaged; disk/io
 */
export async function readLabel(plane: DiskPlane, uri: string): Promise<Label> {
  const label = await labelNow(plane, uri);
  expectWhole(plane, uri, label);
  return label;
}

/** As `readLabel`, of a disk that is known: how large it is does not matter. */
export async function labelNow(plane: DiskPlane, uri: string): Promise<Label> {
  try {
    return newestLabel(...(await readCopies(plane, uri)));
  } catch (cause) {
    if (cause instanceof FormatError) throw labelError(uri, cause);
    throw cause;
  }
}

/** Once more when one is no label: what a disk or a cable got wrong once is not lost. */
async function readCopies(plane: DiskPlane, uri: string): Promise<[Uint8Array, Uint8Array]> {
  const read = async (): Promise<[Uint8Array, Uint8Array]> => {
    const bytes = await readOrExplain(plane, uri);
    return [bytes.subarray(0, labelBytes), bytes.subarray(labelBytes)];
  };
  const copies = await read();
  return isAlone(...copies) ? read() : copies;
}

async function readOrExplain(plane: DiskPlane, uri: string): Promise<Uint8Array> {
  if (plane.sizeBytes < 2 * labelBytes) {
    throw new StorageError('disk/unusable', `disk ${uri} carries no varve label`);
  }
  try {
    return await plane.read(0, 2 * labelBytes);
  } catch (cause) {
    throw diskIoError(uri, cause);
  }
}

function expectWhole(plane: DiskPlane, uri: string, label: Label): void {
  if (plane.sizeBytes >= label.diskBytes) return;
  throw new StorageError(
    'disk/too-small',
    `disk ${uri} has ${plane.sizeBytes} bytes, its label says ${label.diskBytes}: it was cut off`,
  );
}

function labelError(uri: string, cause: FormatError): StorageError {
  const options = { cause };
  switch (cause.code) {
    case 'no-label':
      return new StorageError('disk/unusable', `disk ${uri} carries no varve label`, options);
    case 'newer-version':
    case 'refused-feature':
      return new StorageError('pool/format', `disk ${uri}: ${cause.message}`, options);
    default:
      return new StorageError('pool/damaged', `disk ${uri}: ${cause.message}`, options);
  }
}

/**
 * Opens and locks disks that carry labels.
 *
 * @throws StorageError as openDiskPlane and readLabel; none of them is open then
 */
export async function openDisks(
  dataPlane: DataPlane,
  locations: readonly DiskLocation[],
): Promise<PoolDisk[]> {
  const { opened, failure } = await openThoseThere(dataPlane, locations);
  if (failure === undefined) return opened;
  for (const { plane } of opened) await plane.close();
  throw failure;
}

/** As `openDisks`, leaving out those that cannot be opened; `failure` says why of the first one. */
export async function openThoseThere(
  dataPlane: DataPlane,
  locations: readonly DiskLocation[],
  access?: DiskAccess,
): Promise<{ opened: PoolDisk[]; failure: StorageError | undefined }> {
  const opened: PoolDisk[] = [];
  let failure: StorageError | undefined;
  for (const location of locations) {
    try {
      opened.push(await openDisk(dataPlane, location, access));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      failure ??= error;
    }
  }
  return { opened, failure };
}

async function openDisk(
  dataPlane: DataPlane,
  location: DiskLocation,
  access: DiskAccess | undefined,
): Promise<PoolDisk> {
  const plane = await openPatientDiskPlane(dataPlane, location, access);
  try {
    return { location, plane, label: await readLabel(plane, location.uri) };
  } catch (error) {
    await plane.close();
    throw error;
  }
}

/** What is to differ in the label of each disk. */
export type LabelChange = (disk: PoolDisk) => Partial<Label>;

export class DiskSet {
  #disks: PoolDisk[];
  readonly #labelWrites = new Map<PoolDisk, Mutex>();
  /** Labels whose writing ended with an error: they may be there all the same. */
  readonly #attempted = new Map<PoolDisk, Label>();
  #isClosed = false;
  readonly #labelMs: number;
  /** What labels say of rings left behind: null when none is, so that with the next epoch older versions know the labels again. */
  #lostRings: DiskNumbers | null;
  readonly #waitingForReplicas = new Set<() => void>();
  #leaseEnd: () => number = () => 0;

  /** @param labelMs how long what was read of a label is believed where no lease says more */
  constructor(disks: readonly PoolDisk[], { labelMs } = leaseTimes()) {
    this.#disks = inOrder(disks);
    this.#labelMs = labelMs;
    const lost = disks.length === 0 ? null : lostRings(disks.map(({ label }) => label));
    this.#lostRings = lost?.numbers.length === 0 ? null : lost;
  }

  /** `leaseEnd` says until when nobody else writes labels, in bootTimeMs. */
  setLeaseEnd(leaseEnd: () => number): void {
    this.#leaseEnd = leaseEnd;
  }

  get all(): readonly PoolDisk[] {
    return this.#disks;
  }

  /**
   * The replicas that were not given up, and every other disk that does what it is asked. A label of one that is left out lags behind, which
   * does no harm: it is brought up to date later, at the next opening at the latest.
   */
  get answering(): readonly PoolDisk[] {
    const { journals } = this;
    return this.#disks.filter((disk) => {
      const { state } = disk.plane.condition;
      return state === 'online' || (state === 'suspended' && journals.includes(disk));
    });
  }

  /** The disks with a replica of journal and checkpoint that was not left behind. */
  get journals(): readonly PoolDisk[] {
    return this.#disks.filter((disk) => disk.label.journalBytes > 0 && !this.isLeftBehind(disk));
  }

  /** The disks whose rings were left behind, and are not begun again. */
  get leftBehind(): readonly PoolDisk[] {
    return this.#disks.filter((disk) => this.isLeftBehind(disk));
  }

  /** The newest label of a replica: what it says of the pool counts. */
  get label(): Label {
    const labels = this.journals.map(({ label }) => label);
    invariant(labels.length > 0, 'a pool has a journal');
    return newestBy(tailOrder, labels);
  }

  isLeftBehind({ label }: PoolDisk): boolean {
    return this.#lostRings?.numbers.includes(label.diskNumber) ?? false;
  }

  /**
   * From now on nothing counts on the disk's ring, and every label that is written says so: it holds when those of all `journals` are.
   */
  leaveBehind(disk: PoolDisk): void {
    if (this.isLeftBehind(disk)) return;
    const numbers = [...(this.#lostRings?.numbers ?? []), disk.label.diskNumber];
    this.#setLostRings(numbers.sort((a, b) => a - b));
    for (const look of this.#waitingForReplicas) look();
  }

  /** The disk carries no ring by its own label, durably and in both copies; or is none of the pool's any more. */
  takeUp(disk: PoolDisk): void {
    if (!this.isLeftBehind(disk)) return;
    const { label } = disk;
    const numbers = this.#lostRings?.numbers ?? [];
    this.#setLostRings(numbers.filter((number) => number !== label.diskNumber));
  }

  /**
   * Waits for a disk's part in something that each replica does, but for one that is left behind no longer than until then.
   *
   * @returns false: it was left behind, and `work` may go on for as long as it likes
   * @throws what `work` does
   */
  async whileReplica(disk: PoolDisk, work: Promise<unknown>): Promise<boolean> {
    let look = () => {};
    const left = new Promise<void>((resolve) => {
      look = () => {
        if (this.isLeftBehind(disk)) resolve();
      };
    });
    this.#waitingForReplicas.add(look);
    look();
    try {
      await Promise.race([work, left]);
    } catch (error) {
      if (!this.isLeftBehind(disk)) throw error;
    } finally {
      this.#waitingForReplicas.delete(look);
    }
    return !this.isLeftBehind(disk);
  }

  /** Bytes of the ring, the same in every replica. */
  get journalBytes(): number {
    const [disk] = this.journals;
    invariant(disk !== undefined, 'a pool has a journal');
    return disk.label.journalBytes;
  }

  byNumber(number: number): PoolDisk | undefined {
    return this.#disks.find((disk) => disk.label.diskNumber === number);
  }

  add(disk: PoolDisk): void {
    this.#disks = inOrder([...this.#disks, disk]);
  }

  /**
   * The disk is none of the pool's any more: no label says that it was, and nobody holds it. It is closed whatever happens.
   *
   * @throws StorageError disk/io its labels may be there still
   */
  async expel(disk: PoolDisk): Promise<void> {
    this.#disks = this.#disks.filter((other) => other !== disk);
    await this.#labelWritesOf(disk).run(() => wipeAndClose(disk));
    this.#labelWrites.delete(disk);
    this.#attempted.delete(disk);
  }

  /**
   * Writes a new generation of labels and syncs it; resolves when it is durable on every disk given. One that does not answer is waited
   * for with its patience.
   *
   * @param change what is to differ, per disk
   * @throws StorageError disk/io some labels may be written; pool/held another host took the pool over
   */
  async writeLabels(change: LabelChange, disks = this.all): Promise<void> {
    await allEnded(disks.map((disk) => this.#patiently(disk, () => this.writeLabel(disk, change))));
  }

  /** As `writeLabels`, for who can go on without the disk: nobody waits for it. */
  writeLabel(disk: PoolDisk, change: LabelChange): Promise<void> {
    return this.#inTurn(disk, () => this.#writeLabel(disk, change(disk)));
  }

  /**
   * A host that takes the pool over writes every label. Disks that do not answer are waited for with their patience, replicas no longer than
   * until they are left behind.
   *
   * @throws StorageError pool/held another host took the pool over; disk/io
   */
  async expectOwned(disks: readonly PoolDisk[]): Promise<void> {
    const look = (disk: PoolDisk) => this.#patiently(disk, () => this.expectOwnedNow(disk));
    await allEnded(disks.map((disk) => this.whileReplica(disk, look(disk))));
  }

  /** The same of one disk, which nobody waits for. */
  expectOwnedNow(disk: PoolDisk): Promise<void> {
    return this.#inTurn(disk, async () => {
      this.#expectOpen(disk);
      await this.#expectOurs(disk);
    });
  }

  /** Everything written to the disks so far is durable. @throws StorageError disk/io */
  async sync(disks = this.all): Promise<void> {
    await allEnded(disks.map((disk) => explained(disk, () => disk.plane.sync())));
  }

  /** Labels that are still to be written, as heartbeats may be, are not written any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const disk of this.#disks) await disk.plane.close();
  }

  /** @throws StorageError disk/io the handle of the disk means nothing any more */
  #expectOpen({ location }: PoolDisk): void {
    if (this.#isClosed) throw diskIoError(location.uri, 'it is closed');
  }

  #setLostRings(numbers: readonly number[]): void {
    this.#lostRings = { generation: (this.#lostRings?.generation ?? 0) + 1, numbers };
  }

  /** Does work that goes past the disk's patience again when the disk answers, as long as its patience lasts. */
  async #patiently(disk: PoolDisk, work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isDiskIo(error) || this.#isClosed || !(await answers(disk, attempt))) throw error;
      }
    }
  }

  /** One at a time per disk. It goes past the patience, which does not see it hang: then something is asked that is seen. */
  #inTurn(disk: PoolDisk, work: () => Promise<void>): Promise<void> {
    return this.#labelWritesOf(disk).run(async () => {
      const ask = () => {
        if (!this.#isClosed) disk.plane.read(0, labelBytes).catch(() => {});
      };
      const timer = setTimeout(ask, labelNoticeMs);
      try {
        await work();
      } finally {
        clearTimeout(timer);
      }
    });
  }

  #labelWritesOf(disk: PoolDisk): Mutex {
    const known = this.#labelWrites.get(disk);
    if (known !== undefined) return known;
    const mutex = new Mutex();
    this.#labelWrites.set(disk, mutex);
    return mutex;
  }

  async #expectOurs(disk: PoolDisk): Promise<void> {
    const { plane, location, label } = disk;
    const found = await labelNow(plane.inner, location.uri);
    const isOurs =
      found.epoch < label.epoch || (found.epoch === label.epoch && found.owner === label.owner);
    if (!isOurs && !isSameWriting(found, this.#attempted.get(disk))) throw new FencedError(found);
  }

  async #writeLabel(disk: PoolDisk, change: Partial<Label>): Promise<void> {
    const isFirst = disk.label.generation === 0;
    const generation = disk.label.generation + 1;
    const label = { ...disk.label, ...change, lostRings: this.#lostRings, generation };
    for (let attempt = 1; ; attempt++) {
      const readMs = disk.plane.plane.bootTimeMs();
      this.#expectOpen(disk);
      if (!isFirst) await this.#expectOurs(disk);
      this.#expectOpen(disk);
      this.#attempted.set(disk, label);
      const untilMs = Math.max(readMs + this.#labelMs, this.#leaseEnd());
      try {
        await disk.plane.inner.writeLabel(
          labelOffset(label.generation),
          encodeLabel(label),
          untilMs,
        );
        disk.label = label;
        this.#attempted.delete(disk);
        return;
      } catch (cause) {
        if (!isHeldUp(cause) || attempt === labelAttemptsMax) {
          throw diskIoError(disk.location.uri, cause);
        }
      }
    }
  }
}

/** @returns whether the disk may do now what it refused; held as everything else on it is, until its patience is over */
async function answers({ plane }: PoolDisk, attempt: number): Promise<boolean> {
  if (!plane.isPatient) return false;
  try {
    await plane.read(0, labelBytes);
  } catch (error) {
    if (error instanceof DataPlaneError) return false;
    throw error;
  }
  const { state } = plane.condition;
  if (attempt > 1) await delay(labelRetryMs);
  return state === 'suspended' || (state === 'online' && attempt < labelRetriesMax);
}

function isHeldUp(error: unknown): boolean {
  return error instanceof DataPlaneError && error.errno === ETIME;
}

/** Nothing is left of labels, ours or a stranger's. @throws StorageError disk/io */
export async function wipeLabels(disk: Pick<PoolDisk, 'location' | 'plane'>): Promise<void> {
  await explained(disk, () => disk.plane.write(0, new Uint8Array(labelAreaBytes)));
}

/** Nobody takes the disk for one of a pool from now on, durably; it is closed whatever happens. @throws StorageError disk/io */
export async function wipeAndClose(disk: Pick<PoolDisk, 'location' | 'plane'>): Promise<void> {
  try {
    await wipeLabels(disk);
    await explained(disk, () => disk.plane.sync());
  } finally {
    await disk.plane.close();
  }
}

function inOrder(disks: readonly PoolDisk[]): PoolDisk[] {
  return [...disks].sort((a, b) => a.label.diskNumber - b.label.diskNumber);
}

/** Whether a label is the one that was to be written, as far as whose it is goes. */
function isSameWriting(found: Label, written: Label | undefined): boolean {
  return (
    written !== undefined &&
    found.diskUuid === written.diskUuid &&
    found.generation === written.generation &&
    found.epoch === written.epoch &&
    found.owner === written.owner
  );
}

/** Runs a disk's operation; its error names the disk. */
export async function explained<T>(
  disk: Pick<PoolDisk, 'location'>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw diskIoError(disk.location.uri, cause);
  }
}

/** Reads bytes of the disk, as decoders want them; errors name the disk. */
export function readerOf(disk: PoolDisk): (offset: number, length: number) => Promise<Uint8Array> {
  return (offset, length) => explained(disk, () => disk.plane.read(offset, length));
}
