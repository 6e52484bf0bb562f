// Goal: an image that is adopted and absorbed while it is written to leaves, wherever the power is cut, the volume with everything that was
//   promised, or, before it was adopted, none; and from the moment it was told to be absorbed the image is not needed.
// Method: recorded disks under the pool, a stamped image beside them. Every moment is cut, with everything kept that was submitted and with
//   nothing kept that was not synced; each state is checked offline, imported from the disks and compared; those behind the end with the
//   image away.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import { Pools } from '../../src/pool/pools.ts';
import { Adoption } from '../../src/volume/adoption.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { judge } from '../../tools/explore/afterlife.ts';
import { VolumeModel } from '../../tools/explore/durability-model.ts';
import { beginning, type VolumeLife } from '../../tools/explore/promises.ts';
import { RecordingPlane, recordedUri } from '../../tools/explore/recording-plane.ts';
import { sectorBytes, stamp } from '../../tools/explore/sectors.ts';
import { quietLog } from '../pool/fixture.ts';

const diskBytes = 8 * MiB;
const clusterBytes = 16 * KiB;
/** The last sub-block is not whole: it is copied when the image is adopted. */
const clusters = 6;
const sizeBytes = clusters * clusterBytes + sectorBytes;
const writes = 3;
/** Some hundred states, each opened, checked and compared. */
const patienceMs = 600_000;

const disks = ['a', 'b'].map(recordedUri);

let folder: string;
let image: string;
let plane: RecordingPlane;
let pools: Pools;
let volumes: VolumeService;
let life: VolumeLife;
let serial = 1;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'varve-absorb-'));
  image = join(folder, 'image');
  const content = new Uint8Array(sizeBytes);
  stamp(content, 1, 0, serial);
  writeFileSync(image, content);
  plane = new RecordingPlane(new Map(disks.map((disk) => [disk, diskBytes])));
  const common = { clock: systemClock, emit: () => {} };
  const stateDir = join(folder, 'state');
  const options = { flushWindowMs: 1000 };
  pools = await Pools.open({ stateDir, dataPlane: plane, log: quietLog, options, ...common });
  await pools.create('life', disks, { clusterBytes });
  volumes = new VolumeService({ pools, ...common });
  const shown = Array.from({ length: sizeBytes / sectorBytes }, () => ({ volume: 1, serial }));
  life = {
    name: 'v',
    model: new VolumeModel(1, sizeBytes, shown),
    ...beginning(plane.moment()),
  };
});
afterEach(async () => {
  await plane.dispose();
  plane.stop();
  rmSync(folder, { recursive: true });
});

async function adopt(): Promise<void> {
  const adoption = new Adoption({ pools, volumes, clock: systemClock, emit: () => {} });
  const plan = await adoption.plan({ name: 'v', source: image });
  if (!('disk' in plan)) throw new Error('it is new');
  await adoption.adopt(plan, { report() {}, signal: undefined });
  life.created = plane.moment();
}

/** A few sectors here and there, each durable before the next. */
async function write(): Promise<void> {
  const volume = await volumes.open('v');
  for (let count = 0; count < writes; count++) {
    serial += 1;
    const at = ((serial * 5 * clusterBytes) % (clusters * clusterBytes)) + 3 * sectorBytes;
    const data = new Uint8Array(2 * sectorBytes);
    stamp(data, 1, at / sectorBytes, serial);
    const change = life.model.begin(at, data.length, serial, plane.moment());
    await volume.plane.write(at, data, { fua: true });
    life.model.acknowledged(change);
    life.model.flushed([change], plane.moment());
  }
  await volume.close();
}

/** A sentence for each promise that a cut in the span breaks. */
async function cutAll(from: number, to: number): Promise<string[]> {
  const broken: string[] = [];
  for (let moment = from; moment < to; moment++) {
    for (const kept of [0, 1]) {
      const state = await plane.cut({ moment, seed: kept });
      const remains = { moment, disks: state.disks, memory: undefined, salvage: true };
      const lives = { lives: [life], snapshotLives: [] };
      const { sentences } = await judge(plane, remains, lives, folder);
      state.dispose();
      broken.push(...sentences.map((sentence) => `moment ${moment}, kept ${kept}: ${sentence}`));
    }
  }
  return broken;
}

test(
  'adopted and absorbed under a writer, cut at every moment',
  async () => {
    const begun = plane.moment();
    await adopt();
    const migration = new MigrationService({ pools, volumes, emit: () => {} });
    const watch = { report() {}, whileRunning: async () => {} };
    const adopted = plane.moment();
    await Promise.all([write(), migration.absorb('v', watch)]);
    const absorbed = plane.moment();
    await write();
    const ended = plane.moment();
    await pools.close();
    expect(adopted - begun).toBeGreaterThan(10);
    expect(absorbed - adopted).toBeGreaterThan(20);
    expect(await cutAll(begun, absorbed)).toEqual([]);
    renameSync(image, `${image}.away`);
    expect(await cutAll(absorbed, ended)).toEqual([]);
  },
  patienceMs,
);
