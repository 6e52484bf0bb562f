/**
 * Where the bytes of a stream come from.
 */
import type { FileHandle } from 'node:fs/promises';
import { messageOf, StorageError } from '../base/errors.ts';

export interface ByteSource {
  /** @returns how many came; less than asked for only at the end @throws StorageError backup/io */
  read(into: Uint8Array): Promise<number>;
}

/** A file from its beginning. The handle stays its owner's. */
export class FileSource implements ByteSource {
  readonly #file: FileHandle;
  readonly #name: string;
  #position = 0;

  constructor(file: FileHandle, name: string) {
    this.#file = file;
    this.#name = name;
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      const read = await this.#readSome(into.subarray(filled));
      if (read === 0) break;
      filled += read;
      this.#position += read;
    }
    return filled;
  }

  async #readSome(into: Uint8Array): Promise<number> {
    try {
      return (await this.#file.read(into, 0, into.length, this.#position)).bytesRead;
    } catch (cause) {
      throw new StorageError('backup/io', `${this.#name}: ${messageOf(cause)}`, { cause });
    }
  }
}
