/**
 * Backup receive: a snapshot that was sent, of the same volume here.
 *
 *   header → checked → frames, each verified, to NAME.receiving → the end verified → durable → NAME has the snapshot
 *
 * Until the last step NAME is what it was. A stream that was cut off, or is damaged somewhere, leaves NAME.receiving with what was verified: the same
 * stream received again goes on behind it. Anything else that ends it leaves nothing.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { StorageError } from '../base/errors.ts';
import { formatSize } from '../base/size.ts';
import { Turns } from '../pool/turns.ts';
import type { Incoming } from '../snapshot/receive.ts';
import type { SnapshotService } from '../snapshot/snapshot-service.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { openVolume, type VolumeService } from '../volume/volume-service.ts';
import { type ByteSource, FileSource } from './byte-source.ts';
import { type BackupContext, fileError } from './context.ts';
import { PartWriter } from './part-writer.ts';
import { StreamReader } from './stream-reader.ts';

/** Where it is to be, in values that are remembered over a restart. */
export type ReceiveTarget = {
  readonly name: string;
  /** Of a volume that is to be made; defaults to the only pool. */
  readonly pool?: string;
  /** Of the disks that its data is to lie on. */
  readonly class?: string;
};

export type BackupReceivePlan = ReceiveTarget & {
  /** An absolute path. */
  readonly file: string;
};

export interface BackupReceiveDependencies {
  readonly volumes: VolumeService;
  readonly snapshots: Pick<SnapshotService, 'receiver'>;
}

export class BackupReceive {
  readonly #volumes: VolumeService;
  readonly #receiver: SnapshotService['receiver'];
  /** Names of volumes that are being received. */
  readonly #busy = new Set<string>();

  constructor({ volumes, snapshots }: BackupReceiveDependencies) {
    this.#volumes = volumes;
    this.#receiver = snapshots.receiver;
  }

  /**
   * Makes every check that the beginning of the stream allows, and changes nothing.
   *
   * @returns changed: false when the volume has the snapshot; copiedBytes at most
   * @throws StorageError request/invalid, backup/io, backup/format, backup/cut, backup/damaged; as Receiver.expectReceivable; pool/full
   */
  async plan(plan: BackupReceivePlan): Promise<{ changed: boolean; copiedBytes: number }> {
    return reading(plan.file, async (source, sizeBytes) => {
      const incoming = incomingOf(await StreamReader.open(source), plan);
      const changed = await this.#receiver.expectReceivable(incoming);
      if (changed) this.#expectRoom(incoming, sizeBytes);
      return { changed, copiedBytes: changed ? sizeBytes : 0 };
    });
  }

  /** @throws StorageError as `receive` */
  async fromFile(plan: BackupReceivePlan, context: BackupContext): Promise<void> {
    await reading(plan.file, (source) => this.receive(source, plan, context));
  }

  /**
   * Afterwards the volume has the snapshot, and shows what it shows; all of the stream was verified.
   *
   * @returns changed: false when it had the snapshot
   * @throws StorageError as Receiver.expectReceivable; volume/busy, backup/format, backup/cut, backup/damaged, backup/io, pool/full, pool/failed; why
   *   the operation is to end
   */
  async receive(
    source: ByteSource,
    target: ReceiveTarget,
    context: BackupContext,
  ): Promise<{ changed: boolean }> {
    const { name } = target;
    if (this.#busy.has(name)) {
      throw new StorageError('volume/busy', `volume ${name} is being received already`);
    }
    this.#busy.add(name);
    try {
      const reader = await StreamReader.open(source);
      const incoming = incomingOf(reader, target);
      if (!(await this.#receiver.expectReceivable(incoming))) return { changed: false };
      await this.#receive(reader, incoming, context);
      return { changed: true };
    } finally {
      this.#busy.delete(name);
    }
  }

  async #receive(reader: StreamReader, incoming: Incoming, context: BackupContext): Promise<void> {
    const part = await this.#begin(incoming);
    try {
      await this.#fill(part, reader, context);
      context.setPhase('naming');
      await this.#receiver.finish(part, incoming);
    } catch (error) {
      if (!goesOn(error)) await this.#drop(part);
      throw error;
    }
  }

  /** In a pool that has failed it cannot be done, and the first error says more; the next receiving does it. */
  async #drop({ record }: FoundVolume): Promise<void> {
    await this.#volumes.delete(record.name).catch(() => {});
  }

  async #begin(incoming: Incoming): Promise<FoundVolume> {
    const left = this.#receiver.findUnfinished(incoming.name);
    if (left === undefined) return this.#receiver.begin(incoming);
    const isSame = left.receiving.stream === incoming.stream;
    if (isSame && (incoming.pool ?? left.pool.name) === left.pool.name) return left;
    await this.#volumes.delete(left.record.name);
    return this.#receiver.begin(incoming);
  }

  async #fill(part: FoundVolume, reader: StreamReader, context: BackupContext): Promise<void> {
    const { stream = idOf(reader), toBytes = 0 } = part.record.receiving ?? {};
    const { plane, close } = await openVolume(part);
    const note = (to: number) => this.#receiver.note(part, { stream, toBytes: to });
    const turns = new Turns(part.pool.governor, context);
    const writer = new PartWriter({ plane, turns }, toBytes, note);
    try {
      await writeAll(reader, writer, turns, context);
      await writer.settle();
    } catch (error) {
      // What was verified need not come again; when that cannot be kept, the first error says more.
      if (goesOn(error)) await writer.settle().catch(() => {});
      throw error;
    } finally {
      await writer.ended();
      await close();
    }
  }

  /** A stream is about as long as what it has to be written. @throws StorageError pool/full */
  #expectRoom({ name, base, pool }: Incoming, sizeBytes: number): void {
    if (this.#receiver.findUnfinished(name) !== undefined) return;
    const to = base === null ? this.#volumes.poolFor(pool) : this.#volumes.find(name).pool;
    if (sizeBytes <= to.freeBytes) return;
    const has = `pool ${to.name} has ${formatSize(to.freeBytes)} free`;
    throw new StorageError('pool/full', `${has}, the stream ${formatSize(sizeBytes)}`);
  }
}

async function writeAll(
  reader: StreamReader,
  writer: PartWriter,
  turns: Turns,
  { report, whileRunning }: BackupContext,
): Promise<void> {
  const { sizeBytes } = reader.header.snapshot;
  for (let piece = await reader.next(); piece !== null; piece = await reader.next()) {
    await whileRunning();
    await writer.add(piece);
    report(reader.series.toBytes, sizeBytes, { isHeldBack: turns.isHeldBack });
  }
}

function incomingOf(reader: StreamReader, target: ReceiveTarget): Incoming {
  const { snapshot, base } = reader.header;
  const { name, pool, class: label } = target;
  return {
    name,
    snapshot,
    base,
    stream: idOf(reader),
    ...(pool === undefined ? {} : { pool }),
    ...(label === undefined ? {} : { class: label }),
  };
}

function idOf({ series }: StreamReader): string {
  return series.id.toString(16).padStart(16, '0');
}

/** A good copy of the stream, or the next start of the service, goes on where this ended. */
function goesOn(error: unknown): boolean {
  const codes: string[] = ['backup/cut', 'backup/damaged', 'backup/io', 'service/stopping'];
  return error instanceof StorageError && codes.includes(error.code);
}

/** @throws StorageError request/invalid, backup/io */
async function reading<T>(
  path: string,
  work: (source: ByteSource, sizeBytes: number) => Promise<T>,
): Promise<T> {
  if (!path.startsWith('/')) {
    throw new StorageError('request/invalid', `"${path}" is no absolute path`);
  }
  // A pipe without a writer would keep the opening waiting.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const file = await open(path, flags).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(path, error);
    const actions = ["name a file on the service's host, or pipe the stream to -"];
    throw new StorageError('backup/io', `there is no file ${path}`, { actions });
  });
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new StorageError('request/invalid', `${path} is no regular file`);
    return await work(new FileSource(file, path), found.size);
  } finally {
    await file.close();
  }
}
