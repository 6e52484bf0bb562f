/**
 * The maps of some layers as far as they are known: leaves of the checkpoint, with the journal's changes laid over.
 *
 * A slot of which nothing is known claims all of its sub-blocks, at an address that no disk has: so what lies above it shows, and nothing
 * below it does.
 */
import { slotsPerLeaf } from '../../base/units.ts';
import type { IndexEntry } from '../format/checkpoint-entry.ts';
import { FormatError } from '../format/format-error.ts';
import { leafKey } from '../format/index-keys.ts';
import { decodeLeaf } from '../format/leaf.ts';
import { SlotStates } from '../format/slot-states.ts';
import type { Generation } from '../overlay.ts';
import type { Chain } from './catalog.ts';
import { isIn, type KeyGap, knownKey } from './entries.ts';
import type { LossReason } from './types.ts';

/** A disk number that no disk has; the cluster says why nothing is known. */
export const nowhere = 255;
const reasons = ['map-lost', 'leaf-damaged', 'layer-lost'] as const satisfies LossReason[];
export type Unknown = (typeof reasons)[number];

export function reasonAt(cluster: number): Unknown {
  return reasons[cluster - 1] ?? 'leaf-damaged';
}

export class LayerMaps {
  readonly #leaves = new Map<number, Map<number, Uint8Array>>();
  readonly #gaps: KeyGap[] = [];
  readonly #changes: Generation;
  readonly #isBroken: boolean;

  constructor({ layers, isBroken }: Chain, changes: Generation) {
    this.#isBroken = isBroken;
    for (const layer of layers) this.#leaves.set(layer, new Map());
    this.#changes = changes;
  }

  /** Keeps what is of its layers. */
  add(entry: IndexEntry | KeyGap): void {
    if (!('key' in entry)) {
      this.#gaps.push(entry);
      return;
    }
    const key = knownKey(entry.key);
    if (key?.kind === 'leaf') this.#leaves.get(key.layer)?.set(key.leaf, entry.value.slice());
  }

  /** Leaves before `count` in which something may be, ascending; all of them when nobody knows. */
  *leaves(count: number): Generator<number> {
    if (this.#gaps.length > 0 || this.#isBroken) {
      for (let leaf = 0; leaf < count; leaf++) yield leaf;
      return;
    }
    const known = new Set([...this.#leaves.values()].flatMap((leaves) => [...leaves.keys()]));
    for (const { layer, leaf } of this.#changes.pendingLeaves()) {
      if (this.#leaves.has(layer)) known.add(leaf);
    }
    yield* [...known].filter((leaf) => leaf < count).sort((a, b) => a - b);
  }

  /** @returns undefined when nothing is in the leaf, for certain */
  leaf(layer: number, leaf: number): SlotStates | undefined {
    const value = this.#leaves.get(layer)?.get(leaf);
    const isLost = value === undefined && this.#gaps.some((gap) => isIn(gap, leafKey(layer, leaf)));
    const isChanged = this.#changes.touches(layer, leaf, leaf + 1);
    if (value === undefined && !isLost && !isChanged) return undefined;
    const states = isLost ? unknown('map-lost') : decoded(value);
    this.#changes.mergeInto(layer, leaf, states, 0);
    return states;
  }
}

/** All slots of a leaf of which nothing is known. */
export function unknown(reason: Unknown): SlotStates {
  const states = new SlotStates(slotsPerLeaf);
  const lo = (reasons.indexOf(reason) + 1) * 0x10000 + 0xffff;
  for (let slot = 0; slot < slotsPerLeaf; slot++) states.setOne(slot, lo, nowhere * 2 ** 24, 0);
  return states;
}

function decoded(value: Uint8Array | undefined): SlotStates {
  const states = new SlotStates(slotsPerLeaf).keepSeals();
  if (value === undefined) return states;
  try {
    decodeLeaf(value, states);
    return states;
  } catch (error) {
    if (error instanceof FormatError) return unknown('leaf-damaged');
    throw error;
  }
}
