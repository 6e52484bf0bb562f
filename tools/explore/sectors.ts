/**
 * Stamped sectors: each says who wrote it, where and when, so that whatever is shown can be told from whatever may be shown.
 *
 *   | magic | volume | sector | serial | and so on, to the end of the sector
 */

export const sectorBytes = 512;
const stampMagic = 0x5350_4d54;
const wordBytes = 4;
const wordsPerSector = sectorBytes / wordBytes;

/** A stamp names who wrote it, where, and when; 0 stands for a sector that reads as zero. */
export type Serial = number;

/** What a sector holds: whose stamp (a clone shows its origin's), and which. */
export interface Content {
  readonly volume: number;
  readonly serial: Serial;
}

export type Stamp =
  | 'zero'
  | 'torn'
  | { readonly volume: number; readonly sector: number; readonly serial: Serial };

/** Fills `data` with the stamps of `serial` for the sectors from `firstSector` on. */
export function stamp(data: Uint8Array, volume: number, firstSector: number, serial: Serial): void {
  const words = wordsOf(data);
  for (let at = 0; at < words.length; at += 4) {
    words[at] = stampMagic;
    words[at + 1] = volume;
    words[at + 2] = firstSector + Math.floor(at / wordsPerSector);
    words[at + 3] = serial;
  }
}

/** Makes that sector of `data` show the content. */
export function show(data: Uint8Array, sector: number, { volume, serial }: Content): void {
  const at = sector * sectorBytes;
  const bytes = data.subarray(at, at + sectorBytes);
  if (serial === 0) bytes.fill(0);
  else stamp(bytes, volume, sector, serial);
}

export function readStamp(data: Uint8Array, sector: number): Stamp {
  const at = sector * sectorBytes;
  const words = wordsOf(data.subarray(at, at + sectorBytes));
  for (let word = 4; word < words.length; word++) {
    if (words[word] !== words[word % 4]) return 'torn';
  }
  const [magic, volume = 0, place = 0, serial = 0] = words;
  if (magic === 0 && volume === 0 && place === 0 && serial === 0) return 'zero';
  return magic === stampMagic ? { volume, sector: place, serial } : 'torn';
}

/** What a volume or a snapshot shows. */
export interface Image {
  readonly sizeBytes: number;
  /** What it shows where it is not as `likely`, of the same size; in ascending order of sectors. */
  differing(likely: Uint8Array): Iterable<readonly [sector: number, shown: Stamp]>;
  wholeBytes(): Uint8Array;
}

export class ImageBytes implements Image {
  constructor(readonly bytes: Uint8Array) {}

  wholeBytes(): Uint8Array {
    return this.bytes;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  *differing(likely: Uint8Array): Generator<readonly [sector: number, shown: Stamp]> {
    for (const sector of differingSectors(likely, this.bytes)) {
      yield [sector, readStamp(this.bytes, sector)];
    }
  }
}

/** The sectors of two arrays of one length that are not alike, in order; equal arrays cost one comparison of memory. */
function* differingSectors(a: Uint8Array, b: Uint8Array): Generator<number> {
  yield* differingWithin(bufferOf(a), bufferOf(b), 0, a.length / sectorBytes);
}

function* differingWithin(a: Buffer, b: Buffer, from: number, to: number): Generator<number> {
  const [start, end] = [from * sectorBytes, to * sectorBytes];
  if (a.compare(b, start, end, start, end) === 0) return;
  if (to - from === 1) {
    yield from;
    return;
  }
  const middle = (from + to) >>> 1;
  yield* differingWithin(a, b, from, middle);
  yield* differingWithin(a, b, middle, to);
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / wordBytes);
}
