/**
 * Overlay: what is durable in the journal but not yet in the index.
 *
 *   a read sees   LevelDB ← frozen (being folded) ← current (taking changes)
 *
 * Applying a change touches memory only, about a microsecond. A generation knows, per leaf, which slots changed; ranges of
 * leaves that were deleted before those changes; and index keys put or deleted.
 * Elsewhere: writing a frozen generation into LevelDB (fold.ts), what else a record changes (pool-state.ts).
 */
import { invariant } from '../base/errors.ts';
import { slotsPerLeaf } from '../base/units.ts';
import type { LeafEntry } from './format/leaf.ts';
import type { LeafSeal } from './format/seal.ts';
import { slotHasAddress, slotMask } from './format/slot.ts';
import { type SlotEntry, SlotStates } from './format/slot-states.ts';
import type { IndexChange } from './index-store.ts';
import { deleteIn, type LeafRange, LeafRanges } from './leaf-ranges.ts';
import { LeafSlab } from './leaf-slab.ts';

/** A changed leaf: its place in the slab tells which slots. */
export interface PendingLeaf {
  readonly layer: number;
  readonly leaf: number;
  readonly index: number;
}

/** Changes that are applied together; later ones win. */
export class Generation {
  readonly slab = new LeafSlab();
  readonly #leaves = new Map<number, Map<number, number>>();
  readonly #cleared = new Map<number, LeafRanges>();
  /** By layer and leaf, in the order in which they came. */
  readonly #seals = new Map<number, Map<number, readonly LeafSeal[]>>();
  readonly #keys = new Map<string, IndexChange>();

  get isEmpty(): boolean {
    return this.slab.count === 0 && this.#cleared.size === 0 && this.#keys.size === 0;
  }

  /** Leaves it holds memory for. */
  get leafCount(): number {
    return this.slab.count;
  }

  /** A slot with at most one cluster, as heads have them. */
  setSlot(layer: number, slot: number, lo: number, hi: number, zero: number): void {
    const within = slot % slotsPerLeaf;
    const leaf = (slot - within) / slotsPerLeaf;
    this.slab.set(this.#leafIndex(layer, leaf), within, lo, hi, zero);
    if (this.#seals.size > 0) this.#unseal(layer, leaf, (sealed) => sealed === within);
  }

  /** The whole new content of every slot that appears; entries as a batch has them, those of one slot together. */
  patch(layer: number, leaf: number, entries: readonly LeafEntry[]): void {
    const index = this.#leafIndex(layer, leaf);
    for (let at = 0, end = 0; at < entries.length; at = end) {
      const { slot } = entries[at] as LeafEntry;
      for (end = at + 1; entries[end]?.slot === slot; ) end += 1;
      if (end - at === 1) this.#setOnly(index, entries[at] as LeafEntry);
      else this.#setAll(index, slot, entries.slice(at, end));
    }
    if (this.#seals.size === 0) return;
    const slots = new Set(entries.map(({ slot }) => slot));
    this.#unseal(layer, leaf, (sealed) => slots.has(sealed));
  }

  /** Most slots have one entry. */
  #setOnly(index: number, { slot, hi, lo }: LeafEntry): void {
    if (slotHasAddress(hi, lo)) this.slab.set(index, slot, lo, hi, 0);
    else this.slab.set(index, slot, 0, 0, slotMask(lo));
  }

  #setAll(index: number, slot: number, entries: readonly SlotEntry[]): void {
    const states = new SlotStates(1);
    states.set(0, entries);
    this.slab.copySlot(index, slot, states, 0);
  }

  /** Of entries that are there like that: those of this generation, or what it is laid over. */
  seal(layer: number, leaf: number, seals: readonly LeafSeal[]): void {
    this.#leafIndex(layer, leaf);
    const ofLayer = this.#seals.get(layer) ?? new Map<number, readonly LeafSeal[]>();
    this.#seals.set(layer, ofLayer);
    ofLayer.set(leaf, [...(ofLayer.get(leaf) ?? []), ...seals]);
  }

  /** Whatever those leaves held, here and below, is gone. */
  clearLeaves(layer: number, range: LeafRange): void {
    deleteIn(this.#leaves.get(layer), range);
    deleteIn(this.#seals.get(layer), range);
    const cleared = this.#cleared.get(layer) ?? new LeafRanges();
    cleared.add(range);
    this.#cleared.set(layer, cleared);
  }

  /** A value of null deletes the key. */
  setKey(key: Uint8Array, value: Uint8Array | null): void {
    this.#keys.set(Buffer.from(key).toString('latin1'), { key, value });
  }

  isCleared(layer: number, leaf: number): boolean {
    return this.#cleared.get(layer)?.has(leaf) ?? false;
  }

  /** Lays this generation's knowledge of one leaf over the slots [first, first + 64) of `into`. */
  mergeInto(layer: number, leaf: number, into: SlotStates, first: number): void {
    if (this.isCleared(layer, leaf)) into.clear(first, slotsPerLeaf);
    const index = this.#leaves.get(layer)?.get(leaf);
    if (index !== undefined) this.slab.mergeInto(index, into, first);
    if (into.keepsSeals) this.sealInto(layer, leaf, into, first);
  }

  /** Its seals of one leaf, laid over what else it says. */
  sealInto(layer: number, leaf: number, into: SlotStates, first: number): void {
    for (const { slot, ...seal } of this.#seals.get(layer)?.get(leaf) ?? []) {
      into.seal(first + slot, seal);
    }
  }

  /** Whether it says anything of leaves [from, end) of the layer, be it that they are gone. */
  touches(layer: number, from: number, end: number): boolean {
    if (this.#cleared.get(layer)?.meets(from, end)) return true;
    const leaves = this.#leaves.get(layer);
    if (leaves === undefined) return false;
    for (let leaf = from; leaf < end; leaf++) if (leaves.has(leaf)) return true;
    return false;
  }

  /** The first changed leaf at or after `from`, or Infinity. */
  nextLeaf(layer: number, from: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const leaf of this.#leaves.get(layer)?.keys() ?? []) {
      if (leaf >= from && leaf < next) next = leaf;
    }
    return next;
  }

  /** The changed leaves in the index's order. */
  pendingLeaves(): PendingLeaf[] {
    const pending: PendingLeaf[] = [];
    for (const [layer, leaves] of this.#leaves) {
      for (const [leaf, index] of leaves) pending.push({ layer, leaf, index });
    }
    return pending.sort((a, b) => a.layer - b.layer || a.leaf - b.leaf);
  }

  /** Those that any of its changes of leaves is in. */
  layers(): Set<number> {
    return new Set([...this.#leaves.keys(), ...this.#cleared.keys()]);
  }

  clearedRanges(): { readonly layer: number; readonly range: LeafRange }[] {
    return [...this.#cleared].flatMap(([layer, ranges]) =>
      ranges.list().map((range) => ({ layer, range })),
    );
  }

  keyChanges(): IndexChange[] {
    return [...this.#keys.values()];
  }

  /** What is changed from here on is sealed no more. */
  #unseal(layer: number, leaf: number, isChanged: (slot: number) => boolean): void {
    const ofLayer = this.#seals.get(layer);
    const seals = ofLayer?.get(leaf);
    if (seals === undefined) return;
    ofLayer?.set(
      leaf,
      seals.filter(({ slot }) => !isChanged(slot)),
    );
  }

  #leafIndex(layer: number, leaf: number): number {
    let leaves = this.#leaves.get(layer);
    if (leaves === undefined) {
      leaves = new Map();
      this.#leaves.set(layer, leaves);
    }
    let index = leaves.get(leaf);
    if (index === undefined) {
      index = this.slab.add();
      leaves.set(leaf, index);
    }
    return index;
  }
}

/** The two generations above the index, and how often one of them went into it. */
export class Overlay {
  current = new Generation();
  #frozen: Generation | null = null;
  #folds = 0;

  /** Grows whenever LevelDB took over a generation: a reader that saw it change reads again. */
  get folds(): number {
    return this.#folds;
  }

  /** Sets the current generation aside for the fold; changes go to a new one. */
  freeze(): Generation {
    invariant(this.#frozen === null, 'one generation is folded at a time');
    this.#frozen = this.current;
    this.current = new Generation();
    return this.#frozen;
  }

  /** The frozen generation is in LevelDB. */
  settle(): void {
    invariant(this.#frozen !== null, 'a generation was frozen');
    this.#frozen = null;
    this.#folds += 1;
  }

  mergeInto(layer: number, leaf: number, into: SlotStates, first: number): void {
    this.#frozen?.mergeInto(layer, leaf, into, first);
    this.current.mergeInto(layer, leaf, into, first);
  }

  /** Whether it says anything of leaves [from, end) of the layer. */
  touches(layer: number, from: number, end: number): boolean {
    const frozen = this.#frozen?.touches(layer, from, end) ?? false;
    return frozen || this.current.touches(layer, from, end);
  }

  nextLeaf(layer: number, from: number): number {
    const frozen = this.#frozen?.nextLeaf(layer, from) ?? Number.POSITIVE_INFINITY;
    return Math.min(frozen, this.current.nextLeaf(layer, from));
  }
}

/** The content of each slot that entries name; one that becomes empty has none. */
export function bySlot(entries: readonly LeafEntry[]): Map<number, SlotEntry[]> {
  const slots = new Map<number, SlotEntry[]>();
  for (const { slot, hi, lo } of entries) {
    const content = slots.get(slot) ?? [];
    if (slotHasAddress(hi, lo) || slotMask(lo) !== 0) content.push({ hi, lo });
    slots.set(slot, content);
  }
  return slots;
}
