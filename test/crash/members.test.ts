// Goal: a disk that joins or leaves, and a replica that begins or ends with it, leave a pool that opens and shows everything, wherever the
//   power is cut in the middle; and nobody asks for a disk that has left.
// Method: recorded disks; a volume is written while a third disk joins, while the second, which carries a replica, leaves, and while it joins
//   again. Every moment is cut, with everything kept that was submitted and with nothing kept that was not synced; each state is checked
//   offline, imported from the disks that carry a label, and compared.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { judge } from '../../tools/explore/afterlife.ts';
import { sectorBytes, stamp, VolumeModel } from '../../tools/explore/durability-model.ts';
import type { VolumeLife } from '../../tools/explore/life.ts';
import { RecordingPlane } from '../../tools/explore/recording-plane.ts';
import { quietLog } from '../pool/fixture.ts';

const never = Number.POSITIVE_INFINITY;
const diskBytes = 8 * MiB;
const clusterBytes = 16 * KiB;
const sizeBytes = MiB;
const writesMeanwhile = 4;
/** Some hundred states, each opened, checked and compared. */
const patienceMs = 600_000;

let folder: string;
let disks: string[];
let plane: RecordingPlane;
let pools: Pools;
let pool: Pool;
let volumes: VolumeService;
let life: VolumeLife;
let serial = 0;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'varve-members-'));
  disks = ['a', 'b', 'c'].map((name) => join(folder, name));
  for (const disk of disks) {
    writeFileSync(disk, '');
    truncateSync(disk, diskBytes);
  }
  plane = new RecordingPlane(new Map(disks.map((disk) => [disk, diskBytes])));
  const common = { clock: systemClock, emit: () => {} };
  const stateDir = join(folder, 'state');
  const options = { flushWindowMs: 1000 };
  pools = await Pools.open({ stateDir, dataPlane: plane, log: quietLog, options, ...common });
  await pools.create('life', disks.slice(0, 2), { clusterBytes });
  pool = pools.get('life');
  await pool.placeDisk(1, { class: null, cordoned: true });
  volumes = new VolumeService({ pools, ...common });
  life = {
    name: 'v',
    model: new VolumeModel(1, sizeBytes),
    createBegun: plane.moment(),
    created: never,
    deleteBegun: never,
    deleted: never,
  };
  await volumes.create({ name: 'v', sizeBytes });
  life.created = plane.moment();
});
afterEach(async () => {
  await plane.dispose();
  plane.stop();
  rmSync(folder, { recursive: true });
});

/** A few clusters are written while `work` goes on, each durable before the next: every one of them makes more moments to cut at. */
async function whileWriting(work: () => Promise<unknown>): Promise<readonly [number, number]> {
  const begun = plane.moment();
  const volume = await volumes.open('v');
  const working = work();
  for (let writes = 0; writes < writesMeanwhile; writes++) {
    serial += 1;
    const at = (serial * 3 * clusterBytes) % sizeBytes;
    const data = new Uint8Array(clusterBytes);
    stamp(data, 1, at / sectorBytes, serial);
    const change = life.model.begin(at, clusterBytes, serial, plane.moment());
    await volume.plane.write(at, data, { fua: true });
    life.model.acknowledged(change);
    life.model.flushed([change], plane.moment());
  }
  await working;
  await volume.close();
  return [begun, plane.moment()];
}

/** A sentence for each promise that a cut in the span breaks. */
async function cutAll([from, to]: readonly [number, number]): Promise<string[]> {
  const broken: string[] = [];
  expect(to - from).toBeGreaterThan(20);
  for (let moment = from; moment < to; moment++) {
    for (const kept of [0, 1]) {
      const left = disks.map((disk) => `${disk}-left`);
      for (const [at, disk] of disks.entries()) {
        rmSync(left[at] as string, { force: true });
        writeFileSync(left[at] as string, new Uint8Array(diskBytes));
        await plane.cut(disk, moment, kept, left[at] as string);
      }
      const cut = { moment, disks: left, memory: undefined };
      const { sentences } = await judge(plane, cut, { lives: [life], snapshotLives: [] }, folder);
      broken.push(...sentences.map((sentence) => `moment ${moment}, kept ${kept}: ${sentence}`));
    }
  }
  return broken;
}

test(
  'a disk that joins, and the replica that begins on it, cut at every moment',
  async () => {
    const span = await whileWriting(() => pools.addDisk('life', disks[2] as string));
    expect(pool.info().disks.map(({ journal }) => journal)).toEqual([true, true, true]);
    await pools.close();
    expect(await cutAll(span)).toEqual([]);
  },
  patienceMs,
);

test(
  'a disk that leaves, and the replica that ends with it, cut at every moment',
  async () => {
    const span = await whileWriting(() => pools.removeDisk('life', 1));
    expect(pool.info().disks).toHaveLength(1);
    await pools.close();
    expect(await cutAll(span)).toEqual([]);
  },
  patienceMs,
);

test(
  'a number that is used again, cut at every moment',
  async () => {
    await pools.removeDisk('life', 1);
    const span = await whileWriting(() => pools.addDisk('life', disks[2] as string));
    expect(pool.info().disks.map(({ number }) => number)).toEqual([0, 1]);
    await pools.close();
    expect(await cutAll(span)).toEqual([]);
  },
  patienceMs,
);
