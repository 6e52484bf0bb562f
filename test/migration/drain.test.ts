// Goal: a disk is emptied under writing guests, closed volumes, snapshots and clones; nothing changes but where things lie.
// Method: pools of two or three small disks, the real data plane; content is compared byte by byte, the map by the check.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { VolumePlane } from '../../src/dataplane/data-plane.ts';
import { drain, planDrain } from '../../src/migration/drain.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
const subBytes = clusterBytes / 16;

let fixture: Fixture;
let pool: Pool;

beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
});
afterEach(() => fixture.close());

async function createPool(disks: number, sizeBytes: number): Promise<void> {
  const uris = Array.from(
    { length: disks },
    (_, n) => `file:${fixture.path(`d${n}`)}?size=${sizeBytes}`,
  );
  await fixture.pools.create('p', uris, { clusterBytes });
  pool = fixture.pools.get('p');
}

async function drainDisk(disk: number): Promise<void> {
  const { volumes } = fixture;
  await drain({ pool, volumes }, disk, { before: async () => {}, report() {} });
}

function snapshot(volume: string, name: string) {
  return fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

function stamp(bytes: number, value: number): Buffer {
  return Buffer.alloc(bytes, value);
}

async function contentOf(name: string, sizeBytes: number): Promise<Buffer> {
  const volume = await fixture.volumes.open(name);
  const content = Buffer.from(await volume.plane.read(0, sizeBytes));
  await volume.close();
  return content;
}

async function expectSound(): Promise<void> {
  expect((await fixture.pools.check('p')).findings).toEqual([]);
}

const used = () => pool.info().usedBytes;

test.each(['row', 'cow'] as const)(
  'snapshots, clones and split slots in mode %s',
  async (snapshotMode) => {
    await createPool(2, 48 * MiB);
    const sizeBytes = 4 * MiB;
    await fixture.volumes.create({ name: 'v', sizeBytes, snapshotMode });
    const { plane, close } = await fixture.volumes.open('v');
    const model = Buffer.alloc(sizeBytes);
    const write = async (offset: number, data: Buffer) => {
      await plane.write(offset, data);
      data.copy(model, offset);
    };
    await write(0, stamp(sizeBytes, 1));
    await snapshot('v', 'a');
    // Sub-blocks of the same clusters in three layers, two of which become one.
    for (let at = 0; at < sizeBytes; at += 4 * clusterBytes)
      await write(at + subBytes, stamp(subBytes, 2));
    await snapshot('v', 'b');
    for (let at = 0; at < sizeBytes; at += 8 * clusterBytes)
      await write(at + 3 * subBytes, stamp(subBytes, 3));
    await snapshot('v', 'c');
    await fixture.snapshots.clone({ volume: 'v', snapshot: 'c' }, 'clone');
    const atC = Buffer.from(model);
    await fixture.snapshots.delete([{ volume: 'v', snapshot: 'b' }], {});
    await fixture.snapshots.settled(pool);
    await write(0, stamp(MiB, 4));
    await plane.flush();
    const before = used();
    for (const disk of [1, 0]) {
      await drainDisk(disk);
      expect(pool.occupancy(disk)).toMatchObject({ owned: 0, occupied: 0 });
      expect(Buffer.from(await plane.read(0, sizeBytes)).equals(model)).toBe(true);
      expect((await contentOf('clone', sizeBytes)).equals(atC)).toBe(true);
      await expectSound();
      await pool.placeDisk(disk, { class: null, cordoned: false });
    }
    expect(used()).toBeLessThanOrEqual(before);
    await close();
    await fixture.restart();
    pool = fixture.pools.get('p');
    expect((await contentOf('v', sizeBytes)).equals(model)).toBe(true);
    expect((await contentOf('clone', sizeBytes)).equals(atC)).toBe(true);
    await expectSound();
  },
);

test('a guest that writes all the time is moved too, and loses nothing', async () => {
  await createPool(2, 64 * MiB);
  const sizeBytes = 8 * MiB;
  await fixture.volumes.create({ name: 'v', sizeBytes });
  const { plane, close } = await fixture.volumes.open('v');
  const model = Buffer.alloc(sizeBytes);
  await plane.write(0, stamp(sizeBytes, 1));
  model.fill(1);
  let isDone = false;
  const guest = (async () => {
    for (let n = 2; !isDone; n++) await overwrite(plane, model, n);
  })();
  for (const disk of [1, 0, 1]) {
    await drainDisk(disk);
    expect(pool.occupancy(disk).occupied).toBe(0);
    await pool.placeDisk(disk, { class: null, cordoned: false });
  }
  isDone = true;
  await guest;
  expect(Buffer.from(await plane.read(0, sizeBytes)).equals(model)).toBe(true);
  await close();
  await expectSound();
});

/** A few writes at once, all over the volume, again and again over the same places. */
async function overwrite(plane: VolumePlane, model: Buffer, n: number): Promise<void> {
  const slots = model.length / clusterBytes;
  const writes = Array.from({ length: 16 }, async (_, i) => {
    const offset = ((n * 37 + i * 61) % slots) * clusterBytes + ((n + i) % 15) * 512;
    const data = stamp(1536, (n + i) % 256);
    await plane.write(offset, data);
    return { offset, data };
  });
  for (const { offset, data } of await Promise.all(writes)) data.copy(model, offset);
}

test('refused before anything moves when the others have not the room, with the numbers', async () => {
  await createPool(2, 24 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB });
  const { plane, close } = await fixture.volumes.open('v');
  const { freeBytes } = pool.info();
  for (let at = 0; at < freeBytes - 2 * MiB; at += MiB) await plane.write(at, stamp(MiB, 1));
  await plane.flush();
  await expect(planDrain(pool, 1)).rejects.toMatchObject({
    code: 'pool/full',
    message: expect.stringMatching(/d1 holds [0-9.]+MiB.* have room for [0-9.]+[KM]iB/),
  });
  await close();
});

test('a plan says what there is to copy and who reads from the disk', async () => {
  await createPool(2, 48 * MiB);
  for (const name of ['a', 'b', 'unwritten']) {
    await fixture.volumes.create({ name, sizeBytes: 4 * MiB });
  }
  for (const name of ['a', 'b']) {
    const { plane, close } = await fixture.volumes.open(name);
    await plane.write(0, stamp(4 * MiB, 1));
    await close();
  }
  const plan = await planDrain(pool, 0);
  const other = await planDrain(pool, 1);
  expect(plan.copiedBytes + other.copiedBytes).toBe(8 * MiB);
  expect(new Set([...plan.volumes, ...other.volumes])).toEqual(new Set(['a', 'b']));
});

test('what counts as used and belongs to nobody is an error that says so, when the rest is moved', async () => {
  await createPool(2, 48 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, stamp(MiB, 1));
  await plane.flush();
  const lost = pool.holdClusters(2, [{ disk: 1 }]);
  await pool.commit(lost.map((run) => ({ op: 'acquire', ...run })));
  await expect(drainDisk(1)).rejects.toMatchObject({
    code: 'pool/damaged',
    message: expect.stringMatching(/^32KiB of disk .*d1 are marked used, but no volume/),
    actions: ['varve pool check p lists these clusters'],
  });
  expect(pool.occupancy(1).owned).toBe(2);
  expect(Buffer.from(await plane.read(0, MiB)).equals(stamp(MiB, 1))).toBe(true);
  await close();
  const { findings } = await fixture.pools.check('p');
  expect(findings.map(({ message }) => message)).toEqual(
    Array(2).fill('it is marked used, nobody owns it'),
  );
});
