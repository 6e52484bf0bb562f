/**
 * The maps of several layers, region by region (64 leaves of 64 slots).
 */
import { leavesPerRegion } from '../base/units.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';

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
