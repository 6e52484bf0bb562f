/**
 * The entries of a checkpoint of which clusters may be lost: what can be read, and between which keys something is missing.
 *
 * Entries run on from cluster to cluster. Behind a lost one the next entry is found again as the first place from which everything up to the
 * cluster's end makes sense, in the order of the keys.
 */
import { viewOf } from '../format/bytes.ts';
import { EntryParser, type IndexEntry } from '../format/checkpoint-entry.ts';
import { FormatError } from '../format/format-error.ts';
import { chunkBytes, type IndexKey, parseIndexKey } from '../format/index-keys.ts';
import { leafEntries } from '../format/leaf.ts';
import { type ChainPlaces, soundBlock } from './chain-walk.ts';

/** Keys strictly between these may be lost; null: from the beginning, to the end. */
export interface KeyGap {
  readonly after: Uint8Array | null;
  readonly before: Uint8Array | null;
}

const headerBytes = 6;

export function isIn({ after, before }: KeyGap, key: Uint8Array): boolean {
  const behind = after === null || Buffer.compare(key, after) > 0;
  return behind && (before === null || Buffer.compare(key, before) < 0);
}

/** @returns undefined for a key of no kind known: nothing is to be made of it */
export function knownKey(key: Uint8Array): IndexKey | undefined {
  try {
    return parseIndexKey(key);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** In key order; a gap comes before the entry that ends it. */
export async function* entriesOf(blocks: ChainPlaces): AsyncGenerator<IndexEntry | KeyGap> {
  let parser = new EntryParser();
  let last: Uint8Array | null = null;
  let isLost = false;
  for (const place of blocks) {
    const payload = place && (await soundBlock(place))?.payload;
    const from = payload === undefined ? undefined : isLost ? nextEntry(payload, last) : 0;
    if (payload === undefined || from === undefined) {
      isLost = true;
      continue;
    }
    if (isLost) parser = new EntryParser();
    const { entries, isSound } = parsed(parser, payload.subarray(from));
    for (const entry of entries) {
      if (isLost) yield { after: last, before: entry.key };
      isLost = false;
      last = entry.key;
      yield entry;
    }
    if (!isSound) isLost = true;
  }
  if (isLost || !hasEnded(parser)) yield { after: last, before: null };
}

function parsed(
  parser: EntryParser,
  piece: Uint8Array,
): { entries: IndexEntry[]; isSound: boolean } {
  const entries: IndexEntry[] = [];
  try {
    for (const entry of parser.feed(piece)) entries.push(entry);
    return { entries, isSound: true };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { entries, isSound: false };
  }
}

function hasEnded(parser: EntryParser): boolean {
  try {
    parser.finish();
    return true;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return false;
  }
}

/** Where the first entry of a payload begins whose beginning belongs to an entry that is lost. */
function nextEntry(payload: Uint8Array, last: Uint8Array | null): number | undefined {
  for (let at = 0; at + headerBytes < payload.length; at++) {
    if (makesSenseFrom(payload, at, last)) return at;
  }
  return undefined;
}

function makesSenseFrom(payload: Uint8Array, from: number, last: Uint8Array | null): boolean {
  const view = viewOf(payload);
  let previous = last;
  let at = from;
  while (at + headerBytes <= payload.length) {
    const keyEnd = at + headerBytes + view.getUint16(at, true);
    const end = keyEnd + view.getUint32(at + 2, true);
    if (end > payload.length) break;
    const key = payload.subarray(at + headerBytes, keyEnd);
    const isNext = previous === null || Buffer.compare(previous, key) < 0;
    if (!isNext || !makesSense(key, payload.subarray(keyEnd, end))) return false;
    previous = key;
    at = end;
  }
  return at > from;
}

function makesSense(key: Uint8Array, value: Uint8Array): boolean {
  try {
    const { kind } = parseIndexKey(key);
    if (kind === 'leaf') return leafEntries(value).length > 0;
    if (kind === 'allocator') return value.length === chunkBytes;
    return kind === 'record' && JSON.parse(Buffer.from(value).toString('utf8')) !== undefined;
  } catch {
    return false;
  }
}
