/**
 * Keys of the index, and the seal on its values (docs/format.md section 5).
 *
 * Keys sort bytewise as their parts sort: integers in them are big-endian.
 */
import { readText, readU64, viewOf, writeU64 } from './bytes.ts';
import { expectFormat } from './format-error.ts';
import { xxh64Low } from './hash.ts';

const leafTag = 0x4c; // L
const allocatorTag = 0x41; // A
const recordTag = 0x52; // R
const hostTag = 0x48; // H
const sealBytes = 4;

/** Clusters in one stored chunk of an allocator bitmap, and its bytes. */
export const clustersPerChunk = 32768;
export const chunkBytes = clustersPerChunk / 8;

export type IndexKey =
  | { readonly kind: 'leaf'; readonly layer: number; readonly leaf: number }
  | { readonly kind: 'allocator'; readonly disk: number; readonly chunk: number }
  | { readonly kind: 'record'; readonly name: string }
  | { readonly kind: 'host'; readonly name: string };

export function leafKey(layer: number, leaf: number): Uint8Array {
  const key = new Uint8Array(17);
  const view = viewOf(key);
  key[0] = leafTag;
  writeU64(view, 1, layer, false);
  writeU64(view, 9, leaf, false);
  return key;
}

export function allocatorKey(disk: number, chunk: number): Uint8Array {
  const key = new Uint8Array(6);
  key[0] = allocatorTag;
  key[1] = disk;
  viewOf(key).setUint32(2, chunk, false);
  return key;
}

function namedKey(tag: number, name: string): Uint8Array {
  const text = Buffer.from(name, 'utf8');
  const key = new Uint8Array(1 + text.length);
  key[0] = tag;
  key.set(text, 1);
  return key;
}

export function recordKey(name: string): Uint8Array {
  return namedKey(recordTag, name);
}

export function hostKey(name: string): Uint8Array {
  return namedKey(hostTag, name);
}

/** Whether a key is host-local: never in a checkpoint. */
export function isHostKey(key: Uint8Array): boolean {
  return key[0] === hostTag;
}

function parseLeafKey(key: Uint8Array): IndexKey {
  expectFormat(key.length === 17, 'bad-value', 'key of a leaf: wrong length');
  const view = viewOf(key);
  return { kind: 'leaf', layer: readU64(view, 1, false), leaf: readU64(view, 9, false) };
}

function parseAllocatorKey(key: Uint8Array): IndexKey {
  expectFormat(key.length === 6, 'bad-value', 'key of an allocator chunk: wrong length');
  return { kind: 'allocator', disk: key[1] as number, chunk: viewOf(key).getUint32(2, false) };
}

/** @throws FormatError bad-value a key of no kind known, or malformed */
export function parseIndexKey(key: Uint8Array): IndexKey {
  if (key[0] === leafTag) return parseLeafKey(key);
  if (key[0] === allocatorTag) return parseAllocatorKey(key);
  const named = key.length > 1 && (key[0] === recordTag || key[0] === hostTag);
  expectFormat(named, 'bad-value', `key of an unknown kind (0x${(key[0] ?? 0).toString(16)})`);
  return { kind: key[0] === hostTag ? 'host' : 'record', name: readText(key.subarray(1)) };
}

/** Key ‖ value of the value being opened: hashing wants them in one piece, and reading must not allocate for it. */
let joined = new Uint8Array(8192);

function sealOf(key: Uint8Array, value: Uint8Array): number {
  const length = key.length + value.length;
  if (joined.length < length) joined = new Uint8Array(2 * length);
  joined.set(key, 0);
  joined.set(value, key.length);
  return xxh64Low(joined.subarray(0, length));
}

/** The value as it is stored in LevelDB: followed by the hash that binds it to its key. */
export function sealValue(key: Uint8Array, value: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(value.length + sealBytes);
  sealed.set(value, 0);
  viewOf(sealed).setUint32(value.length, sealOf(key, value), true);
  return sealed;
}

/**
 * @returns the value, as a view into `sealed`
 * @throws FormatError bad-checksum the value is damaged or belongs to another key; truncated
 */
export function openValue(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  expectFormat(sealed.length >= sealBytes, 'truncated', 'index value: no seal');
  const value = sealed.subarray(0, sealed.length - sealBytes);
  const seal = viewOf(sealed).getUint32(value.length, true);
  expectFormat(seal === sealOf(key, value), 'bad-checksum', 'index value: bad checksum');
  return value;
}
