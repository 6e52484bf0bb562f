// Goal: volumes lie where they were placed, new data as well as what is moved; disks of one class come to be equally full.
// Method: pools of small disks with classes, the real data plane; where things lie is read off what the disks hold.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Fixture, until } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
const atOnce = { report() {}, whileRunning: async () => {} };

let fixture: Fixture;
let pool: Pool;
let migration: MigrationService;

beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
});
afterEach(() => fixture.close());

/** One disk per class; null: none. */
async function createPool(
  classes: readonly (string | null)[],
  sizeBytes = 48 * MiB,
): Promise<void> {
  const uris = classes.map((_, n) => `file:${fixture.path(`d${n}`)}?size=${sizeBytes}`);
  await fixture.pools.create('p', uris, { clusterBytes });
  await findPool();
  for (const [number, label] of classes.entries()) {
    await migration.setClass({ pool: 'p', number }, label);
  }
}

async function findPool(): Promise<void> {
  pool = fixture.pools.get('p');
  const { pools, volumes } = fixture;
  migration = new MigrationService({ pools, volumes, emit: (event) => fixture.events.push(event) });
}

const owned = () => pool.disks.map(({ label }) => pool.occupancy(label.diskNumber).owned);

async function fill(name: string, bytes: number, value = 1): Promise<void> {
  const { plane, close } = await fixture.volumes.open(name);
  await plane.write(0, Buffer.alloc(bytes, value));
  await plane.flush();
  await close();
}

async function contentOf(name: string, bytes: number): Promise<Buffer> {
  const { plane, close } = await fixture.volumes.open(name);
  const content = Buffer.from(await plane.read(0, bytes));
  await close();
  return content;
}

test('what is written to a volume of a class lies on its disks, also after a restart', async () => {
  await createPool(['ssd', 'hdd']);
  await fixture.volumes.create({ name: 'fast', sizeBytes: 8 * MiB, class: 'ssd' });
  await fixture.volumes.create({ name: 'slow', sizeBytes: 8 * MiB, class: 'hdd' });
  await fill('fast', 2 * MiB);
  await fill('slow', MiB);
  expect(owned()).toEqual([(2 * MiB) / clusterBytes, MiB / clusterBytes]);
  await fixture.restart();
  await findPool();
  await fill('slow', 3 * MiB);
  expect(owned()).toEqual([(2 * MiB) / clusterBytes, (3 * MiB) / clusterBytes]);
});

test('a clone lies where the volume is placed that it was made of', async () => {
  await createPool(['hdd', 'ssd']);
  await fixture.volumes.create({ name: 'v', sizeBytes: 8 * MiB, class: 'ssd' });
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'clone');
  await fill('clone', 2 * MiB);
  expect(fixture.volumes.get('clone').class).toBe('ssd');
  expect(owned()).toEqual([0, (2 * MiB) / clusterBytes]);
});

test('a class that is full gives way to other disks, and says so', async () => {
  await createPool(['ssd', null], 24 * MiB);
  const sizeBytes = pool.diskInfo(0).freeBytes + 4 * MiB;
  await fixture.volumes.create({ name: 'v', sizeBytes, class: 'ssd' });
  await fill('v', sizeBytes);
  expect(owned()[1]).toBeGreaterThan(0);
  expect(fixture.events.map(({ kind }) => kind)).toContain('pool/class-full');
});

test('a class that no disk has is refused, with those that there are', async () => {
  await createPool(['ssd', 'hdd']);
  const create = fixture.volumes.create({ name: 'v', sizeBytes: MiB, class: 'sdd' });
  await expect(create).rejects.toThrow(/no disk of class sdd: there are ssd, hdd/);
});

test('a volume moves with its snapshots, keeps what it shares, and goes on there', async () => {
  await createPool(['ssd', 'hdd']);
  const bytes = 4 * MiB;
  await fixture.volumes.create({ name: 'v', sizeBytes: bytes, class: 'hdd' });
  await fill('v', bytes, 1);
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'clone');
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, Buffer.alloc(MiB, 2));
  await plane.flush();
  const { usedBytes } = pool.info();
  const to = migration.placementFor('v', 'ssd');
  const plan = await migration.planPlacement('v', to);
  expect(plan).toMatchObject({ copiedBytes: bytes + MiB, volumes: ['clone', 'v'] });
  await migration.place('v', to, atOnce);
  await until(() => owned()[1] === 0);
  expect(owned()).toEqual([(bytes + MiB) / clusterBytes, 0]);
  await until(() => pool.info().usedBytes === usedBytes);
  await plane.write(bytes / 2, Buffer.alloc(MiB, 3));
  await plane.flush();
  expect(owned()).toEqual([(bytes + 2 * MiB) / clusterBytes, 0]);
  expect(await migration.planPlacement('v', to)).toMatchObject({ copiedBytes: 0 });
  await close();
  expect((await contentOf('clone', bytes)).equals(Buffer.alloc(bytes, 1))).toBe(true);
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});

test('to one disk, by its path; two moves of one tree are refused', async () => {
  await createPool([null, null]);
  await fixture.volumes.create({ name: 'v', sizeBytes: 8 * MiB });
  await fill('v', 8 * MiB);
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'clone');
  const { path } = pool.diskInfo(1);
  let second: unknown;
  await migration.place('v', migration.placementFor('v', path), {
    ...atOnce,
    whileRunning: async () => {
      second ??= await migration.place('clone', { class: 'x' }, atOnce).catch((error) => error);
    },
  });
  expect(second).toMatchObject({ code: 'volume/busy' });
  await until(() => owned()[0] === 0);
});

test('a move to where there is not the room is refused with the numbers', async () => {
  await createPool(['ssd', 'hdd'], 24 * MiB);
  await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB, class: 'hdd' });
  await fixture.volumes.create({ name: 'w', sizeBytes: 64 * MiB, class: 'ssd' });
  await fill('v', 8 * MiB);
  await fill('w', pool.diskInfo(0).freeBytes - 6 * MiB);
  const move = migration.place('v', { class: 'ssd' }, atOnce);
  await expect(move).rejects.toThrow(
    /8MiB are to be moved to class ssd of pool p, which has room for/,
  );
  expect(() => migration.placementFor('v', 'nowhere')).toThrow(/no class and no disk of pool p/);
});

test('rebalancing fills disks of one class equally, and leaves other classes alone', async () => {
  await createPool(['a', 'a', 'b'], 96 * MiB);
  await migration.setCordoned({ pool: 'p', number: 1 }, true);
  await fixture.volumes.create({ name: 'v', sizeBytes: 40 * MiB, class: 'a' });
  await fixture.volumes.create({ name: 'w', sizeBytes: 8 * MiB, class: 'b' });
  await fill('v', 40 * MiB);
  await fill('w', 8 * MiB);
  await migration.setCordoned({ pool: 'p', number: 1 }, false);
  const before = owned();
  await migration.rebalance('p', atOnce);
  await until(() => (owned()[0] ?? 0) + (owned()[1] ?? 0) === before[0]);
  const [first = 0, second = 0, other] = owned();
  expect(Math.abs(first - second)).toBeLessThan(0.25 * first);
  expect(other).toBe(before[2]);
  expect((await contentOf('v', 40 * MiB)).equals(Buffer.alloc(40 * MiB, 1))).toBe(true);
  expect((await migration.planRebalance('p')).copiedBytes).toBe(0);
});
