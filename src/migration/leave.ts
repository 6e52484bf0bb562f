/**
 * Leave: writes a volume, as it is at one moment, to a plain disk or file that needs no varve.
 *
 *   snapshot of its own → new file beside the target, or the device with its beginning zeroed → data → synced → read again and compared
 *     → the file gets its name, the device its beginning → snapshot gone
 *
 * A target is never half a disk under its name: a file is renamed when it is whole, and a device whose copy was cut off carries nothing at its
 * beginning that anybody would mount. After a restart it goes on with the same snapshot, from the start, unless all was done. The volume stays.
 */
import { open, rm, stat, statfs } from 'node:fs/promises';
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
import { Turns } from '../pool/turns.ts';
import type { EmitEvent } from '../pool/types.ts';
import {
  type Moment,
  type MomentSource,
  type MomentUse,
  planMoment,
  readingMoment,
} from '../snapshot/moment.ts';
import type { SnapshotService } from '../snapshot/snapshot-service.ts';
import { dataIn } from '../volume/data-in.ts';
import { type Span, spansOf } from '../volume/spans.ts';
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

export type LeaveContext = MovementContext &
  Pick<MomentUse, 'remember'> & { readonly setPhase: (phase: string) => void };

/** From where, whereto, and when. */
interface Copying {
  readonly plane: VolumePlane;
  readonly disk: DiskPlane;
  readonly turns: Turns;
  readonly onDone: (bytes: number) => void;
}

export interface LeaveDependencies {
  readonly dataPlane: Pick<DataPlane, 'openDisk'>;
  readonly pools: Pools;
  readonly volumes: VolumeService;
  readonly snapshots: SnapshotService;
  readonly emit: EmitEvent;
}

/** Enough for disks to be fast, little enough to be pausable. */
const pieceBytesMax = 8 * MiB;
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
    if (!options.force) await expectNothingLost(target);
    await expectRoom(target, sizeBytes, copiedBytes);
    return { plan: { ...moment, disk: target.location.uri }, copiedBytes };
  }

  /**
   * Afterwards the target holds the volume, or its snapshot, to the byte; compared, and durable.
   *
   * @throws StorageError as `plan`; disk/io, pool/failed; why the operation is to end
   */
  async leave(plan: LeavePlan, context: LeaveContext): Promise<void> {
    const { volume, disk } = plan;
    const note = `taken to write ${volume} to ${disk}; goes when that has ended`;
    const use = { note, remember: context.remember };
    await readingMoment(this.#to, plan, use, async (source) => {
      const target = await this.#target({ ...plan, force: true }, source.sizeBytes);
      await this.#write(source, target, context);
    });
    const message = `volume ${volume} was written to ${disk}; the volume stays until it is deleted`;
    this.#to.emit({ kind: 'volume/left', level: 'info', subject: volume, message });
  }

  async #target({ disk, force = false }: LeaveOptions, sizeBytes: number): Promise<BackingPlan> {
    return this.#to.pools.planTarget(disk, { sizeBytes, force });
  }

  async #write(source: MomentSource, target: BackingPlan, context: LeaveContext): Promise<void> {
    const { location } = target;
    const isFile = location.kind === 'file';
    const path = isFile ? `${location.path}.varve-leave` : location.path;
    if (isFile) await makeFile(path, source.sizeBytes);
    try {
      const disk = await openDiskPlane(this.#to.dataPlane, { ...location, path });
      try {
        await copyAndCompare(source, disk, isFile ? 'data' : 'all', context);
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
  { pool, plane, sizeBytes }: MomentSource,
  disk: DiskPlane,
  mode: CopyOutMode,
  context: LeaveContext,
): Promise<void> {
  const turns = new Turns(pool.governor, context);
  let done = 0;
  const onDone = (bytes: number) => {
    done += bytes;
    context.report(done, 2 * sizeBytes, { isHeldBack: turns.isHeldBack });
  };
  const copying = { plane, disk, turns, onDone };
  const head = { offset: 0, length: Math.min(headBytes, sizeBytes) };
  const body = { offset: head.length, length: sizeBytes - head.length };
  if (mode === 'all') await disk.zero(0, head.length);
  await disk.sync();
  await copy(copying, body, mode);
  await disk.sync();
  context.setPhase('comparing');
  await compare(copying, body);
  await copy(copying, head, mode);
  await disk.sync();
  await compare(copying, head);
}

async function copy(copying: Copying, range: ByteRun, mode: CopyOutMode): Promise<void> {
  const { disk, turns, onDone } = copying;
  for await (const span of spansIn(copying, range)) {
    if (!span.isZero) await copyOut(copying, span, mode);
    else {
      await turns.before(0);
      if (mode === 'all') await disk.zero(span.offset, span.length);
    }
    onDone(span.length);
  }
}

/** Where the volume reads as zero only what the disk does not know to be zero is read. */
async function compare(copying: Copying, range: ByteRun): Promise<void> {
  const { disk, turns, onDone } = copying;
  for await (const span of spansIn(copying, range)) {
    if (!span.isZero) await copyOut(copying, span, 'compare');
    else {
      await turns.before(0);
      for (const run of await dataIn(disk, span)) {
        for (const piece of piecesOf(run)) await copyOut(copying, piece, 'compare');
      }
    }
    onDone(span.length);
  }
}

function spansIn({ plane, turns }: Copying, range: ByteRun): AsyncGenerator<Span> {
  return spansOf(plane, [range], () => turns.pieceBytes(pieceBytesMax));
}

async function copyOut(
  { plane, disk, turns }: Copying,
  run: ByteRun,
  mode: CopyOutMode,
): Promise<void> {
  await turns.before(run.length);
  await turns.take(run.length, () => plane.copyOut(disk, run, mode));
}

function* piecesOf({ offset, length }: ByteRun): Generator<ByteRun> {
  for (let at = offset; at < offset + length; at += pieceBytesMax) {
    yield { offset: at, length: Math.min(pieceBytesMax, offset + length - at) };
  }
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

/** A file may hold what nobody knows by its beginning. @throws StorageError disk/in-use */
async function expectNothingLost({ location, create }: BackingPlan): Promise<void> {
  if (create || location.kind !== 'file') return;
  const { size, blocks } = await stat(location.path);
  if (blocks === 0) return;
  throw new StorageError(
    'disk/in-use',
    `file ${location.path} is there already, with ${formatSize(size)}`,
    { actions: ['choose another name, or repeat with --force to replace it'] },
  );
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
