// Goal: what is read from an adopted disk comes to lie in the pool while guests go on; the disk is never written to, and not needed afterwards.
// Method: pools on small files, the real data plane, an adopted image of random bytes; content is compared byte by byte, the original by its
//   bytes and its time, the map by the check; afterwards the original is deleted and the pool opened again.
import { createHash, randomFillSync } from 'node:crypto';
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { VolumePlane } from '../../src/dataplane/data-plane.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import type { MovementContext } from '../../src/migration/types.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Adoption } from '../../src/volume/adoption.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
const subBytes = clusterBytes / 16;
/** Not of whole sub-blocks: the rest is a cluster of the pool's own from the beginning. */
const imageBytes = 4 * MiB + 5 * subBytes + 300;
const sizeBytes = Math.ceil(imageBytes / 512) * 512;

let fixture: Fixture;
let pool: Pool;
let image: string;
let content: Buffer;

beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  image = fixture.path('image');
  content = Buffer.alloc(sizeBytes);
  randomFillSync(content, 0, imageBytes);
  writeFileSync(image, content.subarray(0, imageBytes));
});
afterEach(() => fixture.close());

async function createPool(bytes = 48 * MiB, disks = 1): Promise<void> {
  const uris = Array.from({ length: disks }, (_, n) => `${fixture.path(`d${n}`)}`);
  const sized = uris.map((path) => `file:${path}?size=${bytes}`);
  await fixture.pools.create('p', sized, { clusterBytes });
  pool = fixture.pools.get('p');
}

function services() {
  const { pools, volumes, clock } = fixture;
  const emit = (event: (typeof fixture.events)[number]) => fixture.events.push(event);
  return {
    adoption: new Adoption({ pools, volumes, clock, emit }),
    migration: new MigrationService({ pools, volumes, emit }),
  };
}

async function adopt(name = 'v', source = image): Promise<void> {
  const { adoption } = services();
  const plan = await adoption.plan({ name, source });
  if (!('disk' in plan)) throw new Error(`${name} is new`);
  await adoption.adopt(plan, { report() {}, signal: undefined });
}

const steadily: MovementContext = { report() {}, whileRunning: async () => {} };

function snapshot(volume: string, name: string) {
  return fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

async function contentOf(name: string): Promise<Buffer> {
  const volume = await fixture.volumes.open(name);
  const bytes = Buffer.from(await volume.plane.read(0, sizeBytes));
  await volume.close();
  return bytes;
}

async function expectSound(): Promise<void> {
  expect((await fixture.pools.check('p')).findings).toEqual([]);
}

const adopted = () => pool.info().disks.filter(({ role }) => role === 'adopted');

/** As it is before and after: nobody has written to it, not even what was there. */
function traceOf(path: string) {
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex');
  return { hash, modified: statSync(path, { bigint: true }).mtimeNs };
}

test.each(['row', 'cow'] as const)(
  'with snapshots and clones in mode %s, and the original can be deleted',
  async (mode) => {
    await createPool();
    const before = traceOf(image);
    await adopt();
    await fixture.snapshots.setMode('v', mode);
    await snapshot('v', 'a');
    const { plane, close } = await fixture.volumes.open('v');
    const model = Buffer.from(content);
    const write = async (offset: number, data: Buffer) => {
      await plane.write(offset, data);
      data.copy(model, offset);
    };
    for (let at = 0; at < MiB; at += 3 * clusterBytes)
      await write(at + subBytes, Buffer.alloc(subBytes, 2));
    await fixture.snapshots.clone({ volume: 'v', snapshot: 'a' }, 'clone');
    await snapshot('v', 'b');
    await write(2 * MiB, Buffer.alloc(MiB, 3));
    await plane.flush();
    const { migration } = services();
    const sharedBefore = fixture.volumes.get('clone').sharedBytes;
    const { plan } = (await migration.planAbsorb('v')) ?? {};
    expect(plan).toMatchObject({ volumes: ['clone', 'v'] });
    const told: number[] = [];
    await migration.absorb('v', { ...steadily, report: (done) => told.push(done) });
    expect(told.at(-1)).toBe(plan?.copiedBytes);
    expect(adopted()).toEqual([]);
    expect(traceOf(image)).toEqual(before);
    rmSync(image);
    expect(Buffer.from(await plane.read(0, sizeBytes)).equals(model)).toBe(true);
    expect((await contentOf('clone')).equals(content)).toBe(true);
    // The split slot of the end has become one cluster.
    expect(sharedBefore - fixture.volumes.get('clone').sharedBytes).toBe(clusterBytes);
    expect(await migration.planAbsorb('v')).toBeUndefined();
    await expectSound();
    await close();
    await fixture.restart();
    pool = fixture.pools.get('p');
    expect((await contentOf('v')).equals(model)).toBe(true);
    expect((await contentOf('clone')).equals(content)).toBe(true);
    await expectSound();
  },
);

test('under a guest that writes all the time', async () => {
  await createPool(64 * MiB);
  await adopt();
  await snapshot('v', 'original');
  const { plane, close } = await fixture.volumes.open('v');
  const model = Buffer.from(content);
  let isDone = false;
  const guest = (async () => {
    for (let n = 0; !isDone; n++) await overwrite(plane, model, n);
  })();
  await services().migration.absorb('v', steadily);
  isDone = true;
  await guest;
  rmSync(image);
  expect(Buffer.from(await plane.read(0, sizeBytes)).equals(model)).toBe(true);
  await close();
  await fixture.snapshots.revert('v', 'original', { discard: true });
  expect((await contentOf('v')).equals(content)).toBe(true);
  await expectSound();
});

/** A few writes at once of parts of sub-blocks, so that what is below is read too. */
async function overwrite(plane: VolumePlane, model: Buffer, n: number): Promise<void> {
  const slots = Math.floor(imageBytes / clusterBytes);
  const writes = Array.from({ length: 16 }, async (_, i) => {
    const offset = ((n * 37 + i * 61) % slots) * clusterBytes + ((n + i) % 15) * 512;
    const data = Buffer.alloc(1536, (n + i) % 256);
    await plane.write(offset, data);
    return { offset, data };
  });
  for (const { offset, data } of await Promise.all(writes)) data.copy(model, offset);
}

test('stopped in the middle it goes on from there, under another service too', async () => {
  await createPool();
  await adopt();
  const stop = new Error('stopped');
  let steps = 0;
  const whileRunning = async () => {
    steps += 1;
    if (steps > 3) throw stop;
  };
  const { migration } = services();
  await expect(migration.absorb('v', { ...steadily, whileRunning })).rejects.toBe(stop);
  const [left] = adopted();
  expect(left?.usedBytes).toBeGreaterThan(0);
  expect(left?.usedBytes).toBeLessThan(4 * MiB);
  await fixture.restart();
  pool = fixture.pools.get('p');
  await services().migration.absorb('v', steadily);
  expect(adopted()).toEqual([]);
  rmSync(image);
  expect((await contentOf('v')).equals(content)).toBe(true);
  await expectSound();
});

test('too little room, or an original that cannot be read, is refused before anything is copied', async () => {
  await createPool(8 * MiB);
  const large = fixture.path('large');
  writeFileSync(large, Buffer.alloc(16 * MiB, 7));
  await adopt('v', large);
  const used = pool.info().usedBytes;
  const { migration } = services();
  const refusal = {
    code: 'pool/full',
    message: expect.stringMatching(/16MiB are read from .*large, but pool p has room for [0-9.]+/),
  };
  await expect(migration.planAbsorb('v')).rejects.toMatchObject(refusal);
  await expect(migration.absorb('v', steadily)).rejects.toMatchObject(refusal);
  expect(pool.info().usedBytes).toBe(used);
  await fixture.restart(async () => rmSync(large));
  await expect(services().migration.planAbsorb('v')).rejects.toMatchObject({
    code: 'disk/unusable',
    message: expect.stringMatching(/large.*cannot be absorbed/),
  });
});

test('what counts as used of the original and belongs to nobody is an error that says so, when the rest is copied', async () => {
  await createPool();
  truncateSync(image, 8 * MiB);
  await adopt();
  // In the hole, where no slot points to.
  const lost = { disk: adopted()[0]?.number as number, firstCluster: 400, count: 1 };
  await pool.commit([{ op: 'acquire', ...lost }]);
  const { migration } = services();
  await expect(migration.absorb('v', steadily)).rejects.toMatchObject({
    code: 'pool/damaged',
    message: expect.stringMatching(/^16KiB of disk .*image are marked used, but no volume/),
  });
  expect(pool.foreignUsedCount(lost.disk)).toBe(1);
  expect((await contentOf('v')).equals(content)).toBe(true);
});

test('what is being absorbed keeps its name, and a second movement of it waits for its turn', async () => {
  await createPool();
  await adopt();
  let go = () => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  const { migration } = services();
  const absorbing = migration.absorb('v', { ...steadily, whileRunning: () => held });
  await expect
    .poll(() => fixture.volumes.rename('v', 'w').catch(({ code }) => code))
    .toBe('volume/busy');
  await expect(fixture.volumes.delete('v')).rejects.toMatchObject({
    code: 'volume/busy',
    message: expect.stringMatching(/it is being absorbed/),
  });
  await expect(migration.absorb('v', steadily)).rejects.toMatchObject({ code: 'volume/busy' });
  go();
  await absorbing;
  await fixture.volumes.rename('v', 'w');
});
