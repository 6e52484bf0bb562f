/**
 * Two bitmaps read as one: a cluster is free when its bit is clear in both.
 *
 * Scans go word by word and cost nothing where a word is all taken or all free.
 */

export function getBit(words: Uint32Array, at: number): boolean {
  return ((words[at >>> 5] as number) & (1 << (at & 31))) !== 0;
}

export function setBit(words: Uint32Array, at: number): void {
  words[at >>> 5] = (words[at >>> 5] as number) | (1 << (at & 31));
}

export function clearBit(words: Uint32Array, at: number): void {
  words[at >>> 5] = (words[at >>> 5] as number) & ~(1 << (at & 31));
}

export function popCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return (((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** Two bitmaps of one length, both with a bit per cluster. */
export interface BitmapPair {
  readonly used: Uint32Array;
  readonly held: Uint32Array;
}

/** The first cluster in [from, end) that is free (or taken), or `end`. */
export function findNext(
  pair: BitmapPair,
  wanted: 'free' | 'taken',
  from: number,
  end: number,
): number {
  let at = from;
  while (at < end) {
    const taken = (pair.used[at >>> 5] as number) | (pair.held[at >>> 5] as number);
    const candidates = (wanted === 'free' ? ~taken : taken) & (-1 << (at & 31));
    if (candidates !== 0) {
      return Math.min((at & ~31) + 31 - Math.clz32(candidates & -candidates), end);
    }
    at = (at & ~31) + 32;
  }
  return end;
}
