// Goal: what was copied from a cluster that was somebody else's meanwhile is not believed, even when the map names that cluster again.
// Method: one movement is stopped between its copy and its batch; another takes the cluster away. That it comes back to the very same place, which
//   chance alone would bring about, is what the map is made to say.
import { afterEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { relocateUnit } from '../../src/migration/relocate.ts';
import { type Unit, unitsOf } from '../../src/migration/unit.ts';
import { placeOf } from '../../src/pool/pending-moves.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { VolumeRecord } from '../../src/volume/types.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
let fixture: Fixture;
afterEach(() => fixture.close());

async function unitOf(pool: Pool, layer: number): Promise<Unit> {
  for await (const unit of unitsOf(
    pool,
    layer,
    () => true,
    () => 1,
  ))
    return unit;
  throw new Error('the layer owns nothing');
}

test('a cluster that went away and came back while it was copied', async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  const uris = ['a', 'b'].map((name) => `file:${fixture.path(name)}?size=${16 * MiB}`);
  await fixture.pools.create('p', uris, { clusterBytes });
  const pool = fixture.pools.get('p');
  const [here = 0, there = 1] = pool.info().disks.map(({ number }) => number);
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
  const volume = await fixture.volumes.open('v');
  await volume.plane.write(0, new Uint8Array(clusterBytes).fill(7));
  const layer = pool.records<VolumeRecord>('volume/')[0]?.headLayer ?? 0;
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });

  const move = (unit: Unit, disk: number) => {
    const context = { pool, volumes: fixture.volumes };
    return relocateUnit(context, unit, { targets: [{ disk }], holdWriters: false });
  };
  if (placeOf((await unitOf(pool, layer)).slots[0]?.clusters[0] as never).disk !== here) {
    await move(await unitOf(pool, layer), here);
  }
  const unit = await unitOf(pool, layer);
  const read = pool.index.readRegion.bind(pool.index);
  const before = await read(layer, unit.region);
  const copy = pool.copyClusters.bind(pool);
  pool.copyClusters = async (copies) => {
    pool.copyClusters = copy;
    await copy(copies);
    expect(await move(await unitOf(pool, layer), there)).toBe(1);
    pool.index.readRegion = async (...asked) => {
      pool.index.readRegion = read;
      return asked[0] === layer ? before : read(...asked);
    };
  };
  expect(await move(unit, there)).toBe(0);
  await volume.close();
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});

test("a cluster that became a head's by copy on write, was overwritten, and came back with a merge", async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  await fixture.pools.create('p', [`file:${fixture.path('a')}?size=${16 * MiB}`], { clusterBytes });
  const pool = fixture.pools.get('p');
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB, snapshotMode: 'cow' });
  const { plane, close } = await fixture.volumes.open('v');
  const snapshot = (name: string) =>
    fixture.snapshots.create({ names: [{ volume: 'v', snapshot: name }] });
  await plane.write(0, new Uint8Array(3 * clusterBytes).fill(7));
  const layer = pool.records<VolumeRecord>('volume/')[0]?.headLayer ?? 0;
  await snapshot('s1');
  const unit = await unitOf(pool, layer);
  const copy = pool.copyClusters.bind(pool);
  pool.copyClusters = async (copies) => {
    pool.copyClusters = copy;
    await copy(copies);
    await plane.write(0, new Uint8Array(clusterBytes).fill(8));
    await snapshot('s2');
    await fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {});
    await fixture.snapshots.settled(pool);
    expect((await unitOf(pool, layer)).slots[0]?.clusters).toEqual(unit.slots[0]?.clusters);
  };
  const context = { pool, volumes: fixture.volumes };
  expect(await relocateUnit(context, unit, { targets: [{}], holdWriters: false })).toBe(0);
  expect(await plane.read(0, clusterBytes)).toEqual(Buffer.alloc(clusterBytes, 8));
  await close();
});
