/**
 * The maps of several layers, region by region (64 leaves of 64 slots).
 */
import { leavesPerRegion } from '../base/units.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import type { ReadOptions } from '../pool/pool-index.ts';

export interface RegionStack {
  readonly region: number;
  /** As the layers were asked for, all as of one moment. */
  readonly stack: readonly SlotStates[];
}

/** Every region in which any of the layers has something. */
export async function* regionsOf(
  pool: Pool,
  layers: readonly number[],
  options: ReadOptions = {},
): AsyncGenerator<RegionStack> {
  for (let region = 0; ; region++) {
    const leaf = await pool.index.nextLeaf(layers, region * leavesPerRegion);
    if (leaf === Number.POSITIVE_INFINITY) return;
    region = regionOf(leaf);
    yield await readRegion(pool, layers, region, options);
  }
}

/** Every region in which two of the layers, or more, have something: a small layer over a large one has few. */
export async function* sharedRegionsOf(
  pool: Pool,
  layers: readonly number[],
): AsyncGenerator<RegionStack> {
  for (let from = 0; ; ) {
    const leaves = await Promise.all(
      layers.map((layer) => pool.index.nextLeaf(layer, from * leavesPerRegion)),
    );
    const [first, second] = leaves.map(regionOf).sort((a, b) => a - b);
    if (second === undefined || second === Number.POSITIVE_INFINITY) return;
    if (first === second) yield await readRegion(pool, layers, second);
    from = first === second ? second + 1 : second;
  }
}

function regionOf(leaf: number): number {
  return Math.floor(leaf / leavesPerRegion);
}

async function readRegion(
  pool: Pool,
  layers: readonly number[],
  region: number,
  options: ReadOptions = {},
): Promise<RegionStack> {
  const { stack } = await pool.index.readChainRegion(() => layers, region, options);
  return { region, stack };
}
