/**
 * A piece of what a snapshot shows: bytes, or a range that reads as zero.
 */
export interface Piece {
  readonly offset: number;
  readonly length: number;
  /** Null: it reads as zero. */
  readonly bytes: Uint8Array | null;
}
