// Goal: a pool can be read from the disks that are there, without a byte of them being changed; what lies on a missing one is an error and
//   nothing else; nothing of the pool can be changed; an owner that lives, or begins, is respected.
// Method: pools of small files on the real data plane; the files are hashed before and after, their times compared; content byte by byte.
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { MigrationService } from '../../src/migration/migration-service.ts';
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { encodeLabel, labelOffset, newestLabel } from '../../src/pool/format/label.ts';
import { SnapshotService } from '../../src/snapshot/snapshot-service.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { Fixture, ManualClock, until } from './fixture.ts';

const clusterBytes = 16 * KiB;
const sizeBytes = 4 * MiB;

let fixture: Fixture;
let clock: ManualClock;
let disks: string[];
const others: (() => Promise<void>)[] = [];

beforeEach(async () => {
  clock = new ManualClock();
  fixture = await Fixture.open({ clock, flushWindowMs: 50 });
  disks = ['a', 'b', 'c'].map((name) => fixture.path(name));
});
afterEach(async () => {
  for (const close of others.splice(0)) await close();
  await fixture.close();
});

function stamp(bytes: number, value: number): Buffer {
  return Buffer.alloc(bytes, value);
}

/** Volume `first` lies on disk 0, `second` on disk 1, `both` was begun on one and went on on the other. */
async function makePool(): Promise<void> {
  const sized = disks.map((path) => `file:${path}?size=${24 * MiB}`);
  await fixture.pools.create('p', sized.slice(0, 2), { clusterBytes });
  const pool = fixture.pools.get('p');
  const cordon = (number: number, cordoned: boolean) =>
    pool.placeDisk(number, { class: null, cordoned });
  const fill = async (name: string, from: number, bytes: number, value: number) => {
    const { plane, close } = await fixture.volumes.open(name);
    await plane.write(from, stamp(bytes, value), { fua: true });
    await close();
  };
  for (const name of ['first', 'second', 'both']) await fixture.volumes.create({ name, sizeBytes });
  await cordon(1, true);
  await fill('first', 0, MiB, 1);
  await fill('both', 0, MiB, 2);
  await fixture.snapshots.create({ names: [{ volume: 'first', snapshot: 's' }] });
  await cordon(1, false);
  await cordon(0, true);
  await fill('second', 0, MiB, 3);
  await fill('both', 2 * MiB, MiB, 4);
  await cordon(0, false);
}

function traces(paths: readonly string[]) {
  return paths.map((path) => {
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex');
    return `${path} ${hash} ${statSync(path, { bigint: true }).mtimeNs}`;
  });
}

/** Another host, as far as state folders go. */
async function elsewhere(name: string) {
  const pools = await fixture.openPools(fixture.path(name));
  const emit = (event: (typeof fixture.events)[number]) => fixture.events.push(event);
  const volumes = new VolumeService({ pools, clock, emit });
  const snapshots = new SnapshotService({ pools, volumes, clock, emit });
  const migration = new MigrationService({ pools, volumes, emit });
  others.push(async () => {
    await snapshots.close();
    await pools.close();
  });
  return { pools, volumes, snapshots, migration };
}

async function read(volumes: VolumeService, name: string, offset: number, bytes = MiB) {
  const { plane, close } = await volumes.open(name);
  try {
    return Buffer.from(await plane.read(offset, bytes));
  } finally {
    await close();
  }
}

test('with a disk missing: what is there is read, what is not is an error, nothing is written', async () => {
  await makePool();
  await fixture.stop();
  renameSync(disks[1] as string, `${disks[1]}.away`);
  const [there = ''] = disks;
  const before = traces([there]);
  const here = await elsewhere('other');
  await expect(here.pools.import([there])).rejects.toMatchObject({
    code: 'pool/disk-missing',
    message: expect.stringMatching(/number 1 .*b/),
    actions: expect.arrayContaining([
      expect.stringMatching(new RegExp(`varve pool import --read-only file:${there}|${there}`)),
    ]),
  });
  const dry = await here.pools.import([there], { readOnly: true, dryRun: true });
  expect([dry.readOnly, here.pools.list()]).toEqual([true, []]);
  const pool = await here.pools.import([there], { readOnly: true });
  expect(pool).toMatchObject({ name: 'p', readOnly: true, state: 'online' });
  expect(pool.disks.map(({ state }) => state)).toEqual(['online', 'failed']);
  expect(pool.warnings).toMatchObject([{ code: 'pool/disk-missing', level: 'critical' }]);
  expect((await read(here.volumes, 'first', 0)).equals(stamp(MiB, 1))).toBe(true);
  expect((await read(here.volumes, 'both', 0)).equals(stamp(MiB, 2))).toBe(true);
  expect((await read(here.volumes, 'both', 3 * MiB)).equals(stamp(MiB, 0))).toBe(true);
  await expect(read(here.volumes, 'both', 2 * MiB, 4096)).rejects.toMatchObject({ errno: 5 });
  await expect(read(here.volumes, 'second', 0, 4096)).rejects.toMatchObject({ errno: 5 });
  const { id } = here.snapshots.get('first', 's');
  const snapshot = await here.snapshots.open('p', id);
  expect(Buffer.from(await snapshot.plane.read(0, MiB)).equals(stamp(MiB, 1))).toBe(true);
  await snapshot.close();
  clock.advance(60_000);
  await here.pools.export('p');
  expect(traces([there])).toEqual(before);

  renameSync(`${disks[1]}.away`, disks[1] as string);
  await fixture.start();
  expect((await read(fixture.volumes, 'second', 0)).equals(stamp(MiB, 3))).toBe(true);
  expect((await fixture.pools.check('p')).findings).toEqual([]);
});

test('every change is refused, with --dry-run too', async () => {
  await makePool();
  await fixture.stop();
  const { pools, volumes, snapshots, migration } = await elsewhere('other');
  await pools.import(disks.slice(0, 2), { readOnly: true });
  const disk = { pool: 'p', number: 0 };
  const to = { volume: 'first', snapshot: 's' };
  for (const dryRun of [true, false]) {
    const changes: Record<string, () => Promise<unknown>> = {
      create: () => volumes.create({ name: 'new', sizeBytes, dryRun }),
      rename: () => volumes.rename('first', 'new', { dryRun }),
      resize: () => volumes.resize('first', 2 * sizeBytes, { dryRun }),
      delete: () => volumes.delete('second', { dryRun }),
      snapshot: () => snapshots.create({ names: [{ volume: 'both', snapshot: 's' }], dryRun }),
      'snapshot rename': () => snapshots.rename('first', 's', 't', { dryRun }),
      'snapshot delete': () => snapshots.delete([to], { dryRun }),
      clone: () => snapshots.clone(to, 'new', { dryRun }),
      revert: () => snapshots.revert('first', 's', { dryRun }),
      mode: () => snapshots.setMode('first', 'cow', { dryRun }),
      'pool set': () => pools.set('p', { patienceSeconds: 7 }, { dryRun }),
      'pool delete': () => pools.delete('p', { dryRun }),
      'disk add': () => pools.addDisk('p', `file:${disks[2]}?size=${24 * MiB}`, { dryRun }),
      'disk remove': () => pools.removeDisk('p', 0, { dryRun }),
      class: () => migration.setClass(disk, 'ssd', { dryRun }),
      cordon: () => migration.setCordoned(disk, true, { dryRun }),
      drain: () => migration.planDrain(disk),
      rebalance: () => migration.planRebalance('p'),
      place: () => migration.planPlacement('first', {}),
    };
    for (const [name, change] of Object.entries(changes)) {
      const code = await change().then(
        () => 'done',
        (error) => error.code,
      );
      expect([name, dryRun, code]).toEqual([name, dryRun, 'pool/read-only']);
    }
  }
});

test('an owner that lives keeps readers out, and one that begins ends the reading', async () => {
  await makePool();
  const here = await elsewhere('other');
  const paths = disks.slice(0, 2);
  await expect(here.pools.import(paths, { readOnly: true })).rejects.toMatchObject({
    code: 'pool/held',
  });
  await expect(here.pools.import(paths, { readOnly: true, takeover: true })).rejects.toMatchObject({
    code: 'request/invalid',
  });
  await fixture.stop();
  await here.pools.import(paths, { readOnly: true });
  const pool = here.pools.get('p');
  const file = await open(paths[0] as string, 'r+');
  await bumpLabel(file);
  await file.close();
  clock.advance(10_000);
  await until(() => pool.info().state === 'failed');
  expect(pool.info().warnings[0]?.message).toMatch(/written to by its owner/);
  await expect(read(here.volumes, 'first', 0)).rejects.toMatchObject({ code: 'pool/failed' });
  await here.pools.export('p');
});

/** As a heartbeat would: the next generation of the label, in the other copy. */
async function bumpLabel(file: FileHandle): Promise<void> {
  const bytes = Buffer.alloc(2 * labelBytes);
  await file.read(bytes, 0, bytes.length, 0);
  const label = newestLabel(bytes.subarray(0, labelBytes), bytes.subarray(labelBytes));
  const next = { ...label, generation: label.generation + 1, heartbeatMs: 1 };
  await file.write(encodeLabel(next), 0, labelBytes, labelOffset(next.generation));
}
