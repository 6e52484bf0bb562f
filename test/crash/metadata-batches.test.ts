// Goal: an operation on metadata has happened or has not, wherever the power is cut in its middle (rule 6), and what is frozen stays as
//   it was (rule 7).
// Method: a volume is created, filled and deleted on a recorded disk; another one's snapshots are deleted so that layers merge; a third one
//   copies on write. Every moment of these operations is cut, with everything kept that was submitted and with nothing kept that was not
//   synced; each state is checked offline, imported from the disk alone, and volume and snapshots must be there as a whole or not at all.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Pools } from '../../src/pool/pools.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { judge } from '../../tools/explore/afterlife.ts';
import { VolumeModel } from '../../tools/explore/durability-model.ts';
import { beginning, type SnapshotLife, type VolumeLife } from '../../tools/explore/promises.ts';
import { RecordingPlane, recordedUri } from '../../tools/explore/recording-plane.ts';
import { sectorBytes, stamp } from '../../tools/explore/sectors.ts';
import { quietLog, until } from '../pool/fixture.ts';

const diskBytes = 8 * MiB;
const clusterBytes = 16 * KiB;
const sizeBytes = MiB;

const disk = recordedUri('disk');

let folder: string;
let plane: RecordingPlane;
let pools: Pools;
let pool: Pool;
let volumes: VolumeService;
let snapshots: SnapshotService;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'varve-batches-'));
  plane = new RecordingPlane(new Map([[disk, diskBytes]]));
  const stateDir = join(folder, 'state');
  const options = { flushWindowMs: 1000 };
  const common = { clock: systemClock, emit: () => {} };
  pools = await Pools.open({ stateDir, dataPlane: plane, log: quietLog, options, ...common });
  await pools.create('life', [disk], { clusterBytes });
  pool = pools.get('life');
  volumes = new VolumeService({ pools, ...common });
  snapshots = new SnapshotService({ pools, volumes, ...common });
});
afterEach(async () => {
  await plane.dispose();
  plane.stop();
  rmSync(folder, { recursive: true });
});

async function endLife(): Promise<void> {
  await snapshots.close();
  await pools.close();
}

async function create(snapshotMode: 'row' | 'cow' = 'row'): Promise<VolumeLife> {
  const life: VolumeLife = {
    name: 'v',
    model: new VolumeModel(1, sizeBytes),
    ...beginning(plane.moment()),
  };
  await volumes.create({ name: 'v', sizeBytes, snapshotMode });
  life.created = plane.moment();
  return life;
}

async function write(
  { model }: VolumeLife,
  serial: number,
  { at, length }: { at: number; length: number },
): Promise<void> {
  const { plane: volume, close } = await volumes.open('v');
  const data = new Uint8Array(length);
  stamp(data, 1, at / sectorBytes, serial);
  const change = model.begin(at, length, serial, plane.moment());
  await volume.write(at, data, { fua: true });
  model.acknowledged(change);
  model.flushed([change], plane.moment());
  await close();
}

async function take({ model }: VolumeLife, name: string): Promise<SnapshotLife> {
  const life: SnapshotLife = {
    volume: 'v',
    name,
    image: model.image(),
    ...beginning(plane.moment()),
  };
  await snapshots.create({ names: [{ volume: 'v', snapshot: name }] });
  life.created = plane.moment();
  return life;
}

/** And its layer becomes one with the one above. */
async function forget(life: SnapshotLife): Promise<void> {
  life.deleteBegun = plane.moment();
  await snapshots.delete([{ volume: 'v', snapshot: life.name }], {});
  life.deleted = plane.moment();
  await snapshots.settled(pool);
}

/** A sentence for each promise that a cut between two of the moments breaks. */
async function cutAll(
  life: VolumeLife,
  snapshotLives: SnapshotLife[],
  spans: readonly (readonly [from: number, to: number])[],
): Promise<string[]> {
  const broken: string[] = [];
  const moments = spans.flatMap(([from, to]) =>
    Array.from({ length: to - from }, (_, i) => from + i),
  );
  expect(moments.length).toBeGreaterThan(10);
  for (const moment of moments) {
    for (const kept of [0, 1]) {
      const state = await plane.cut({ moment, seed: kept });
      const remains = { moment, disks: state.disks, memory: undefined, salvage: true };
      const lives = { lives: [life], snapshotLives };
      const { sentences } = await judge(plane, remains, lives, folder);
      state.dispose();
      broken.push(...sentences.map((sentence) => `moment ${moment}, kept ${kept}: ${sentence}`));
    }
  }
  return broken;
}

test('a creation and a deletion, cut at every moment, happened or did not', async () => {
  const life = await create();
  await write(life, 1, { at: 0, length: sizeBytes });
  life.deleteBegun = plane.moment();
  await volumes.delete('v');
  life.deleted = plane.moment();
  // The name is gone; its layer follows.
  await until(() => pool.records('layer/').length === 0);
  const gone = plane.moment();
  await endLife();
  const { createBegun, created, deleteBegun } = life;
  const spans = [[createBegun, created] as const, [deleteBegun, gone] as const];
  expect(await cutAll(life, [], spans)).toEqual([]);
});

test('layers that merge, cut at every moment, show what they showed', async () => {
  const life = await create();
  await write(life, 1, { at: 0, length: sizeBytes });
  const first = await take(life, 'first');
  await write(life, 2, { at: sectorBytes, length: 8 * clusterBytes });
  const second = await take(life, 'second');
  await write(life, 3, { at: 4 * clusterBytes - sectorBytes, length: 8 * clusterBytes });
  // Two frozen layers, then one below the head.
  const begun = plane.moment();
  await forget(first);
  await forget(second);
  const merged = plane.moment();
  await endLife();
  expect(await cutAll(life, [first, second], [[begun, merged]])).toEqual([]);
});

test('copy on write, cut at every moment, leaves the snapshot as it was', async () => {
  const life = await create('cow');
  await write(life, 1, { at: 0, length: sizeBytes });
  const snapshot = await take(life, 's');
  const begun = plane.moment();
  await write(life, 2, { at: sectorBytes, length: 2 * clusterBytes });
  await write(life, 3, { at: 2 * clusterBytes, length: 2 * clusterBytes });
  const ended = plane.moment();
  await endLife();
  expect(await cutAll(life, [snapshot], [[begun, ended]])).toEqual([]);
});
