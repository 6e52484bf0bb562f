/**
 * The file that is written: a new one always, sparse, and gone again when it could not be finished.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { WriteData } from './extract.ts';

const zeroes = Buffer.alloc(64 * 1024);

/**
 * Makes a file of that size of what `fill` writes; it is durable when this returns.
 *
 * @throws StorageError request/invalid there is something of that name; disk/io it cannot be written. Nothing is left behind then
 */
export async function withNewFile<T>(
  path: string,
  sizeBytes: number,
  fill: (write: WriteData) => Promise<T>,
): Promise<T> {
  const file = await create(path);
  try {
    await explained(path, () => file.truncate(sizeBytes));
    const result = await fill((offset, bytes) => explained(path, () => put(file, offset, bytes)));
    await explained(path, () => file.sync());
    return result;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (cause) {
    const isThere = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    const why = isThere ? 'it is there already, and nothing is overwritten' : messageOf(cause);
    throw new StorageError('request/invalid', `cannot write ${path}: ${why}`, {
      cause,
      actions: ['name a file that does not exist'],
    });
  }
}

async function put(file: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += zeroes.length) {
    const piece = bytes.subarray(at, at + zeroes.length);
    const isZero = Buffer.compare(piece, zeroes.subarray(0, piece.length)) === 0;
    if (!isZero) await writeAll(file, offset + at, piece);
  }
}

async function writeAll(file: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, offset + at);
    at += bytesWritten;
  }
}

async function explained<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new StorageError('disk/io', `cannot write ${path}: ${messageOf(cause)}`, {
      cause,
      actions: ['free space there, or name a file elsewhere'],
    });
  }
}
