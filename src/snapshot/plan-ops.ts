/**
 * Plans of merge.ts as operations of batches: each leaf's belong together, leaves are independent.
 */
import { slotsPerLeaf } from '../base/units.ts';
import { coalesce } from '../pool/allocator.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { LeafEntry } from '../pool/format/leaf.ts';
import { isSealOf, type Seal } from '../pool/format/seal.ts';
import { compareEntries, type SlotEntry, type SlotStates } from '../pool/format/slot-states.ts';
import type { LayerChange, PairPlan } from './merge.ts';

/** A layer and its states, which begin at `firstSlot`. */
export interface ChangedLayer {
  readonly layer: number;
  readonly firstSlot: number;
}

/** What a plan for the slots of one leaf says of one layer. */
export function changeOps({ layer, firstSlot }: ChangedLayer, change: LayerChange): BatchOp[] {
  const [first] = change.slots;
  if (first === undefined) return [];
  const leaf = Math.floor((firstSlot + first.slot) / slotsPerLeaf);
  const ops: BatchOp[] = [{ op: 'patch', layer, leaf, entries: patchEntries(firstSlot, change) }];
  if (change.clusters !== 0) ops.push({ op: 'count', layer, change: change.clusters });
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
  const seals = slots.flatMap(({ slot, entries }) =>
    sealsOf(entries, slot, sources).map((seal) => ({
      ...seal,
      slot: (firstSlot + slot) % slotsPerLeaf,
    })),
  );
  const [first] = slots;
  if (first === undefined || seals.length === 0) return [];
  return [{ op: 'seal', layer, leaf: Math.floor((firstSlot + first.slot) / slotsPerLeaf), seals }];
}

function sealsOf(
  entries: readonly SlotEntry[],
  slot: number,
  sources: readonly SlotStates[],
): Seal[] {
  const known = sources.flatMap((states) => states.seals(slot));
  return known.filter((seal) => entries.some((entry) => isSealOf(seal, entry)));
}

/** The clusters that a plan gives up. */
export function releaseOps({ released }: Pick<PairPlan, 'released'>): BatchOp[] {
  return coalesce(released).map((run) => ({ op: 'release', ...run }));
}

function patchEntries(firstSlot: number, { slots }: LayerChange): LeafEntry[] {
  return slots.flatMap(({ slot, entries }) => {
    const within = (firstSlot + slot) % slotsPerLeaf;
    const content = entries.length === 0 ? [{ hi: 0, lo: 0 }] : [...entries].sort(compareEntries);
    return content.map(({ hi, lo }) => ({ slot: within, hi, lo }));
  });
}
