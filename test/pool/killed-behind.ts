/**
 * The process that behind.test.ts kills while a disk does not answer its syncs.
 *
 *   argv: state folder, folder of the disks; says 'done' when everything was acknowledged that the test expects
 */
import { systemClock } from '../../src/base/clock.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { blockOf, createPool, hangSyncs, writeNear } from './behind-pool.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { quietLog } from './fixture.ts';

const [stateDir = '', folder = ''] = process.argv.slice(2);
const dataPlane = new FaultyPlane({ loops: 2 });
const emit = () => {};
const clock = systemClock;
const options = { flushWindowMs: 50 };
const pools = await Pools.open({ stateDir, dataPlane, clock, log: quietLog, emit, options });
const volumes = new VolumeService({ pools, clock, emit });
await createPool(pools, volumes, folder);
const far = (await volumes.open('far')).plane;
const near = (await volumes.open('near')).plane;
hangSyncs(dataPlane, folder);
for (let block = 0; block < 50; block++) await far.write(block * 65536, blockOf(block));
// Parts of the same slots again, so that they have younger changes.
for (let block = 0; block < 50; block++) await far.trim(block * 65536 + 4096, 4096);
await writeNear(near, 200);
process.send?.('done');
