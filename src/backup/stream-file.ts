/**
 * A file that a stream is written to, from its beginning or from behind the last whole frame of what an earlier writing left.
 *
 * What is there already is read and verified: after a power cut a file may be longer than what is right in it.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { FileSource } from './byte-source.ts';
import { fileError } from './context.ts';
import { FrameSeries } from './frame-series.ts';
import { StreamReader } from './stream-reader.ts';

/** So that a sync at the end does not wait for all of it. */
const syncBytes = 256 * MiB;

export interface StreamStart {
  readonly bytes: Uint8Array;
  readonly id: bigint;
}

export class StreamFile {
  readonly #file: FileHandle;
  readonly #path: string;
  #position = 0;
  #syncedTo = 0;
  series: FrameSeries;
  /** Nothing is missing any more. */
  isWhole = false;

  private constructor(file: FileHandle, path: string, series: FrameSeries) {
    this.#file = file;
    this.#path = path;
    this.series = series;
  }

  /** @param whileRunning is awaited between frames of what is there @throws StorageError backup/io; what it throws */
  static async open(
    path: string,
    start: StreamStart,
    whileRunning: () => Promise<void>,
  ): Promise<StreamFile> {
    const file = await openOrMake(path);
    const stream = new StreamFile(file, path, new FrameSeries(start.id));
    try {
      await stream.#verify(start, whileRunning);
      if (!stream.isWhole) await file.truncate(stream.#position);
      if (stream.#position === 0) await stream.write([start.bytes]);
      return stream;
    } catch (error) {
      await file.close();
      throw fileError(path, error);
    }
  }

  /** @throws StorageError backup/io */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    if (parts.length === 0) return;
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    try {
      const { bytesWritten } = await this.#file.writev(parts, this.#position);
      if (bytesWritten < bytes) await this.#writeRest(parts, bytesWritten);
      this.#position += bytes;
      if (this.#position - this.#syncedTo >= syncBytes) await this.sync();
    } catch (error) {
      throw fileError(this.#path, error);
    }
  }

  /** Everything written so far is durable. @throws StorageError backup/io */
  async sync(): Promise<void> {
    try {
      await this.#file.datasync();
      this.#syncedTo = this.#position;
    } catch (error) {
      throw fileError(this.#path, error);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #verify({ bytes }: StreamStart, whileRunning: () => Promise<void>): Promise<void> {
    try {
      const reader = await StreamReader.open(new FileSource(this.#file, this.#path));
      // Of another snapshot.
      if (Buffer.compare(reader.headerBytes, bytes) !== 0) return;
      do {
        this.series = reader.series;
        this.#position = reader.position;
        await whileRunning();
      } while ((await reader.next()) !== null);
      this.isWhole = true;
    } catch (error) {
      if (!isUnfinished(error)) throw error;
    }
  }

  /** A disk that gets full takes a part; the next attempt says why. */
  async #writeRest(parts: readonly Uint8Array[], written: number): Promise<void> {
    const whole = Buffer.concat(parts);
    for (let at = written; at < whole.length; ) {
      const { bytesWritten } = await this.#file.write(whole, at, null, this.#position + at);
      at += bytesWritten;
    }
  }
}

async function openOrMake(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(path, error);
  }
  try {
    return await open(path, 'wx+', 0o600);
  } catch (error) {
    throw fileError(path, error);
  }
}

function isUnfinished(error: unknown): boolean {
  const codes: string[] = ['backup/cut', 'backup/damaged', 'backup/format'];
  return error instanceof StorageError && codes.includes(error.code);
}
