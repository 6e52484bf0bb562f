/**
 * Resolve: where the sub-blocks of slots lie in a stack of layers, the first one that claims a sub-block deciding.
 *
 * Pure. The answer has the shape that the data plane takes (RegionAnswer): one state per slot, and sixteen addresses for those
 * whose sub-blocks come from several clusters. Owned zeroes and nothing at all are the same to a reader.
 */
import { subBlocksPerCluster } from '../base/units.ts';
import { slotHasAddress, slotMask } from './format/slot.ts';
import type { SlotEntry, SlotStates } from './format/slot-states.ts';

const splitWords = 1 + 2 * subBlocksPerCluster;

/** Stands for what a head hides: never read (kHiddenAddress of native/volume/slot_view.h). */
const hidden = { hi: 0xff000000, lo: 0x10000 };

export interface Resolved {
  /** States, words (lo, hi); null when nothing is there. */
  readonly below: Uint32Array | null;
  /** 33 words per split slot: its number, then sixteen addresses (lo, hi), 0 = reads as zero. */
  readonly splits: Uint32Array | null;
}

/** A cluster, and the sub-blocks of it that show. */
interface Shown extends SlotEntry {
  readonly mask: number;
}

/** A cluster that shows in a slot of a stack. */
export interface Visible extends Shown {
  /** Of the layer that owns the cluster, in the stack. */
  readonly depth: number;
}

/** The clusters that show in one slot of a stack, the upper ones first. */
export function visibleIn(stack: readonly SlotStates[], slot: number): Visible[] {
  const visible: Visible[] = [];
  let decided = 0;
  for (const [depth, states] of stack.entries()) {
    if (states.isEmpty(slot)) continue;
    for (const entry of states.clusters(slot)) {
      const mask = slotMask(entry.lo) & ~decided;
      if (mask !== 0) visible.push({ ...entry, mask, depth });
    }
    decided |= states.claimed(slot);
    if (decided === 0xffff) break;
  }
  return visible;
}

/** What all slots of a stack resolve to. */
export function resolve(stack: readonly SlotStates[]): Resolved {
  const [top] = stack;
  if (top === undefined) return { below: null, splits: null };
  const resolver = new Resolver(top.count);
  for (const states of stack) resolver.layOver(states);
  return resolver.finish();
}

/**
 * What a head's layers resolve to, for its page table: besides what shows, sub-blocks that the head claims over owned zeroes are
 * there, hidden. So a discard of them leaves owned zeroes, and what changed since a pruned layer can still be told.
 */
export function resolveUnder(own: SlotStates, stack: readonly SlotStates[]): Resolved {
  const resolved = resolve(stack);
  const below = resolved.below ?? new Uint32Array(2 * own.count);
  const splitAt = splitPlaces(resolved.splits);
  let isChanged = false;
  for (let slot = 0; slot < own.count; slot++) {
    const zero = stack.reduce((mask, { zeros }) => mask | (zeros[slot] as number), 0);
    if (zero === 0) continue;
    const lo = below[2 * slot] as number;
    const isSplit = splitAt.has(slot);
    const mask = zero & own.claimed(slot) & ~(isSplit ? 0 : slotMask(lo));
    if (mask === 0) continue;
    isChanged = true;
    if (isSplit) hideIn(resolved.splits as Uint32Array, splitAt.get(slot) as number, mask);
    else if (lo !== 0 || below[2 * slot + 1] !== 0) below[2 * slot] = lo + mask;
    else below.set([hidden.lo + mask, hidden.hi], 2 * slot);
  }
  return isChanged ? { below, splits: resolved.splits } : resolved;
}

function splitPlaces(splits: Uint32Array | null): Map<number, number> {
  const places = new Map<number, number>();
  for (let at = 0; splits !== null && at < splits.length; at += splitWords) {
    places.set(splits[at] as number, at);
  }
  return places;
}

/** Where a split slot shows nothing and `mask` says so, something hidden is. */
function hideIn(splits: Uint32Array, place: number, mask: number): void {
  for (let sub = 0; sub < subBlocksPerCluster; sub++) {
    const at = place + 1 + 2 * sub;
    const isNothing = splits[at] === 0 && splits[at + 1] === 0;
    if (isNothing && (mask & (1 << sub)) !== 0) splits.set([hidden.lo, hidden.hi], at);
  }
}

/** Takes layers from the uppermost down. */
class Resolver {
  readonly #count: number;
  readonly #below: Uint32Array;
  readonly #decided: Uint16Array;
  /** Clusters of slots that show several. */
  readonly #several = new Map<number, Shown[]>();
  #isEmpty = true;

  constructor(count: number) {
    this.#count = count;
    this.#below = new Uint32Array(2 * count);
    this.#decided = new Uint16Array(count);
  }

  layOver(states: SlotStates): void {
    for (let slot = 0; slot < this.#count; slot++) {
      const decided = this.#decided[slot] as number;
      if (decided === 0xffff || states.isEmpty(slot)) continue;
      const [lo, hi] = [states.lo(slot), states.hi(slot)];
      if (slotHasAddress(hi, lo)) this.#show(slot, hi, lo, decided);
      for (const extra of states.extras.get(slot) ?? []) {
        this.#show(slot, extra.hi, extra.lo, decided);
      }
      this.#decided[slot] = decided | states.claimed(slot);
    }
  }

  finish(): Resolved {
    if (this.#isEmpty) return { below: null, splits: null };
    const splits = new Uint32Array(this.#several.size * splitWords);
    let at = 0;
    for (const [slot, clusters] of this.#several) {
      splits[at] = slot;
      for (const { hi, lo, mask } of clusters) {
        for (let sub = 0; sub < subBlocksPerCluster; sub++) {
          if ((mask & (1 << sub)) === 0) continue;
          splits[at + 1 + 2 * sub] = lo - slotMask(lo);
          splits[at + 2 + 2 * sub] = hi;
        }
      }
      this.#below[2 * slot] = 0;
      this.#below[2 * slot + 1] = 0;
      at += splitWords;
    }
    return { below: this.#below, splits: splits.length === 0 ? null : splits };
  }

  #show(slot: number, hi: number, lo: number, decided: number): void {
    const mask = slotMask(lo) & ~decided;
    if (mask === 0) return;
    this.#isEmpty = false;
    const several = this.#several.get(slot);
    const [knownLo, knownHi] = [
      this.#below[2 * slot] as number,
      this.#below[2 * slot + 1] as number,
    ];
    if (several !== undefined) {
      several.push({ hi, lo, mask });
    } else if (knownLo === 0 && knownHi === 0) {
      this.#below[2 * slot] = lo - slotMask(lo) + mask;
      this.#below[2 * slot + 1] = hi;
    } else {
      const known = { hi: knownHi, lo: knownLo, mask: slotMask(knownLo) };
      this.#several.set(slot, [known, { hi, lo, mask }]);
    }
  }
}
