/**
 * Backup send: a snapshot as a stream, all of it or what changed since an earlier one of its volume.
 *
 *   file beside the target → frames, in the order of the volume → end frame → synced → it gets its name
 *
 * A file has its name only when it is whole; one that has it is not written again. After a restart the sending goes on behind the last whole frame. The same snapshot sent again gives
 * the same header, so that a receiving that was cut off goes on with either.
 */
import { rm, stat } from 'node:fs/promises';
import { takeName } from '../base/atomic-file.ts';
import { StorageError } from '../base/errors.ts';
import type { ByteRun } from '../dataplane/data-plane.ts';
import type { Pools } from '../pool/pools.ts';
import { Turns } from '../pool/turns.ts';
import type { EmitEvent } from '../pool/types.ts';
import { isStopping } from '../snapshot/moment.ts';
import type { SnapshotService } from '../snapshot/snapshot-service.ts';
import { uuidOf } from '../volume/identity.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { type ContentSource, contentOf } from './content.ts';
import { type BackupContext, fileError } from './context.ts';
import { otherThan } from './finished-file.ts';
import { encodeHeader } from './format.ts';
import { FrameSeries } from './frame-series.ts';
import type { BackupHeader } from './header.ts';
import type { Piece } from './piece.ts';
import { StreamFile, type StreamStart } from './stream-file.ts';
import { StreamWriter } from './stream-writer.ts';

/** Which snapshot, in values that are remembered over a restart. */
export type SentSnapshot = {
  readonly volume: string;
  readonly snapshot: string;
  /** Or bookmark, of the same volume: only what changed since is sent. */
  readonly from?: string;
};

export type BackupSendPlan = SentSnapshot & {
  /** An absolute path. */
  readonly file: string;
  /** Before the restart: the file has its name. */
  readonly finished?: boolean;
};

export interface BackupSendDependencies {
  readonly pools: Pick<Pools, 'planTarget'>;
  readonly volumes: Pick<VolumeService, 'find' | 'get'>;
  readonly snapshots: Pick<SnapshotService, 'get' | 'identity' | 'passport' | 'diff' | 'open'>;
  readonly emit: EmitEvent;
}

/** What is to be read. */
interface Source extends ContentSource {
  readonly ranges: readonly ByteRun[];
  /** Without a base everything that is not told reads as zero. */
  readonly tellsZeroes: boolean;
}

export class BackupSend {
  readonly #to: BackupSendDependencies;

  constructor(dependencies: BackupSendDependencies) {
    this.#to = dependencies;
  }

  /**
   * Makes every check and changes nothing.
   *
   * @returns copiedBytes at most
   * @throws StorageError volume/not-found, snapshot/not-found, request/invalid
   */
  async plan(sent: SentSnapshot): Promise<{ copiedBytes: number }> {
    const { volume, snapshot, from } = sent;
    const { base } = this.#header(sent);
    if (base !== null && from === snapshot) {
      throw new StorageError(
        'request/invalid',
        `${volume}@${snapshot} has not changed since itself`,
      );
    }
    if (from !== undefined) {
      return { copiedBytes: (await this.#to.snapshots.diff(volume, from, snapshot)).changedBytes };
    }
    const { exclusiveBytes, sharedBytes } = this.#to.volumes.get(volume);
    const { sizeBytes } = this.#to.snapshots.get(volume, snapshot);
    return { copiedBytes: Math.min(sizeBytes, exclusiveBytes + sharedBytes) };
  }

  /**
   * The plan's file may be written.
   *
   * @returns false: it holds the finished backup, and there is nothing to do
   * @throws StorageError request/invalid, backup/exists, backup/io, disk/unusable, disk/in-use
   */
  async expectTarget(
    { file, ...sent }: BackupSendPlan,
    { force }: { readonly force: boolean },
  ): Promise<boolean> {
    if (!file.startsWith('/')) {
      throw new StorageError('request/invalid', `"${file}" is no absolute path`);
    }
    const { sizeBytes } = this.#to.snapshots.get(sent.volume, sent.snapshot);
    // Whatever varve itself uses must not be taken even by force.
    await this.#to.pools.planTarget(file, { sizeBytes, force: true });
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) return true;
    if (!found.isFile()) throw new StorageError('request/invalid', `${file} is no regular file`);
    if (force) return true;
    const other = await otherThan(this.#header(sent), file);
    if (other === undefined) return false;
    throw new StorageError('backup/exists', `${file} is there already, and ${other}`);
  }

  /**
   * Afterwards the file holds the stream, whole and durable.
   *
   * @throws StorageError volume/not-found, snapshot/not-found, backup/io, pool/failed; why the operation is to end
   */
  async toFile({ file, finished, ...sent }: BackupSendPlan, context: BackupContext): Promise<void> {
    if (!finished) await this.#writeFile(file, sent, context);
    this.#tell(sent, file);
  }

  async #writeFile(file: string, sent: SentSnapshot, context: BackupContext): Promise<void> {
    const part = `${file}.varve-sending`;
    try {
      await this.#fill(part, sent, context);
      await takeName(part, file);
      context.remember({ finished: true });
    } catch (error) {
      if (!isStopping(error)) await rm(part, { force: true });
      throw fileError(file, error);
    }
  }

  /**
   * The stream, for whoever reads it: one that is not read to its end was not sent.
   *
   * @throws StorageError as `toFile`
   */
  async *stream(sent: SentSnapshot, context: BackupContext): AsyncGenerator<Uint8Array> {
    const { bytes, id } = this.#start(sent);
    yield bytes;
    const writer = new StreamWriter(new FrameSeries(id));
    const { source, close } = await this.#open(sent, context);
    try {
      for await (const piece of piecesOf(source, 0, context)) yield* writer.add(piece);
    } finally {
      await close();
    }
    yield* writer.end();
    this.#tell(sent, 'a stream');
  }

  async #fill(part: string, sent: SentSnapshot, context: BackupContext): Promise<void> {
    const { whileRunning } = context;
    const file = await StreamFile.open(part, this.#start(sent), whileRunning);
    try {
      if (!file.isWhole) await this.#append(file, sent, context);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #append(file: StreamFile, sent: SentSnapshot, context: BackupContext): Promise<void> {
    const writer = new StreamWriter(file.series);
    const { source, close } = await this.#open(sent, context);
    try {
      for await (const piece of piecesOf(source, file.series.toBytes, context)) {
        await file.write(writer.add(piece));
      }
    } finally {
      await close();
    }
    await file.write(writer.end());
  }

  #start(sent: SentSnapshot): StreamStart {
    return encodeHeader(JSON.stringify(this.#header(sent)));
  }

  /** The same for the same snapshots, whenever it is asked. */
  #header({ volume, snapshot, from }: SentSnapshot): BackupHeader {
    const { snapshots, volumes } = this.#to;
    const { pool, record } = volumes.find(volume);
    return {
      origin: {
        pool: { uuid: pool.uuid, name: pool.name },
        volume: { uuid: uuidOf(pool.uuid, record), name: volume },
      },
      snapshot: snapshots.passport(volume, snapshot),
      base: from === undefined ? null : snapshots.identity(volume, from),
    };
  }

  async #open({ volume, snapshot, from }: SentSnapshot, context: BackupContext) {
    const { snapshots, volumes } = this.#to;
    const turns = new Turns(volumes.find(volume).pool.governor, context);
    const { id, pool, sizeBytes } = snapshots.get(volume, snapshot);
    const { plane, close } = await snapshots.open(pool, id);
    try {
      const whole = [{ offset: 0, length: sizeBytes }];
      const ranges =
        from === undefined ? whole : (await snapshots.diff(volume, from, snapshot)).extents;
      const source: Source = { plane, turns, ranges, tellsZeroes: from !== undefined };
      return { source, close };
    } catch (error) {
      await close();
      throw error;
    }
  }

  #tell({ volume, snapshot, from }: SentSnapshot, where: string): void {
    const subject = `${volume}@${snapshot}`;
    const since = from === undefined ? '' : `, what changed since ${volume}@${from},`;
    const message = `snapshot ${subject}${since} was sent to ${where}`;
    this.#to.emit({ kind: 'snapshot/sent', level: 'info', subject, message });
  }
}

/** What is to be told from `fromBytes` of the volume on; reports how much of it has been looked at. */
async function* piecesOf(
  source: Source,
  fromBytes: number,
  { report, whileRunning }: BackupContext,
): AsyncGenerator<Piece> {
  const { ranges, tellsZeroes, turns } = source;
  const totalBytes = ranges.reduce((sum, { length }) => sum + length, 0);
  const left = ranges.flatMap((range) => behind(range, fromBytes));
  let doneBytes = totalBytes - left.reduce((sum, { length }) => sum + length, 0);
  for await (const piece of contentOf(source, left)) {
    await whileRunning();
    if (piece.bytes !== null || tellsZeroes) yield piece;
    doneBytes += piece.length;
    report(doneBytes, totalBytes, { isHeldBack: turns.isHeldBack });
  }
}

function behind({ offset, length }: ByteRun, fromBytes: number): ByteRun[] {
  const first = Math.max(offset, fromBytes);
  const end = offset + length;
  return first < end ? [{ offset: first, length: end - first }] : [];
}
