/**
 * What changed between two layers of a tree, from the maps alone: every sub-block that a layer on the way claims.
 *
 *   base ← a ← x ← y ← b         a to b: what y, x and b claim           exact, and as durable as the maps
 *                └← c            c to b: what both sides claim down to x
 *
 * Merging and pruning layers keeps the union of what they claim, so the answer survives the deletion of snapshots on the way; a
 * bookmark keeps the boundary itself.
 */
import { leavesPerRegion, slotsPerRegion, subBlocksPerCluster } from '../base/units.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import type { LayerTree } from '../volume/layer-tree.ts';
import type { ChangedExtent } from './types.ts';

/** The layers on both ways from the nearest common one, itself not among them. */
export function layersBetween(tree: LayerTree, from: number, to: number): number[] {
  const [old, now] = [tree.chain(from), tree.chain(to)];
  const shared = new Set(old);
  const common = now.find((layer) => shared.has(layer));
  const until = (chain: readonly number[]) =>
    common === undefined ? chain : chain.slice(0, chain.indexOf(common));
  return [...until(now), ...until(old)];
}

/** Byte ranges of which sub-blocks are added in ascending order. */
export class ChangedRuns {
  readonly extents: { offset: number; length: number }[] = [];
  readonly #subBlockBytes: number;
  readonly #sizeBytes: number;

  constructor(clusterBytes: number, sizeBytes: number) {
    this.#subBlockBytes = clusterBytes / subBlocksPerCluster;
    this.#sizeBytes = sizeBytes;
  }

  add(slot: number, mask: number): void {
    for (let sub = 0; sub < subBlocksPerCluster; sub++) {
      if ((mask & (1 << sub)) !== 0) this.#addSubBlock(slot * subBlocksPerCluster + sub);
    }
  }

  get changedBytes(): number {
    return this.extents.reduce((sum, { length }) => sum + length, 0);
  }

  #addSubBlock(number: number): void {
    const offset = number * this.#subBlockBytes;
    const length = Math.min(this.#subBlockBytes, this.#sizeBytes - offset);
    if (length <= 0) return;
    const last = this.extents.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else this.extents.push({ offset, length });
  }
}

/** @returns what those layers claim, up to a size */
export async function claimedExtents(
  pool: Pool,
  layers: readonly number[],
  sizeBytes: number,
): Promise<{ extents: ChangedExtent[]; changedBytes: number }> {
  const runs = new ChangedRuns(pool.clusterBytes, sizeBytes);
  for await (const { region, stack } of regionsOf(pool, layers)) {
    for (let slot = 0; slot < slotsPerRegion; slot++) {
      const mask = stack.reduce((claimed, states) => claimed | states.claimed(slot), 0);
      if (mask !== 0) runs.add(region * slotsPerRegion + slot, mask);
    }
  }
  return { extents: runs.extents, changedBytes: runs.changedBytes };
}

/** Every region in which any of the layers has something, all of them as of one moment. */
export async function* regionsOf(
  pool: Pool,
  layers: readonly number[],
): AsyncGenerator<{ region: number; stack: readonly SlotStates[] }> {
  for (let region = 0; ; region++) {
    const leaf = await pool.index.nextLeaf(layers, region * leavesPerRegion);
    if (leaf === Number.POSITIVE_INFINITY) return;
    region = Math.floor(leaf / leavesPerRegion);
    const { stack } = await pool.index.readChainRegion(() => layers, region);
    yield { region, stack };
  }
}
