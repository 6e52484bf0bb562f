/**
 * Two layers of which one is read through the other only, made one or made smaller: region by region, in batches that are each whole by
 * themselves. After a crash whoever begins again finds less to do.
 *
 * A live head takes part under the lock of its slots: nobody changes them between the moment in which its states are
 * read and the one in which the batch is durable.
 */
import { leavesPerRegion, slotsPerLeaf, slotsPerRegion } from '../base/units.ts';
import { DataPlaneError, type VolumePlane } from '../dataplane/data-plane.ts';
import { type BatchOp, packed } from '../pool/format/batch.ts';
import { concatBytes } from '../pool/format/bytes.ts';
import { slotHasAddress } from '../pool/format/slot.ts';
import { type SlotEntry, SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import {
  absorb,
  type Cover,
  type LayerChange,
  mergeFrozen,
  type PairPlan,
  prune,
  type SlotRange,
} from './merge.ts';
import { type ChangedLayer, changeOps, emptyingOps, releaseOps, sealOps } from './plan-ops.ts';

const EBUSY = 16;
const noPatches = new Uint32Array(0);

export interface Pair {
  readonly upper: number;
  readonly lower: number;
  /** Nothing lies below the lower one. */
  readonly isBase: boolean;
}

type Planner = (upper: SlotStates, lower: SlotStates, range: SlotRange) => PairPlan;

/** What is done to one leaf of the layers. */
interface LeafStep {
  readonly ops: readonly BatchOp[];
  /** What a head has then, see headPatches. */
  readonly patches: Uint32Array;
  readonly isLowerEmptied: boolean;
}

interface StepRules {
  readonly plan: Planner;
  /** Else a head, which overwrites what it has: nothing of it is sealed. */
  readonly isUpperFrozen: boolean;
}

/** The leaves of one region, each planned for itself. A plan is many objects, and gone before the next one is made. */
function planRegion(
  pair: Pair,
  region: number,
  upper: SlotStates,
  lower: SlotStates,
  { plan, isUpperFrozen }: StepRules,
): LeafStep[] {
  const firstSlot = region * slotsPerRegion;
  const ofUpper = { layer: pair.upper, firstSlot };
  const ofLower = { layer: pair.lower, firstSlot };
  const sealed = [upper, lower];
  return Array.from({ length: leavesPerRegion }, (_, leaf) => {
    const range = { first: leaf * slotsPerLeaf, count: slotsPerLeaf };
    const change = plan(upper, lower, range);
    const opsOf = (of: ChangedLayer, states: SlotStates, changed: LayerChange) =>
      (leavesNothing(states, range, changed) ? emptyingOps : changeOps)(of, changed);
    const ops = [
      ...opsOf(ofUpper, upper, change.upper),
      ...opsOf(ofLower, lower, change.lower),
      ...(isUpperFrozen ? sealOps(ofUpper, change.upper, sealed) : []),
      ...sealOps(ofLower, change.lower, sealed),
      ...releaseOps(change),
    ];
    const isLowerEmptied = change.lower.slots.every(({ entries }) => entries.length === 0);
    const patches = isUpperFrozen ? noPatches : headPatches(change.upper);
    return { ops, patches, isLowerEmptied };
  });
}

/** Whether a layer has nothing in those slots any more, once it is changed like that. */
function leavesNothing(states: SlotStates, range: SlotRange, { slots }: LayerChange): boolean {
  if (slots.some(({ entries }) => entries.length > 0)) return false;
  let left = 0;
  for (let slot = range.first; slot < range.first + range.count; slot++) {
    if (!states.isEmpty(slot)) left += 1;
  }
  return left === slots.filter(({ slot }) => !states.isEmpty(slot)).length;
}

/** Some regions of two frozen layers become one, as few batches as it takes. `into`: which of the layers holds them afterwards. */
export async function mergeRegions(
  pool: Pool,
  pair: Pair,
  regions: readonly number[],
  into: 'child' | 'parent',
): Promise<void> {
  const { isBase } = pair;
  const plan: Planner = (upper, lower, range) => mergeFrozen(upper, lower, range, { into, isBase });
  await changeStill(pool, pair, regions, { plan, isUpperFrozen: true });
}

export interface Above {
  /** The upper layer is a head; with its plane where it is open. */
  readonly head: { readonly plane: VolumePlane | undefined } | undefined;
  /** What lies between the two, in that region. */
  readonly between: Cover;
}

/**
 * One region of a frozen layer gives up what is overridden by the layers above it.
 *
 * @returns false when writers are in the way
 */
export async function pruneRegion(
  pool: Pool,
  pair: Pair,
  region: number,
  { head, between }: Above,
): Promise<boolean> {
  if (head === undefined) {
    const plan: Planner = (upper, lower, range) => ({
      ...prune(upper, lower, range, between),
      upper: nothing,
    });
    await changeStill(pool, pair, [region], { plan, isUpperFrozen: true });
    return true;
  }
  const plan: Planner = (upper, lower, range) => prune(upper, lower, range, between);
  return (await changeUnder(pool, head.plane, pair, region, plan)) !== undefined;
}

const nothing: LayerChange = { slots: [], clusters: 0 };

/** Nobody writes to either, be the upper one frozen or a head that is not open: the index has all of both. */
async function changeStill(
  pool: Pool,
  pair: Pair,
  regions: readonly number[],
  rules: StepRules,
): Promise<LeafStep[]> {
  const layers = [pair.upper, pair.lower];
  const steps: LeafStep[] = [];
  for (const region of regions) {
    const { stack } = await pool.index.readChainRegion(() => layers, region, { seals: true });
    const [upper, lower] = stack as [SlotStates, SlotStates];
    steps.push(...planRegion(pair, region, upper, lower, rules));
  }
  await commitAll(pool, steps);
  return steps;
}

/**
 * One region of a layer goes into the live head above it, as far as it can.
 *
 * @returns whether nothing of it is left in the layer; undefined when writers are in the way
 */
export async function absorbRegion(
  pool: Pool,
  plane: VolumePlane | undefined,
  pair: Pair,
  region: number,
): Promise<boolean | undefined> {
  const { isBase } = pair;
  const plan: Planner = (head, layer, range) => {
    const { damage } = pool;
    const isDamaged = (cluster: SlotEntry) => damage.maskOf(cluster) !== 0;
    return absorb(head, layer, range, { isBase, isDamaged });
  };
  const steps = await changeUnder(pool, plane, pair, region, plan, { forgetBelow: isBase });
  return steps?.every(({ isLowerEmptied }) => isLowerEmptied);
}

/** The upper one is a head. @returns undefined when writers are in the way */
function changeUnder(
  pool: Pool,
  plane: VolumePlane | undefined,
  pair: Pair,
  region: number,
  plan: Planner,
  options = { forgetBelow: false },
): Promise<LeafStep[] | undefined> {
  const rules = { plan, isUpperFrozen: false };
  return plane === undefined
    ? changeStill(pool, pair, [region], rules)
    : changeLive(pool, plane, pair, region, rules, options);
}

/** @returns undefined when writers are in the way */
async function changeLive(
  pool: Pool,
  plane: VolumePlane,
  pair: Pair,
  region: number,
  rules: StepRules,
  options: { readonly forgetBelow: boolean },
): Promise<LeafStep[] | undefined> {
  const range = { first: region * slotsPerRegion, count: slotsPerRegion };
  const head = await lock(plane, range);
  if (head === undefined) return undefined;
  try {
    const { states: lower } = await pool.index.readRegion(pair.lower, region, { seals: true });
    const steps = planRegion(pair, region, head, lower, rules);
    await commitAll(pool, steps);
    plane.unlockSlots(range, joined(steps.map(({ patches }) => patches)), options);
    return steps;
  } catch (error) {
    plane.unlockSlots(range);
    throw error;
  }
}

/** The head's own states, which nobody changes until they are unlocked; undefined when writers are in the way. */
export async function lock(plane: VolumePlane, range: SlotRange): Promise<SlotStates | undefined> {
  try {
    const { words, zeros } = await plane.lockSlots(range.first, range.count);
    return SlotStates.from(words, zeros);
  } catch (error) {
    if (error instanceof DataPlaneError && error.errno === EBUSY) return undefined;
    throw error;
  }
}

/** Four words per slot, as the data plane takes them. A head's slot has one cluster at most. */
export function headPatches({ slots }: LayerChange): Uint32Array {
  const words = new Uint32Array(4 * slots.length);
  let at = 0;
  for (const { slot, entries } of slots) {
    words[at] = slot;
    for (const { hi, lo } of entries) {
      if (slotHasAddress(hi, lo)) {
        words[at + 1] = lo;
        words[at + 2] = hi;
      } else {
        words[at + 3] = lo;
      }
    }
    at += 4;
  }
  return words;
}

function joined(parts: readonly Uint32Array[]): Uint32Array {
  const all = concatBytes(parts.map((part) => new Uint8Array(part.buffer)));
  return new Uint32Array(all.buffer);
}

/** Batches are each whole by themselves: what is done to a leaf is in one of them. */
async function commitAll(pool: Pool, steps: readonly LeafStep[]): Promise<void> {
  const groups = steps.map(({ ops }) => ops);
  for (const batch of packed(groups, pool.batchBytesMax)) await pool.commit(batch);
}
