/**
 * The process that pool-kill.test.ts kills: writes stamped blocks and reports each one that was acknowledged.
 *
 *   argv: state folder, disk, seed, first serial
 */
import { systemClock } from '../../src/base/clock.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { quietLog } from './fixture.ts';

export interface Acknowledged {
  readonly block: number;
  readonly serial: number;
}

/** Told before it begins: until the write behind it is acknowledged the block may be zero. */
export interface Trimming {
  readonly trimmed: number;
}

export type Told = 'ready' | Acknowledged | Trimming;

const blockBytes = 4096;
const [stateDir = '', disk = '', seed = '', firstSerial = ''] = process.argv.slice(2);

const dataPlane = new DataPlane({ loops: 2 });
const emit = () => {};
const clock = systemClock;
const options = { flushWindowMs: 1000 };
const pools = await Pools.open({ stateDir, dataPlane, clock, log: quietLog, emit, options });
const volumes = new VolumeService({ pools, clock, emit });
await pools.create('gold', [`file:${disk}?size=256MiB`]);
await volumes.create({ name: 'v', sizeBytes: 2 ** 40 });
const volume = await volumes.open('v');

/** xorshift32: the same writes for the same seed. */
let state = Number(seed) || 1;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

let serial = Number(firstSerial);

async function writeForEver(): Promise<void> {
  for (;;) {
    // 512 blocks, far apart and close together: fresh clusters, shared clusters, overwrites.
    const choice = random() % 512;
    const block = choice < 256 ? choice * 4096 : choice;
    const stamp = ++serial;
    const bytes = new Uint8Array(blockBytes).fill(stamp & 0xff);
    new DataView(bytes.buffer).setFloat64(0, stamp, true);
    if (random() % 50 === 0) {
      tell({ trimmed: block });
      await volume.plane.trim(block * blockBytes, blockBytes);
    }
    await volume.plane.write(block * blockBytes, bytes);
    tell({ block, serial: stamp });
    if (random() % 30 === 0) await volume.plane.flush();
  }
}

function tell(told: Told): void {
  process.send?.(told);
}

tell('ready');
await writeForEver();
