/**
 * Plans of merge.ts as operations of batches: each leaf's belong together, leaves are independent.
 */
import { slotsPerLeaf } from '../base/units.ts';
import { coalesce } from '../pool/allocator.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { LeafEntry } from '../pool/format/leaf.ts';
import { isSealOf, type LeafSeal } from '../pool/format/seal.ts';
import { compareEntries, type SlotEntry, type SlotStates } from '../pool/format/slot-states.ts';
import type { LayerChange, PairPlan } from './merge.ts';

/** A layer and its states, which begin at `firstSlot`. */
export interface ChangedLayer {
  readonly layer: number;
  readonly firstSlot: number;
}

/** What a plan for the slots of one leaf says of one layer. */
export function changeOps(of: ChangedLayer, change: LayerChange): BatchOp[] {
  return leafOps(of, change, (layer, leaf) => ({
    op: 'patch',
    layer,
    leaf,
    entries: patchEntries(of.firstSlot, change),
  }));
}

/** The same where nothing is left of the layer in that leaf. */
export function emptyingOps(of: ChangedLayer, change: LayerChange): BatchOp[] {
  return leafOps(of, change, (layer, firstLeaf) => ({
    op: 'delete-leaves',
    layer,
    firstLeaf,
    count: 1,
  }));
}

function leafOps(
  { layer, firstSlot }: ChangedLayer,
  { slots, clusters }: LayerChange,
  opOf: (layer: number, leaf: number) => BatchOp,
): BatchOp[] {
  const [first] = slots;
  if (first === undefined) return [];
  const ops = [opOf(layer, Math.floor((firstSlot + first.slot) / slotsPerLeaf))];
  if (clusters !== 0) ops.push({ op: 'count', layer, change: clusters });
  return ops;
}

/**
 * What a plan leaves as it was stays sealed: a patch takes seals away.
 *
 * @param sources where the clusters come from, with the seals that they have there
 */
export function sealOps(
  { layer, firstSlot }: ChangedLayer,
  { slots }: LayerChange,
  sources: readonly SlotStates[],
): BatchOp[] {
  const [first] = slots;
  if (first === undefined) return [];
  const seals: LeafSeal[] = [];
  for (const { slot, entries } of slots) {
    if (entries.length === 0) continue;
    const within = (firstSlot + slot) % slotsPerLeaf;
    for (const states of sources) {
      for (const seal of states.seals(slot)) {
        if (entries.some((entry) => isSealOf(seal, entry))) seals.push({ ...seal, slot: within });
      }
    }
  }
  if (seals.length === 0) return [];
  return [{ op: 'seal', layer, leaf: Math.floor((firstSlot + first.slot) / slotsPerLeaf), seals }];
}

/** The clusters that a plan gives up. */
export function releaseOps({ released }: Pick<PairPlan, 'released'>): BatchOp[] {
  return coalesce(released).map((run) => ({ op: 'release', ...run }));
}

function patchEntries(firstSlot: number, { slots }: LayerChange): LeafEntry[] {
  const patch: LeafEntry[] = [];
  for (const { slot, entries } of slots) {
    const within = (firstSlot + slot) % slotsPerLeaf;
    if (entries.length === 0) patch.push({ slot: within, hi: 0, lo: 0 });
    for (const { hi, lo } of inOrder(entries)) patch.push({ slot: within, hi, lo });
  }
  return patch;
}

function inOrder(entries: readonly SlotEntry[]): readonly SlotEntry[] {
  return entries.length < 2 ? entries : [...entries].sort(compareEntries);
}
