/**
 * Writes what is received to the volume that is to hold it: a few pieces side by side, told durable from time to time.
 *
 * Pieces come in ascending order and do not overlap, so their writes may end in any order.
 */
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { DataPlaneError, type VolumePlane } from '../dataplane/data-plane.ts';
import type { Turns } from '../pool/turns.ts';
import type { Piece } from './piece.ts';

const writesMax = 8;
/** What a kill costs: so much is received again. */
const settleBytes = 128 * MiB;
/** Zeroes may be told of a whole volume at once. */
const zeroBytesMax = 256 * MiB;
const ENOSPC = 28;

/** What is written, and when. */
export interface PartPlane {
  readonly plane: Pick<VolumePlane, 'write' | 'zero' | 'flush'>;
  readonly turns: Turns;
}

export class PartWriter {
  readonly #plane: PartPlane['plane'];
  readonly #turns: Turns;
  readonly #note: (toBytes: number) => Promise<void>;
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;
  #toBytes: number;
  #unsettledBytes = 0;

  /** @param note is told what is durable; what lies before `fromBytes` is there already, and is not written again */
  constructor(
    { plane, turns }: PartPlane,
    fromBytes: number,
    note: (toBytes: number) => Promise<void>,
  ) {
    this.#plane = plane;
    this.#turns = turns;
    this.#toBytes = fromBytes;
    this.#note = note;
  }

  /** @throws StorageError pool/full; DataPlaneError; the reason to stop */
  async add(piece: Piece): Promise<void> {
    const end = piece.offset + piece.length;
    if (end <= this.#toBytes) return;
    while (this.#writing.size >= writesMax) await Promise.race(this.#writing);
    this.#expectSound();
    const bytes = piece.bytes?.length ?? 0;
    await this.#turns.before(bytes);
    this.#begin(piece);
    this.#toBytes = end;
    this.#unsettledBytes += bytes;
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
    if (bytes !== null) return this.#writeData(offset, bytes);
    for (let at = offset; at < offset + length; at += zeroBytesMax) {
      await this.#plane.zero(at, Math.min(zeroBytesMax, offset + length - at));
    }
  }

  async #writeData(offset: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + this.#turns.pieceBytes(bytes.length));
      const to = offset + at;
      await this.#turns.take(piece.length, () => this.#plane.write(to, piece));
      at += piece.length;
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
