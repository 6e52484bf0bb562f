/**
 * Writes what is received to the volume that is to hold it: a few pieces side by side, told durable from time to time.
 *
 * Pieces come in ascending order and do not overlap, so their writes may end in any order.
 */
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { DataPlaneError, type VolumePlane } from '../dataplane/data-plane.ts';
import type { Piece } from './piece.ts';

const writesMax = 8;
/** What a kill costs: so much is received again. */
const settleBytes = 128 * MiB;
/** Zeroes may be told of a whole volume at once. */
const zeroBytesMax = 256 * MiB;
const ENOSPC = 28;

export class PartWriter {
  readonly #plane: VolumePlane;
  readonly #note: (toBytes: number) => Promise<void>;
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;
  #toBytes: number;
  #unsettledBytes = 0;

  /** @param note is told what is durable; what lies before `fromBytes` is there already, and is not written again */
  constructor(plane: VolumePlane, fromBytes: number, note: (toBytes: number) => Promise<void>) {
    this.#plane = plane;
    this.#toBytes = fromBytes;
    this.#note = note;
  }

  /** @throws StorageError pool/full; DataPlaneError */
  async add(piece: Piece): Promise<void> {
    const end = piece.offset + piece.length;
    if (end <= this.#toBytes) return;
    while (this.#writing.size >= writesMax) await Promise.race(this.#writing);
    this.#expectSound();
    this.#begin(piece);
    this.#toBytes = end;
    this.#unsettledBytes += piece.bytes?.length ?? 0;
    if (this.#unsettledBytes >= settleBytes) await this.settle();
  }

  /** Everything so far is durable, and said to be. @throws StorageError pool/full; DataPlaneError */
  async settle(): Promise<void> {
    await this.ended();
    this.#expectSound();
    await this.#plane.flush();
    await this.#note(this.#toBytes);
    this.#unsettledBytes = 0;
  }

  /** Nothing is on its way any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#writing);
  }

  #begin(piece: Piece): void {
    const writing = this.#write(piece).catch((error: unknown) => {
      this.#failure ??= error;
    });
    this.#writing.add(writing);
    void writing.finally(() => this.#writing.delete(writing));
  }

  async #write({ offset, length, bytes }: Piece): Promise<void> {
    if (bytes !== null) return this.#plane.write(offset, bytes);
    for (let at = offset; at < offset + length; at += zeroBytesMax) {
      await this.#plane.zero(at, Math.min(zeroBytesMax, offset + length - at));
    }
  }

  #expectSound(): void {
    const failure = this.#failure;
    if (failure === undefined) return;
    if (failure instanceof DataPlaneError && failure.errno === ENOSPC) {
      throw new StorageError('pool/full', 'the pool has no space left for what is received');
    }
    throw failure;
  }
}
