/**
 * Writes a backup stream: what is to be written next, piece by piece, as bytes in their order.
 *
 * Pieces come in ascending order. Zero ranges that touch become one frame. Who writes the bytes where is the caller's.
 */
import { xxh64 } from '../pool/format/hash.ts';
import { encodeFrame, type Frame } from './format.ts';
import type { FrameSeries } from './frame-series.ts';
import type { Piece } from './piece.ts';

export class StreamWriter {
  readonly #series: FrameSeries;
  #zeroes: { offset: number; length: number } | null = null;

  /** @param series of what has been written already; a new one behind the header alone */
  constructor(series: FrameSeries) {
    this.#series = series;
  }

  add(piece: Piece): Uint8Array[] {
    const { offset, length, bytes } = piece;
    if (bytes !== null) return [...this.#endZeroes(), this.#data(offset, bytes), bytes];
    const open = this.#zeroes;
    if (open !== null && open.offset + open.length === offset) {
      open.length += length;
      return [];
    }
    const before = this.#endZeroes();
    this.#zeroes = { offset, length };
    return before;
  }

  end(): Uint8Array[] {
    const before = this.#endZeroes();
    return [...before, encodeFrame(this.#series.end, this.#series.id).bytes];
  }

  #data(offset: number, bytes: Uint8Array): Uint8Array {
    return this.#frame({ kind: 'data', offset, length: bytes.length, contentHash: xxh64(bytes) });
  }

  #endZeroes(): Uint8Array[] {
    if (this.#zeroes === null) return [];
    const frame = this.#frame({ kind: 'zero', ...this.#zeroes, contentHash: 0n });
    this.#zeroes = null;
    return [frame];
  }

  #frame(of: Omit<Frame, 'sequence'>): Uint8Array {
    const frame = { ...of, sequence: this.#series.sequence };
    const { bytes, hash } = encodeFrame(frame, this.#series.id);
    this.#series.add(frame, hash);
    return bytes;
  }
}
