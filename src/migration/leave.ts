/**
 * Leave: writes a volume, as it is at one moment, to a plain disk or file that needs no varve.
 *
 *   snapshot of its own → new file beside the target, or the device with its beginning zeroed → data → synced → read again and compared
 *     → the file gets its name, the device its beginning → snapshot gone
 *
 * A target is never half a disk under its name: a file is renamed when it is whole, and a device whose copy was cut off carries nothing at its
 * beginning that anybody would mount. After a restart it goes on with the same snapshot, from the start. The volume stays.
 */
import { open, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { takeName } from '../base/atomic-file.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { MiB } from '../base/units.ts';
import type { CopyOutMode } from '../dataplane/binding.ts';
import type { ByteRun, DataPlane, DiskPlane, VolumePlane } from '../dataplane/data-plane.ts';
import type { BackingPlan } from '../pool/backing.ts';
import { openDiskPlane } from '../pool/disk-set.ts';
import type { Pools } from '../pool/pools.ts';
import type { EmitEvent } from '../pool/types.ts';
import { type Moment, planMoment, readingMoment } from '../snapshot/moment.ts';
import type { SnapshotService } from '../snapshot/snapshot-service.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import type { MovementContext } from './types.ts';

export interface LeaveOptions {
  readonly volume: string;
  /** Of the volume, to be written instead of what it is now. */
  readonly snapshot?: string;
  /** URI of a disk, or of a file that is made when it is not there. */
  readonly disk: string;
  /** Whatever the target carries is lost. */
  readonly force?: boolean;
}

/** What was decided on, in values that are remembered over a restart. */
export type LeavePlan = Moment & { readonly disk: string };

export interface LeaveDependencies {
  readonly dataPlane: Pick<DataPlane, 'openDisk'>;
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly snapshots: SnapshotService;
  readonly emit: EmitEvent;
}

/** Between two looks whether to go on. */
const windowBytes = 64 * MiB;
/** Where everything that says what a disk holds begins. */
const headBytes = MiB;

export class Leave {
  readonly #to: LeaveDependencies;

  constructor(dependencies: LeaveDependencies) {
    this.#to = dependencies;
  }

  /**
   * Makes every check and changes nothing.
   *
   * @throws StorageError volume/not-found, snapshot/not-found, request/invalid, disk/unusable, disk/in-use, disk/too-small
   */
  async plan(options: LeaveOptions): Promise<{ plan: LeavePlan; copiedBytes: number }> {
    const info = this.#to.volumes.get(options.volume);
    const { moment, sizeBytes } = planMoment(this.#to, options, 'leave');
    const copiedBytes = Math.min(sizeBytes, info.exclusiveBytes + info.sharedBytes);
    const target = await this.#target(options, sizeBytes);
    await expectRoom(target, sizeBytes, copiedBytes);
    return { plan: { ...moment, disk: target.location.uri }, copiedBytes };
  }

  /**
   * Afterwards the target holds the volume, or its snapshot, to the byte; compared, and durable.
   *
   * @throws StorageError as `plan`; disk/io, pool/failed; why the operation is to end
   */
  async leave(
    plan: LeavePlan,
    context: MovementContext & { readonly setPhase: (phase: string) => void },
  ): Promise<void> {
    const { volume, disk } = plan;
    const note = `taken to write ${volume} to ${disk}; goes when that has ended`;
    await readingMoment(this.#to, plan, note, async (source, sizeBytes) => {
      const target = await this.#target({ ...plan, force: true }, sizeBytes);
      await this.#write(source, target, sizeBytes, context);
    });
    const message = `volume ${volume} was written to ${disk}; the volume stays until it is deleted`;
    this.#to.emit({ kind: 'volume/left', level: 'info', subject: volume, message });
  }

  async #target({ disk, force = false }: LeaveOptions, sizeBytes: number): Promise<BackingPlan> {
    return this.#to.pools.planTarget(disk, { sizeBytes, force });
  }

  async #write(
    source: VolumePlane,
    target: BackingPlan,
    sizeBytes: number,
    context: MovementContext & { readonly setPhase: (phase: string) => void },
  ): Promise<void> {
    const { location } = target;
    const isFile = location.kind === 'file';
    const path = isFile ? `${location.path}.varve-leave` : location.path;
    if (isFile) await makeFile(path, sizeBytes);
    try {
      const disk = await openDiskPlane(this.#to.dataPlane, { ...location, path });
      try {
        await copyAndCompare(source, disk, sizeBytes, isFile ? 'data' : 'all', context);
      } finally {
        await disk.close();
      }
      if (isFile) await takeName(path, location.path);
    } catch (error) {
      if (isFile) await rm(path, { force: true });
      throw error instanceof StorageError ? error : writeError(location.uri, error);
    }
  }
}

/** The beginning comes last: until then nothing there says that this is a disk. */
async function copyAndCompare(
  source: VolumePlane,
  disk: DiskPlane,
  sizeBytes: number,
  mode: CopyOutMode,
  context: MovementContext & { readonly setPhase: (phase: string) => void },
): Promise<void> {
  const { report, whileRunning, setPhase } = context;
  const head = { offset: 0, length: Math.min(headBytes, sizeBytes) };
  const body = windows(head.length, sizeBytes);
  let done = 0;
  const pass = async (ranges: readonly ByteRun[], how: CopyOutMode) => {
    for (const range of ranges) {
      await whileRunning();
      await source.copyOut(disk, range, how);
      done += range.length;
      report(done, 2 * sizeBytes);
    }
  };
  if (mode === 'all') await disk.zero(0, head.length);
  await disk.sync();
  await pass(body, mode);
  await disk.sync();
  setPhase('comparing');
  await pass(body, 'compare');
  await pass([head], mode);
  await disk.sync();
  await pass([head], 'compare');
}

function windows(from: number, end: number): ByteRun[] {
  const ranges: ByteRun[] = [];
  for (let offset = from; offset < end; offset += windowBytes) {
    ranges.push({ offset, length: Math.min(windowBytes, end - offset) });
  }
  return ranges;
}

/** Sparse, and in place of what a copy that was cut off left. */
async function makeFile(path: string, sizeBytes: number): Promise<void> {
  await rm(path, { force: true });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

/** @throws StorageError disk/too-small with the numbers */
async function expectRoom(
  { location, sizeBytes, create }: BackingPlan,
  wantedBytes: number,
  copiedBytes: number,
): Promise<void> {
  const tooSmall = (has: string) =>
    new StorageError('disk/too-small', `disk ${location.uri} ${has}`);
  if (location.kind !== 'file') {
    if (sizeBytes >= wantedBytes) return;
    throw tooSmall(`has ${formatSize(sizeBytes)}, the volume ${formatSize(wantedBytes)}`);
  }
  const { bavail, bsize } = await statfs(create ? dirname(location.path) : location.path);
  if (bavail * bsize >= copiedBytes) return;
  throw tooSmall(
    `lies where ${formatSize(bavail * bsize)} are free, and ${formatSize(copiedBytes)} are to be written`,
  );
}

function writeError(uri: string, cause: unknown): StorageError {
  return new StorageError('disk/io', `disk ${uri}: ${messageOf(cause)}`, { cause });
}
