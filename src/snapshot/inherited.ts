/**
 * What a head inherits: what it shows without owning it, by slots and in bytes. From the maps.
 */
import { slotsPerRegion, subBlocksPerCluster } from '../base/units.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import { type Visible, visibleIn } from '../pool/resolve.ts';
import { chainOf } from '../volume/chain.ts';
import { regionsOf } from './regions.ts';

/** What a slot inherits, and the clusters in which that lies. */
export interface Inherited {
  readonly slot: number;
  readonly shown: readonly Visible[];
}

/** Bytes of sub-blocks that a head inherits. */
export async function inheritedBytes(pool: Pool, head: number): Promise<number> {
  let bytes = 0;
  for await (const { stack } of regionsOf(pool, chainOf(pool, head))) {
    for (const slot of inheritedIn(stack, 0, slotsPerRegion)) bytes += shownBytes(pool, slot);
  }
  return bytes;
}

/** The slots [first, first + count) of a chain's region that inherit something. */
export function inheritedIn(
  stack: readonly SlotStates[],
  first: number,
  count: number,
): Inherited[] {
  const [head, ...below] = stack;
  const found: Inherited[] = [];
  for (let slot = first; slot < first + count; slot++) {
    const shown = without(visibleIn(below, slot), head?.claimed(slot) ?? 0);
    if (shown.length > 0) found.push({ slot, shown });
  }
  return found;
}

/** What is left of clusters where some sub-blocks do not count. */
export function without(shown: readonly Visible[], mask: number): Visible[] {
  return shown
    .map((each) => ({ ...each, mask: each.mask & ~mask }))
    .filter(({ mask: left }) => left !== 0);
}

export function shownBytes(pool: Pool, { shown }: Inherited): number {
  const subBlocks = shown.reduce((sum, { mask }) => sum + bitCount(mask), 0);
  return subBlocks * (pool.clusterBytes / subBlocksPerCluster);
}

function bitCount(mask: number): number {
  let count = 0;
  for (let bits = mask; bits !== 0; bits &= bits - 1) count += 1;
  return count;
}
