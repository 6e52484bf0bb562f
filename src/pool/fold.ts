/**
 * Fold: writes a frozen generation into LevelDB in bounded batches.
 *
 *   deleted ranges → leaves, in key order → records, bitmaps, counts, applied position (one last batch)
 *
 * A fold that ends early leaves the old applied position: the journal's records are applied and folded again, and since each
 * sets whole states the result is the same. Yields to the event loop between batches.
 */
import { yieldToOthers } from '../base/clock.ts';
import { slotsPerLeaf } from '../base/units.ts';
import { leafKey } from './format/index-keys.ts';
import { decodeLeaf, encodeLeaf } from './format/leaf.ts';
import { SlotStates } from './format/slot-states.ts';
import type { IndexChange, IndexRange, IndexWriter } from './index-store.ts';
import type { Generation, PendingLeaf } from './overlay.ts';
import type { Frozen } from './pool-state.ts';

/** About 300 KiB of full leaves: a batch takes LevelDB a millisecond or two. */
const leavesPerBatch = 512;
const deletesPerBatch = 4096;

export interface FoldTarget extends IndexWriter {
  getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  keys(range: IndexRange): Promise<Uint8Array[]>;
}

/** @throws StorageError pool/damaged the index cannot be read; may be called again with the same state */
export async function fold(target: FoldTarget, frozen: Frozen): Promise<void> {
  await deleteClearedRanges(target, frozen.generation);
  const pending = frozen.generation.pendingLeaves();
  for (let at = 0; at < pending.length; at += leavesPerBatch) {
    const batch = pending.slice(at, at + leavesPerBatch);
    await target.write(await mergedLeaves(target, frozen.generation, batch));
    await yieldToOthers();
  }
  await target.write([...frozen.generation.keyChanges(), ...frozen.trailer]);
}

async function deleteClearedRanges(target: FoldTarget, generation: Generation): Promise<void> {
  for (const { layer, range } of generation.clearedRanges()) {
    const bounds = {
      gte: leafKey(layer, range.firstLeaf),
      lt: leafKey(layer, range.firstLeaf + range.count),
      limit: deletesPerBatch,
    };
    for (;;) {
      const keys = await target.keys(bounds);
      if (keys.length === 0) break;
      await target.write(keys.map((key) => ({ key, value: null })));
      await yieldToOthers();
    }
  }
}

async function mergedLeaves(
  target: FoldTarget,
  generation: Generation,
  batch: readonly PendingLeaf[],
): Promise<IndexChange[]> {
  const bases = await readBases(target, generation, batch);
  const states = new SlotStates(slotsPerLeaf).keepSeals();
  return batch.map((pending, at) => {
    const base = bases[at];
    states.clear(0, slotsPerLeaf);
    if (base !== undefined) decodeLeaf(base, states);
    generation.slab.mergeInto(pending.index, states, 0);
    generation.sealInto(pending.layer, pending.leaf, states, 0);
    return { key: leafKey(pending.layer, pending.leaf), value: encodeLeaf(states) };
  });
}

/** What the index holds of those leaves; nothing is read where it cannot matter. */
async function readBases(
  target: FoldTarget,
  generation: Generation,
  batch: readonly PendingLeaf[],
): Promise<(Uint8Array | undefined)[]> {
  const needed = batch.map(
    ({ layer, leaf, index }) =>
      !generation.slab.isWhole(index) && !generation.isCleared(layer, leaf),
  );
  const keys = batch.filter((_, at) => needed[at]).map(({ layer, leaf }) => leafKey(layer, leaf));
  const values = keys.length === 0 ? [] : await target.getMany(keys);
  let next = 0;
  return needed.map((wanted) => (wanted ? values[next++] : undefined));
}
