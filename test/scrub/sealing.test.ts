// Goal: what is frozen gets sealed, and nothing else; seals are durable, survive moves and merges, go with what they seal, and old versions are kept out.
// Method: a real pool and data plane; seals read by a walk of our own and compared with the content (random trees: test/snapshot/tree.test.ts).
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { drain } from '../../src/migration/drain.ts';
import { checkOfflineWithIndex } from '../../src/pool/check/host-index.ts';
import { hasSeals } from '../../src/pool/format/label.ts';
import { Fixture, ManualClock } from '../pool/fixture.ts';
import { allSeals, type FoundSeal, unsealedClusters, untrueSeals } from './seals.ts';

const clusterBytes = 16 * KiB;
const sizeBytes = 64 * clusterBytes;

let fixture: Fixture;
async function open(options: Parameters<typeof Fixture.open>[0] = {}) {
  fixture = await Fixture.open(options);
  const uris = [0, 1].map((n) => `file:${fixture.path(`disk${n}`)}?size=${64 * MiB}`);
  await fixture.pools.create('p', uris, { clusterBytes });
  await fixture.volumes.create({ name: 'v', sizeBytes, pool: 'p' });
}
beforeEach(() => open());
afterEach(() => fixture.close());

const pool = () => fixture.pools.get('p');

async function write(at: number, bytes: number, fill: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(at, new Uint8Array(bytes).fill(fill));
  await close();
}

const snapshot = (name: string) =>
  fixture.snapshots.create({ names: [{ volume: 'v', snapshot: name }] });

async function sealed() {
  await fixture.snapshots.settled(pool());
  await fixture.scrubs.sealed(pool());
  expect(await untrueSeals(pool())).toEqual([]);
  return allSeals(pool());
}

test('what is frozen is sealed, sub-block by sub-block that it claims; what is written to is not', async () => {
  await write(0, 3 * clusterBytes, 1);
  await write(10 * clusterBytes, 5 * KiB, 2);
  expect(await sealed()).toEqual([]);
  expect(pool().disks.some(({ label }) => hasSeals(label))).toBe(false);

  await snapshot('s');
  await write(20 * clusterBytes, clusterBytes, 3);
  const seals = await sealed();
  expect(seals.map(({ slot }) => slot)).toEqual([0, 1, 2, 10]);
  expect(seals.map(({ lo }) => lo & 0xffff)).toEqual([0xffff, 0xffff, 0xffff, 0x001f]);
  expect(new Set(seals.slice(0, 3).map(({ hashLo }) => hashLo)).size).toBe(1);
  expect(await unsealedClusters(pool())).toEqual([]);
  expect(pool().disks.every(({ label }) => hasSeals(label))).toBe(true);
});

test('layers of few clusters are sealed together', async () => {
  // Nobody else looks meanwhile; in turns of 32 looks.
  await fixture.close();
  await open({ clock: new ManualClock() });
  const names = Array.from({ length: 20 }, (_, n) => `s${n}`);
  for (const [n, name] of names.entries()) {
    await write(n * clusterBytes, clusterBytes, n + 1);
    await snapshot(name);
  }
  await fixture.snapshots.settled(pool());
  const commits = vi.spyOn(pool(), 'commit');
  expect(await sealed()).toHaveLength(names.length);
  const batches = commits.mock.calls.filter(([ops]) => ops.some(({ op }) => op === 'seal'));
  expect(batches.length).toBeLessThanOrEqual(2);
});

test('the newest layer is sealed first', async () => {
  for (const name of ['s1', 's2', 's3']) {
    await write(0, 64 * clusterBytes, 1);
    await snapshot(name);
  }
  const hashed = vi.spyOn(pool(), 'hashClusters');
  await sealed();
  const [[first] = []] = hashed.mock.calls[0] ?? [];
  expect((first as FoundSeal | undefined)?.layer).toBe(
    Math.max(...(await allSeals(pool())).map(({ layer }) => layer)),
  );
});

test('what a head had by copy on write while it was read, and gave back with a merge, is not sealed as it was', async () => {
  await fixture.volumes.create({ name: 'w', sizeBytes, pool: 'p', snapshotMode: 'cow' });
  const { plane, close } = await fixture.volumes.open('w');
  const names = (snapshot: string) => [{ volume: 'w', snapshot }];
  await plane.write(0, new Uint8Array(3 * clusterBytes).fill(7));
  await fixture.snapshots.create({ names: names('s1') });
  const hash = pool().hashClusters.bind(pool());
  vi.spyOn(pool(), 'hashClusters').mockImplementationOnce(async (clusters) => {
    const hashes = await hash(clusters);
    await plane.write(0, new Uint8Array(clusterBytes).fill(8));
    await fixture.snapshots.create({ names: names('s2') });
    await fixture.snapshots.delete(names('s1'), {});
    await fixture.snapshots.settled(pool());
    return hashes;
  });
  await fixture.scrubs.sealed(pool());
  expect(await untrueSeals(pool())).toEqual([]);
  expect(await allSeals(pool())).toHaveLength(2);
  await close();
});

test('seals are there after a restart, and after the host has lost its index', async () => {
  await write(0, 8 * clusterBytes, 1);
  await snapshot('s');
  const seals = await sealed();
  expect(seals).toHaveLength(8);
  await fixture.restart();
  expect(await allSeals(pool())).toEqual(seals);
  const { uuid } = pool();
  await fixture.restart(() => rm(`${fixture.stateDir}/pools/${uuid}/index`, { recursive: true }));
  expect(await allSeals(pool())).toEqual(seals);
});

test('the offline check sees the same seals on the disks as in the index, in checkpoint and journal', async () => {
  await write(0, 4 * clusterBytes, 1);
  await snapshot('s1');
  await sealed();
  await fixture.restart();
  await write(2 * clusterBytes, 4 * clusterBytes, 2);
  await snapshot('s2');
  await sealed();
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {});
  await sealed();
  await pool().index.fold();
  const disks = [0, 1].map((n) => fixture.path(`disk${n}`));
  const index = `${fixture.stateDir}/pools/${pool().uuid}/index`;
  await fixture.stop();
  const { findings } = await checkOfflineWithIndex(disks, index);
  expect(findings).toEqual([]);
  await fixture.start();
});

test('a seal stays with content that moves or comes to another layer, and goes when less of the cluster counts', async () => {
  await write(0, 4 * clusterBytes, 1);
  await snapshot('s1');
  const before = await sealed();
  await drain({ pool: pool(), volumes: fixture.volumes }, 0, {
    before: async () => {},
    report() {},
  });
  const moved = await allSeals(pool());
  expect(moved.map(({ hashHi, hashLo }) => [hashHi, hashLo])).toEqual(
    before.map(({ hashHi, hashLo }) => [hashHi, hashLo]),
  );
  expect(await untrueSeals(pool())).toEqual([]);
  // One cluster is overridden wholly, one in part, two not at all.
  await write(0, clusterBytes, 2);
  await write(clusterBytes, 4 * KiB, 2);
  await snapshot('s2');
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {});
  await fixture.snapshots.settled(pool());
  const merged = await allSeals(pool());
  expect(merged.map(({ slot }) => slot)).toEqual([2, 3]);
  expect(await untrueSeals(pool())).toEqual([]);
  expect((await sealed()).map(({ slot }) => slot)).toEqual([0, 1, 1, 2, 3]);
});

test('what a head takes over is sealed no more: it is overwritten in place', async () => {
  await write(0, 4 * clusterBytes, 1);
  await snapshot('s');
  expect(await sealed()).toHaveLength(4);
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }], {});
  expect(await sealed()).toEqual([]);
  await write(0, 4 * clusterBytes, 2);
  await snapshot('s');
  expect(await sealed()).toHaveLength(4);
});

test('what cannot be read stays without a seal, and hinders nothing else', async () => {
  await write(0, 4 * clusterBytes, 1);
  await snapshot('s');
  const [first] = await unsealedClusters(pool());
  expect(first).toBeDefined();
  const gone = { ...(first as NonNullable<typeof first>), hi: 0, lo: 0xffff_ffff };
  const hashes = await pool().hashClusters([gone, first as NonNullable<typeof first>]);
  expect(hashes.map(({ error }) => error !== 0)).toEqual([true, false]);
});
