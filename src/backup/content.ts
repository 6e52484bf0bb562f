/**
 * What a snapshot shows in some ranges, piece by piece and in order: the data, and what reads as zero.
 *
 * Where the map says zero nothing is read. What is read and holds nothing but zeroes counts as zero too, in units of 64 KiB.
 */
import { KiB } from '../base/units.ts';
import type { ByteRun, VolumePlane } from '../dataplane/data-plane.ts';
import type { Turns } from '../pool/turns.ts';
import { type Span, spansOf } from '../volume/spans.ts';
import { dataBytesMax } from './format.ts';
import type { Piece } from './piece.ts';

/** Reads under way: a disk is asked while what came before is hashed and written. */
const readsAhead = 4;
const zeroUnitBytes = 64 * KiB;
const zeroUnit = Buffer.alloc(zeroUnitBytes);

/** Where it is read, and when. */
export interface ContentSource {
  readonly plane: VolumePlane;
  readonly turns: Turns;
}

export async function* contentOf(
  source: ContentSource,
  ranges: Iterable<ByteRun>,
): AsyncGenerator<Piece> {
  const { plane, turns } = source;
  const reading: Promise<Piece[]>[] = [];
  try {
    for await (const span of spansOf(plane, ranges, () => turns.pieceBytes(dataBytesMax))) {
      const pieces = piecesOf(source, span);
      // Told when its turn comes; not before, and not never.
      pieces.catch(() => {});
      reading.push(pieces);
      if (reading.length === readsAhead) yield* await (reading.shift() as Promise<Piece[]>);
    }
    for (const pieces of reading) yield* await pieces;
  } finally {
    await Promise.allSettled(reading);
  }
}

async function piecesOf(
  { plane, turns }: ContentSource,
  { offset, length, isZero }: Span,
): Promise<Piece[]> {
  if (isZero) return [{ offset, length, bytes: null }];
  await turns.before(length);
  return withoutZeroes(offset, await turns.take(length, () => plane.read(offset, length)));
}

/** Runs of units that hold something, or nothing. */
function withoutZeroes(offset: number, bytes: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; ) {
    const isZero = isZeroUnit(bytes, at);
    while (at < bytes.length && isZeroUnit(bytes, at) === isZero) at += zeroUnitBytes;
    const run = bytes.subarray(from, at);
    pieces.push({ offset: offset + from, length: run.length, bytes: isZero ? null : run });
    from = at;
  }
  return pieces;
}

function isZeroUnit(bytes: Uint8Array, at: number): boolean {
  const unit = bytes.subarray(at, at + zeroUnitBytes);
  return Buffer.compare(unit, zeroUnit.subarray(0, unit.length)) === 0;
}
