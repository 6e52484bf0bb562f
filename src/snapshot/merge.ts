/**
 * What happens to the slots of two layers of which one is read through the other only: they become one, or what is overridden goes.
 *
 *   merge    child over parent, both frozen        → the content of both in one of them, the other's slots empty
 *   absorb   a live head over a layer nobody names → the head takes whole clusters; what it shares a slot with stays (residue)
 *   prune    as either, but the layer is kept      → what nobody sees any more goes, hidden by the upper one or by what lies between them
 *
 * Pure: states in, plan out. Invariants: whoever reads through the upper layer resolves what it resolved before; every cluster that
 * was owned is owned by one slot, or released; no sub-block that one of the layers claimed is claimed by none, so that what
 * changed since an older snapshot can still be told.
 *
 * Slots of whole disks are gone through, some hundred thousand a second: as few objects as possible are made for one.
 */
import type { ClusterPlace } from '../pool/allocator.ts';
import { slotHasAddress, slotMask } from '../pool/format/slot.ts';
import { noEntries, type SlotEntry, type SlotStates } from '../pool/format/slot-states.ts';
import { placeOf } from '../pool/pending-moves.ts';

/** The whole new content of a slot; none = it becomes empty. */
export interface SlotChange {
  /** Within the states that were given. */
  readonly slot: number;
  readonly entries: readonly SlotEntry[];
}

export interface LayerChange {
  readonly slots: readonly SlotChange[];
  /** Clusters owned, more or fewer. */
  readonly clusters: number;
}

/** Slots of the states given: a leaf, as a rule, so that a plan fits a batch. */
export interface SlotRange {
  readonly first: number;
  readonly count: number;
}

export interface PairPlan {
  readonly upper: LayerChange;
  readonly lower: LayerChange;
  readonly released: readonly ClusterPlace[];
}

const sixteen = 0xffff;

/** Collects the changes of two layers. */
class PairPlanner {
  readonly #upper: SlotChange[] = [];
  readonly #lower: SlotChange[] = [];
  readonly released: ClusterPlace[] = [];
  #upperClusters = 0;
  #lowerClusters = 0;

  constructor(
    readonly upper: SlotStates,
    readonly lower: SlotStates,
  ) {}

  setUpper(slot: number, entries: readonly SlotEntry[]): void {
    this.#upper.push({ slot, entries });
    this.#upperClusters += countClusters(entries) - this.upper.clusterCount(slot);
  }

  setLower(slot: number, entries: readonly SlotEntry[]): void {
    this.#lower.push({ slot, entries });
    this.#lowerClusters += countClusters(entries) - this.lower.clusterCount(slot);
  }

  release(cluster: SlotEntry): void {
    this.released.push(placeOf(cluster));
  }

  finish(): PairPlan {
    return {
      upper: { slots: this.#upper, clusters: this.#upperClusters },
      lower: { slots: this.#lower, clusters: this.#lowerClusters },
      released: this.released,
    };
  }
}

/**
 * Both layers frozen. Only slots where the one that is to become empty has something change.
 *
 * @param into which layer holds the content of both afterwards
 * @param isBase nothing lies below them: owned zeroes hide nothing then
 */
export function mergeFrozen(
  child: SlotStates,
  parent: SlotStates,
  range: SlotRange,
  { into, isBase }: { readonly into: 'child' | 'parent'; readonly isBase: boolean },
): PairPlan {
  const planner = new PairPlanner(child, parent);
  const source = into === 'child' ? parent : child;
  for (let slot = range.first; slot < range.first + range.count; slot++) {
    if (source.isEmpty(slot)) continue;
    const merged = mergedSlot(planner, slot, isBase);
    if (into === 'child') {
      planner.setUpper(slot, merged);
      planner.setLower(slot, noEntries);
    } else {
      planner.setUpper(slot, noEntries);
      planner.setLower(slot, merged);
    }
  }
  return planner.finish();
}

/** The content of a slot of both; the lower's clusters that do not show are released. */
function mergedSlot(planner: PairPlanner, slot: number, isBase: boolean): readonly SlotEntry[] {
  const { upper, lower } = planner;
  const seen = sixteen & ~upper.claimed(slot);
  const clusters = upper.clusters(slot);
  const kept = shownClusters(planner, slot, seen, clusters.length === 0);
  const zero = upper.zero(slot) | (lower.zero(slot) & seen);
  return withZero([...withoutSpares(planner, [...clusters, ...kept])], isBase ? 0 : zero);
}

/**
 * The lower layer's clusters with what of them shows; those of which nothing does are released.
 *
 * @param keepsProvisioned a cluster without valid sub-blocks is space that somebody was promised: kept when the slot has no other
 */
function shownClusters(
  planner: PairPlanner,
  slot: number,
  seen: number,
  keepsProvisioned: boolean,
): SlotEntry[] {
  const kept: SlotEntry[] = [];
  for (const cluster of planner.lower.clusters(slot)) {
    const mask = slotMask(cluster.lo);
    const left = mask & seen;
    if (left !== 0 || (mask === 0 && keepsProvisioned)) kept.push(withMask(cluster, left));
    else planner.release(cluster);
  }
  return kept;
}

/** Of several clusters none is empty: space promised to a slot that has a cluster with content is not needed. */
function withoutSpares(planner: PairPlanner, clusters: readonly SlotEntry[]): readonly SlotEntry[] {
  if (clusters.length < 2) return clusters;
  const filled = clusters.filter(({ lo }) => slotMask(lo) !== 0);
  const spare = clusters.filter(({ lo }) => slotMask(lo) === 0);
  const [first, ...others] = spare;
  if (filled.length === 0 && first !== undefined) {
    for (const other of others) planner.release(other);
    return [first];
  }
  for (const each of spare) planner.release(each);
  return filled;
}

export interface AbsorbRules {
  /** Nothing lies below the layer: owned zeroes hide nothing then. */
  readonly isBase: boolean;
  /** Such a cluster never comes to a head, which would overwrite it in place and show the rest of it. */
  readonly isDamaged?: (cluster: SlotEntry) => boolean;
}

/**
 * A live head takes what the layer below holds alone.
 *
 * A head's slot has one cluster at most: where both have one, or the layer several, what of the layer shows stays there. Every slot in
 * which the layer changes is among the head's changes too, be it with the state that it has: its page table has to know.
 */
export function absorb(
  head: SlotStates,
  layer: SlotStates,
  range: SlotRange,
  { isBase, isDamaged = () => false }: AbsorbRules,
): PairPlan {
  const planner = new PairPlanner(head, layer);
  for (let slot = range.first; slot < range.first + range.count; slot++) {
    if (layer.isEmpty(slot)) continue;
    const seen = sixteen & ~head.claimed(slot);
    const hasPlace = head.clusterCount(slot) > 0;
    const shown = shownClusters(planner, slot, seen, !hasPlace);
    const zero = layer.zero(slot) & seen;
    const [first] = shown;
    const isTaken = shown.length === 1 && !hasPlace && !isDamaged(first as SlotEntry);
    if (first === undefined || isTaken) {
      // Owned zeroes over nothing hide nothing.
      const zeroes = isBase ? 0 : head.zero(slot) | zero;
      planner.setUpper(slot, withZero(isTaken ? shown : head.clusters(slot), zeroes));
      planner.setLower(slot, noEntries);
    } else {
      planner.setUpper(slot, head.entries(slot));
      planner.setLower(slot, withZero(shown, isBase ? 0 : zero));
    }
  }
  return planner.finish();
}

/**
 * Of the lower layer goes what does not show; the upper one stays as it is (and is named, see absorb).
 *
 * @param between layers that everybody who comes from the upper one reads through first
 */
export function prune(
  upper: SlotStates,
  lower: SlotStates,
  range: SlotRange,
  between: Cover,
): PairPlan {
  const planner = new PairPlanner(upper, lower);
  for (let slot = range.first; slot < range.first + range.count; slot++) {
    const hidden = upper.claimed(slot) | between.claimed(slot);
    const hasPlace = upper.clusterCount(slot) > 0 || between.hasPlace(slot);
    if (lower.isEmpty(slot) || (hidden === 0 && !hasPlace)) continue;
    const shown = shownClusters(planner, slot, sixteen & ~hidden, !hasPlace);
    // It goes on claiming what it claimed: what changed since, and on the other side of a branch, is told by that.
    const shownMask = shown.reduce((mask, { lo }) => mask | slotMask(lo), 0);
    const left = withZero(shown, lower.claimed(slot) & ~shownMask);
    if (sameEntries(left, lower.entries(slot))) continue;
    planner.setUpper(slot, upper.entries(slot));
    planner.setLower(slot, left);
  }
  return planner.finish();
}

/** What layers that are added from the top down hide of those below. */
export class Cover {
  readonly #claimed: Uint16Array;
  /** Slots in which one of them has a cluster. */
  readonly #hasPlace: Uint8Array;

  constructor(slots: number) {
    this.#claimed = new Uint16Array(slots);
    this.#hasPlace = new Uint8Array(slots);
  }

  claimed(slot: number): number {
    return this.#claimed[slot] as number;
  }

  hasPlace(slot: number): boolean {
    return this.#hasPlace[slot] === 1;
  }

  /** @returns how many of its clusters the layers above hide wholly */
  add(states: SlotStates): number {
    let hidden = 0;
    for (let slot = 0; slot < states.count; slot++) {
      if (states.isEmpty(slot)) continue;
      const claimed = this.#claimed[slot] as number;
      const clusters = states.clusters(slot);
      for (const { lo } of clusters) {
        const mask = slotMask(lo);
        if (mask === 0 ? this.#hasPlace[slot] === 1 : (mask & ~claimed) === 0) hidden += 1;
      }
      if (clusters.length > 0) this.#hasPlace[slot] = 1;
      this.#claimed[slot] = claimed | states.claimed(slot);
    }
    return hidden;
  }
}

function countClusters(entries: readonly SlotEntry[]): number {
  let count = 0;
  for (const { hi, lo } of entries) if (slotHasAddress(hi, lo)) count += 1;
  return count;
}

function withMask(entry: SlotEntry, mask: number): SlotEntry {
  const { hi, lo } = entry;
  return slotMask(lo) === mask ? entry : { hi, lo: lo - slotMask(lo) + mask };
}

function withZero(clusters: readonly SlotEntry[], zero: number): readonly SlotEntry[] {
  return zero === 0 ? clusters : [{ hi: 0, lo: zero }, ...clusters];
}

function sameEntries(a: readonly SlotEntry[], b: readonly SlotEntry[]): boolean {
  return a.length === b.length && a.every(({ hi, lo }, at) => hi === b[at]?.hi && lo === b[at]?.lo);
}
