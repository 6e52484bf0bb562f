/**
 * The index as it is after the journal's tail: entries of a checkpoint, with the tail laid over, in key order.
 *
 *   A… bitmaps  →  L… leaves  →  R… records      both sides come in this order
 */

import { slotsPerLeaf } from '../../base/units.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import {
  allocatorKey,
  chunkBytes,
  clustersPerChunk,
  leafKey,
  parseIndexKey,
  recordKey,
} from '../format/index-keys.ts';
import { decodeLeaf, encodeLeaf } from '../format/leaf.ts';
import type { LeafSeal } from '../format/seal.ts';
import { type SlotEntry, SlotStates } from '../format/slot-states.ts';
import type { LayerPatch, Tail, UsedPatch } from './tail.ts';

type Patch = (base: Uint8Array | undefined) => Uint8Array | null;

interface PatchedKey {
  readonly key: Uint8Array;
  readonly patch: Patch;
}

function patchedChunk(patch: UsedPatch, chunk: number, base: Uint8Array | undefined): Uint8Array {
  const bytes = new Uint8Array(chunkBytes);
  if (base !== undefined) bytes.set(base.subarray(0, chunkBytes));
  const words = new Uint32Array(bytes.buffer);
  const from = (chunk * clustersPerChunk) / 32;
  for (let i = 0; i < words.length && from + i < patch.changed.length; i++) {
    const changed = patch.changed[from + i] as number;
    const used = patch.used[from + i] as number;
    words[i] = ((words[i] as number) & ~changed) | (used & changed);
  }
  return bytes;
}

/** @param isNew what is stored under that number is another disk's, that is gone */
function chunkPatches(disk: number, patch: UsedPatch, isNew: boolean): PatchedKey[] {
  const chunks = Math.ceil((patch.changed.length * 32) / clustersPerChunk);
  return Array.from({ length: chunks }, (_, chunk) => ({
    key: allocatorKey(disk, chunk),
    patch: (base) => patchedChunk(patch, chunk, isNew ? undefined : base),
  }));
}

function patchedLeaf(
  changes: ReadonlyMap<number, readonly SlotEntry[]>,
  seals: readonly LeafSeal[],
  base: Uint8Array | undefined,
): Uint8Array | null {
  const states = new SlotStates(slotsPerLeaf).keepSeals();
  if (base !== undefined) decodeLeaf(base, states);
  for (const [slot, content] of changes) states.set(slot, content);
  for (const { slot, ...seal } of seals) states.seal(slot, seal);
  return encodeLeaf(states);
}

function isCleared(layer: LayerPatch | undefined, leaf: number): boolean {
  return layer?.cleared.has(leaf) ?? false;
}

function leafPatches(layer: number, patch: LayerPatch): PatchedKey[] {
  return [...patch.leaves].map(([leaf, changes]) => ({
    key: leafKey(layer, leaf),
    patch: (base) => {
      const left = isCleared(patch, leaf) ? undefined : base;
      return patchedLeaf(changes, patch.seals.get(leaf) ?? [], left);
    },
  }));
}

function patches(tail: Tail): PatchedKey[] {
  return [
    ...[...tail.used].flatMap(([disk, patch]) => chunkPatches(disk, patch, tail.gone.has(disk))),
    ...[...tail.layers].flatMap(([layer, patch]) => leafPatches(layer, patch)),
    ...[...tail.records].map(([name, value]) => ({ key: recordKey(name), patch: () => value })),
  ].sort((a, b) => Buffer.compare(a.key, b.key));
}

function survives(tail: Tail, entry: IndexEntry): boolean {
  const key = parseIndexKey(entry.key);
  if (key.kind === 'allocator') return !tail.gone.has(key.disk);
  return key.kind !== 'leaf' || !isCleared(tail.layers.get(key.layer), key.leaf);
}

/**
 * @param base in key order
 * @throws FormatError an entry of the base cannot be read where the tail changes it
 */
export async function* mergedEntries(
  base: AsyncIterable<IndexEntry>,
  tail: Tail,
): AsyncGenerator<IndexEntry> {
  const patched = patches(tail);
  let next = 0;
  const patchesBefore = function* (key: Uint8Array | null): Generator<IndexEntry> {
    for (; next < patched.length; next++) {
      const { key: own, patch } = patched[next] as PatchedKey;
      if (key !== null && Buffer.compare(own, key) >= 0) return;
      const value = patch(undefined);
      if (value !== null) yield { key: own, value };
    }
  };
  for await (const entry of base) {
    yield* patchesBefore(entry.key);
    const same = patched[next];
    if (same !== undefined && Buffer.compare(same.key, entry.key) === 0) {
      next += 1;
      const value = same.patch(entry.value);
      if (value !== null) yield { key: entry.key, value };
    } else if (survives(tail, entry)) {
      yield entry;
    }
  }
  yield* patchesBefore(null);
}
