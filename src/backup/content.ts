/**
 * What a snapshot shows in some ranges, piece by piece and in order: the data, and what reads as zero.
 *
 * Where the map says zero nothing is read. What is read and holds nothing but zeroes counts as zero too, in units of 64 KiB.
 */
import { invariant } from '../base/errors.ts';
import { KiB, MiB } from '../base/units.ts';
import type { ByteRun, VolumePlane } from '../dataplane/data-plane.ts';
import { dataBytesMax } from './format.ts';
import type { Piece } from './piece.ts';

/** Reads under way: a disk is asked while what came before is hashed and written. */
const readsAhead = 4;
const mapBytesMax = 256 * MiB;
const zeroUnitBytes = 64 * KiB;
const zeroUnit = Buffer.alloc(zeroUnitBytes);

type Span = ByteRun & { readonly isZero: boolean };

export async function* contentOf(
  plane: VolumePlane,
  ranges: Iterable<ByteRun>,
): AsyncGenerator<Piece> {
  const reading: Promise<Piece[]>[] = [];
  try {
    for await (const span of spansOf(plane, ranges)) {
      const pieces = piecesOf(plane, span);
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

/** In one state each; of data no more than a frame takes. */
async function* spansOf(plane: VolumePlane, ranges: Iterable<ByteRun>): AsyncGenerator<Span> {
  for (const { offset: first, length: whole } of ranges) {
    const end = first + whole;
    for (let offset = first; offset < end; ) {
      const extents = await plane.map(offset, Math.min(end - offset, mapBytesMax));
      invariant(extents.length > 0, 'a map covers something');
      for (const { length, zero } of extents) {
        yield* cut({ offset, length, isZero: zero });
        offset += length;
      }
    }
  }
}

function* cut({ offset, length, isZero }: Span): Generator<Span> {
  const most = isZero ? length : dataBytesMax;
  for (let at = offset; at < offset + length; at += most) {
    yield { offset: at, length: Math.min(most, offset + length - at), isZero };
  }
}

async function piecesOf(plane: VolumePlane, { offset, length, isZero }: Span): Promise<Piece[]> {
  if (isZero) return [{ offset, length, bytes: null }];
  return withoutZeroes(offset, await plane.read(offset, length));
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
