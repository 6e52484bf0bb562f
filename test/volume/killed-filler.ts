/**
 * A service that creates a thick volume, or grows one, and kills itself when some of the space is taken.
 *
 *   argv: state folder, disk, size of the volume before, or 0, size wanted
 */
import { systemClock as clock } from '../../src/base/clock.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { quietLog } from '../pool/fixture.ts';

const [stateDir = '', disk = '', before = '', wanted = ''] = process.argv.slice(2);
const emit = () => {};
const options = { flushWindowMs: 1000 };
const dataPlane = new DataPlane({ loops: 2 });
const pools = await Pools.open({ stateDir, dataPlane, clock, log: quietLog, emit, options });
const volumes = new VolumeService({ pools, clock, emit });
await pools.create('gold', [`file:${disk}?size=512MiB`]);

const thick = { name: 'v', thick: true };
if (before !== '0') await volumes.create({ ...thick, sizeBytes: Number(before) });
const die = () => process.kill(process.pid, 'SIGKILL');
if (before === '0') await volumes.create({ ...thick, sizeBytes: Number(wanted) }, die);
void volumes.resize('v', Number(wanted));
// The growth is durable as soon as the record shows it.
while (volumes.get('v').sizeBytes !== Number(wanted)) await new Promise(setImmediate);
die();
