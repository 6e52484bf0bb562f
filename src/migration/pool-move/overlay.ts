/**
 * Overlay: what a slot of a copied layer becomes when a layer of the source is laid over it. Pure.
 *
 *   slot of the copy      A A A . . Z          what was copied so far: one cluster at most, and owned zeroes
 *   slot of the source    B . Z . C .          several clusters perhaps (split), and owned zeroes
 *   becomes               B A Z . C Z          one new cluster
 */
import { slotMask } from '../../pool/format/slot.ts';
import type { SlotEntry } from '../../pool/format/slot-states.ts';

export interface SlotContent {
  /** In the order of their addresses. */
  readonly clusters: readonly SlotEntry[];
  /** A mask of owned zeroes. */
  readonly zero: number;
}

export interface Overlaid {
  readonly mask: number;
  readonly zero: number;
  /** The slot has a cluster, even if nothing in it is valid. */
  readonly hasCluster: boolean;
  /** Sub-blocks that stay what the copy had. */
  readonly kept: number;
}

export interface OverlayRules {
  /** Owned zeroes are needed: they hide what lies below, or a bookmark asks for them. */
  readonly keepsZeroes: boolean;
  /** Space that was taken stays taken: the volume is thick. */
  readonly keepsSpace: boolean;
}

export function overlaid(below: SlotContent, above: SlotContent, rules: OverlayRules): Overlaid {
  const valid = maskOf(above);
  const kept = maskOf(below) & ~valid & ~above.zero;
  const mask = kept | valid;
  const zero = rules.keepsZeroes ? (below.zero & ~valid) | above.zero : 0;
  const stays = rules.keepsSpace && below.clusters.length > 0;
  return { mask, zero, hasCluster: mask !== 0 || above.clusters.length > 0 || stays, kept };
}

/** Whether the copy of a layer that lies over nothing is what the layer is. */
export function isCopied(copy: SlotContent, { mask, zero, hasCluster }: Overlaid): boolean {
  return maskOf(copy) === mask && copy.zero === zero && copy.clusters.length > 0 === hasCluster;
}

export function isSameContent(a: SlotContent, b: SlotContent): boolean {
  return (
    a.zero === b.zero &&
    a.clusters.length === b.clusters.length &&
    a.clusters.every(({ hi, lo }, at) => b.clusters[at]?.hi === hi && b.clusters[at]?.lo === lo)
  );
}

function maskOf({ clusters }: SlotContent): number {
  return clusters.reduce((mask, { lo }) => mask | slotMask(lo), 0);
}
