/**
 * The process that members-kill.test.ts kills: disks join and leave without end, while blocks that have their clusters are overwritten and
 * each acknowledged one is reported.
 *
 *   argv: state folder, folder of the disks, first serial
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { quietLog } from './fixture.ts';
import type { Acknowledged } from './killed-writer.ts';

const blockBytes = 4096;
const blocks = 256;
const [stateDir = '', folder = '', firstSerial = ''] = process.argv.slice(2);

const dataPlane = new DataPlane({ loops: 2 });
const emit = () => {};
const clock = systemClock;
const options = { flushWindowMs: 1000 };
const pools = await Pools.open({ stateDir, dataPlane, clock, log: quietLog, emit, options });
const volumes = new VolumeService({ pools, clock, emit });
const volume = await volumes.open('v');

async function overwriteForEver(): Promise<void> {
  for (let serial = Number(firstSerial); ; serial++) {
    const block = serial % blocks;
    const bytes = new Uint8Array(blockBytes).fill(serial & 0xff);
    new DataView(bytes.buffer).setFloat64(0, serial, true);
    await volume.plane.write(block * blockBytes, bytes);
    process.send?.({ block, serial } satisfies Acknowledged);
  }
}

/** Disk 0 has the data; the others come and go, the newest first. */
async function changeMembersForEver(): Promise<void> {
  for (;;) {
    const { disks } = pools.get('gold').info();
    for (const { number } of disks.slice(1)) await pools.removeDisk('gold', number);
    for (const name of ['b', 'c', 'd']) {
      await pools.addDisk('gold', join(folder, name), { force: true });
    }
  }
}

process.send?.('ready');
await Promise.all([overwriteForEver(), changeMembersForEver()]);
