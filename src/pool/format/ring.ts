/**
 * The journal ring: monotonic positions, places modulo its size (docs/format.md section 4).
 */
import { invariant } from '../../base/errors.ts';
import { MiB } from '../../base/units.ts';
import { concatBytes } from './bytes.ts';
import { expectFormat } from './format-error.ts';

/** Reads `length` bytes at byte `offset` of a disk. */
export type ReadDisk = (offset: number, length: number) => Promise<Uint8Array>;

export interface RingSegment {
  /** Within the ring. */
  readonly offset: number;
  readonly length: number;
}

/** The one or two pieces of the ring that hold `length` bytes from `position`, in order. */
export function ringSegments(position: number, length: number, ringBytes: number): RingSegment[] {
  invariant(length <= ringBytes, 'a record is no longer than its ring');
  const offset = position % ringBytes;
  const first = Math.min(length, ringBytes - offset);
  if (first === length) return [{ offset, length }];
  return [
    { offset, length: first },
    { offset: 0, length: length - first },
  ];
}

export interface RingPlace {
  readonly journalOffset: number;
  readonly journalBytes: number;
}

/** Reads `length` bytes from a position on. */
export async function readRing(
  read: ReadDisk,
  { journalOffset, journalBytes }: RingPlace,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const segment of ringSegments(position, length, journalBytes)) {
    parts.push(await read(journalOffset + segment.offset, segment.length));
  }
  return joined(parts);
}

/** No copy of what is in one piece. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts);
}

const readAheadBytes = MiB;

/** Reads forward through a ring in steps of 1 MiB. Bytes handed out stay valid: no buffer is used twice. */
export class RingReader {
  readonly #read: ReadDisk;
  readonly #place: RingPlace;
  readonly #endPosition: number;
  #position: number;
  #buffer: Uint8Array = new Uint8Array(0);

  /** @param position from where one lap of the ring can be read */
  constructor(read: ReadDisk, place: RingPlace, position: number) {
    this.#read = read;
    this.#place = place;
    this.#position = position;
    this.#endPosition = position + place.journalBytes;
  }

  /** @returns undefined when the range reaches beyond the lap */
  async bytesAt(position: number, length: number): Promise<Uint8Array | undefined> {
    if (position + length > this.#endPosition) return undefined;
    const buffered =
      position >= this.#position && position + length <= this.#position + this.#buffer.length;
    if (!buffered) await this.#fill(position, length);
    const from = position - this.#position;
    return this.#buffer.subarray(from, from + length);
  }

  async #fill(position: number, length: number): Promise<void> {
    const wanted = Math.min(Math.max(length, readAheadBytes), this.#endPosition - position);
    const segments = ringSegments(position, wanted, this.#place.journalBytes);
    // What lies behind the ring's end is read when something of it is asked for.
    const isEnough = segments.length > 1 && (segments[0] as RingSegment).length >= length;
    const parts: Uint8Array[] = [];
    for (const segment of isEnough ? segments.slice(0, 1) : segments) {
      const part = await this.#read(this.#place.journalOffset + segment.offset, segment.length);
      expectFormat(
        part.length === segment.length,
        'truncated',
        'journal: disk ends inside the ring',
      );
      parts.push(part);
    }
    this.#buffer = joined(parts);
    this.#position = position;
  }
}
