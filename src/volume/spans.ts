/**
 * What a volume holds in some ranges, as its map says: runs in one state, in order.
 */
import { invariant } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import type { ByteRun, VolumePlane } from '../dataplane/data-plane.ts';

export type Span = ByteRun & { readonly isZero: boolean };

const mapBytesMax = 256 * MiB;

/** @param dataBytes how much of data the next span is to have at most; zeroes come as the map has them */
export async function* spansOf(
  plane: Pick<VolumePlane, 'map'>,
  ranges: Iterable<ByteRun>,
  dataBytes: () => number,
): AsyncGenerator<Span> {
  for (const { offset: first, length: whole } of ranges) {
    const end = first + whole;
    for (let offset = first; offset < end; ) {
      const extents = await plane.map(offset, Math.min(end - offset, mapBytesMax));
      invariant(extents.length > 0, 'a map covers something');
      for (const { length, zero } of extents) {
        yield* cut({ offset, length, isZero: zero }, dataBytes);
        offset += length;
      }
    }
  }
}

function* cut({ offset, length, isZero }: Span, dataBytes: () => number): Generator<Span> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const bytes = isZero ? length : Math.min(dataBytes(), end - at);
    yield { offset: at, length: bytes, isZero };
    at += bytes;
  }
}
