// Goal: an operation on metadata has happened or has not, wherever the power is cut in its middle (rule 6).
// Method: one volume is created, filled and deleted on a recorded disk; every moment of the creation and of the deletion is
//   cut, with everything kept that was submitted and with nothing kept that was not synced; each state is checked offline,
//   imported from the disk alone, and the volume must be there as a whole or not at all.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { Pools } from '../../src/pool/pools.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { judge } from '../../tools/explore/afterlife.ts';
import { stamp, VolumeModel } from '../../tools/explore/durability-model.ts';
import type { VolumeLife } from '../../tools/explore/life.ts';
import { RecordingPlane } from '../../tools/explore/recording-plane.ts';
import { quietLog, until } from '../pool/fixture.ts';

const never = Number.POSITIVE_INFINITY;
const diskBytes = 8 * MiB;
const sizeBytes = MiB;

let folder: string;
let disk: string;
let plane: RecordingPlane;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-batches-'));
  disk = join(folder, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, diskBytes);
  plane = new RecordingPlane(new Map([[disk, diskBytes]]));
});
afterEach(async () => {
  await plane.dispose();
  plane.stop();
  rmSync(folder, { recursive: true });
});

async function liveOnce(): Promise<{ life: VolumeLife; gone: number }> {
  const stateDir = join(folder, 'state');
  const options = { flushWindowMs: 1000 };
  const common = { clock: systemClock, emit: () => {} };
  const pools = await Pools.open({ stateDir, dataPlane: plane, log: quietLog, options, ...common });
  await pools.create('life', [disk], { clusterBytes: 16 * KiB });
  const volumes = new VolumeService({ pools, ...common });
  const life: VolumeLife = {
    name: 'v',
    model: new VolumeModel(1, sizeBytes),
    createBegun: plane.moment(),
    created: never,
    deleteBegun: never,
    deleted: never,
  };
  await volumes.create({ name: 'v', sizeBytes });
  life.created = plane.moment();
  const { pool, plane: volume, close } = await volumes.open('v');
  const data = new Uint8Array(sizeBytes);
  stamp(data, 1, 0, 1);
  const change = life.model.begin(0, sizeBytes, 1, plane.moment());
  await volume.write(0, data, { fua: true });
  life.model.acknowledged(change);
  life.model.flushed([change], plane.moment());
  await close();
  life.deleteBegun = plane.moment();
  await volumes.delete('v');
  life.deleted = plane.moment();
  // The name is gone; its layer follows.
  await until(() => pool.records('layer/').length === 0);
  const gone = plane.moment();
  await pools.close();
  return { life, gone };
}

test('a creation and a deletion, cut at every moment, happened or did not', async () => {
  const { life, gone } = await liveOnce();
  const broken: string[] = [];
  const within = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => from + i);
  const moments = [...within(life.createBegun, life.created), ...within(life.deleteBegun, gone)];
  for (const moment of moments) {
    for (const kept of [0, 1]) {
      const left = join(folder, 'left');
      await plane.cut(disk, moment, kept, left);
      const cut = { moment, disks: [left], memory: undefined };
      const { sentences } = await judge(plane, cut, { lives: [life], snapshotLives: [] }, folder);
      broken.push(...sentences.map((sentence) => `moment ${moment}, kept ${kept}: ${sentence}`));
    }
  }
  expect(moments.length).toBeGreaterThan(10);
  expect(broken).toEqual([]);
});
