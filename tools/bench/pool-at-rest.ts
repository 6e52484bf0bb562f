/** A pool in a state folder that no service has open, for tools that change its map by themselves. */
import { systemClock } from '../../src/base/clock.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Pools } from '../../src/pool/pools.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';

/** @throws Error no pool of the folder has the volume */
export async function openVolumeAtRest(
  stateDir: string,
  name: string,
): Promise<{ pools: Pools; pool: Pool; record: VolumeRecord }> {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const services = { dataPlane: new DataPlane({ loops: 1 }), clock: systemClock, log, emit() {} };
  const pools = await Pools.open({ stateDir, ...services, options: { flushWindowMs: 1000 } });
  for (const pool of pools.all()) {
    const record = pool.records<VolumeRecord>('volume/').find((each) => each.name === name);
    if (record !== undefined) return { pools, pool, record };
  }
  throw new Error(`${stateDir} has no volume ${name}`);
}
