// Goal: a bit that flips at rest is found and told exactly, nothing else is; from then on to read it is an error, wherever it shows and wherever it
//   moves, and whoever overwrites or deletes it has healed it.
// Method: a real pool and data plane; bits flipped in the backing files; volumes and snapshots read before and after.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import { drain } from '../../src/migration/drain.ts';
import { placeOf } from '../../src/pool/pending-moves.ts';
import { sealClusters } from '../../src/scrub/sealing.ts';
import type { ScrubCursor, ScrubFinding } from '../../src/scrub/types.ts';
import { verifyClusters } from '../../src/scrub/verify.ts';
import type { OpenVolume } from '../../src/volume/volume-service.ts';
import { Fixture } from '../pool/fixture.ts';
import { flipAt, flipIn } from './at-rest.ts';
import { allSeals, type FoundSeal, untrueSeals } from './seals.ts';

const clusterBytes = 16 * KiB;
const sizeBytes = 64 * clusterBytes;

let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.open();
  const uris = [0, 1].map((n) => `file:${disk(n)}?size=${64 * MiB}`);
  await fixture.pools.create('p', uris, { clusterBytes });
  await fixture.volumes.create({ name: 'v', sizeBytes, pool: 'p' });
});
afterEach(() => fixture.close());

const disk = (n: number) => fixture.path(`disk${n}`);
const pool = () => fixture.pools.get('p');
const snapshot = (name: string) =>
  fixture.snapshots.create({ names: [{ volume: 'v', snapshot: name }] });

async function opened<T>(volume: string, work: (plane: OpenVolume['plane']) => Promise<T>) {
  const { plane, close } = await fixture.volumes.open(volume);
  try {
    return await work(plane);
  } finally {
    await close();
  }
}

const write = (at: number, bytes: number, fill: number, volume = 'v') =>
  opened(volume, (plane) => plane.write(at, new Uint8Array(bytes).fill(fill)));

/** The bytes all have that value; or what the read fails with. */
async function reads(read: Promise<Uint8Array>): Promise<number | string> {
  try {
    const bytes = await read;
    const [first] = bytes;
    return bytes.every((byte) => byte === first) ? (first as number) : 'mixed';
  } catch (error) {
    return (error as { errno?: number }).errno === 5 ? 'EIO' : String(error);
  }
}

async function readsOf(at: number, bytes: number, name?: string, volume = 'v') {
  if (name === undefined) return opened(volume, (plane) => reads(plane.read(at, bytes)));
  const { id } = fixture.snapshots.get(volume, name);
  const open = await fixture.snapshots.open('p', id);
  const result = await reads(open.plane.read(at, bytes));
  await open.close();
  return result;
}

interface Scrubbed {
  readonly code: string;
  readonly findings: readonly ScrubFinding[];
  readonly cursors: readonly ScrubCursor[];
}

async function scrub(options: { disk?: number; from?: ScrubCursor } = {}): Promise<Scrubbed> {
  const findings: ScrubFinding[] = [];
  const cursors: ScrubCursor[] = [];
  const context = {
    report() {},
    whileRunning: async () => {},
    setPhase() {},
    from: options.from,
    remember: (cursor: ScrubCursor) => cursors.push(cursor),
    tellFindings: (found: readonly ScrubFinding[]) => findings.push(...found),
  };
  try {
    await fixture.scrubs.scrub({ pool: 'p', disk: options.disk }, context);
    return { code: 'ok', findings, cursors };
  } catch (error) {
    expect(error).toBeInstanceOf(StorageError);
    return { code: (error as StorageError).code, findings, cursors };
  }
}

const extentsOf = ({ findings }: Scrubbed) =>
  findings.map(({ code, volume, snapshot, offsetBytes, lengthBytes }) => ({
    code,
    name: snapshot === null ? volume : `${volume}@${snapshot}`,
    at: offsetBytes,
    bytes: lengthBytes,
  }));

const damaged = (name: string, at: number, bytes: number) => ({
  code: 'data/damaged',
  name,
  at,
  bytes,
});

/** Four clusters of 1, the third of them in part, frozen and sealed. */
async function frozen(): Promise<FoundSeal[]> {
  await write(0, 2 * clusterBytes, 1);
  await write(2 * clusterBytes, 5 * KiB, 1);
  await write(3 * clusterBytes, clusterBytes, 1);
  await snapshot('s');
  await fixture.scrubs.sealed(pool());
  return allSeals(pool());
}

const sealOf = (seals: readonly FoundSeal[], slot: number) =>
  seals.find((seal) => seal.slot === slot) as FoundSeal;

test('a sound pool is found sound, and a scrub seals what was not sealed yet', async () => {
  await write(0, 5 * clusterBytes, 1);
  await snapshot('s');
  await write(clusterBytes, 2 * clusterBytes, 2);
  expect(await scrub()).toMatchObject({ code: 'ok', findings: [] });
  expect(await allSeals(pool())).toHaveLength(5);
  expect(await scrub({ disk: 0 })).toMatchObject({ code: 'ok', findings: [] });
});

test('a flipped bit is told as the bytes that it spoils, in everything that shows them, as an event, and again by the next scrub', async () => {
  const seals = await frozen();
  await write(3 * clusterBytes, 4 * KiB, 2);
  flipIn(pool(), sealOf(seals, 3), 9 * KiB, disk);
  const expected = [
    damaged('v', 3 * clusterBytes + 4 * KiB, clusterBytes - 4 * KiB),
    damaged('v@s', 3 * clusterBytes, clusterBytes),
  ];
  const first = await scrub();
  expect(first.code).toBe('data/damaged');
  expect(extentsOf(first)).toEqual(expected);
  const events = fixture.events.filter(({ kind }) => kind === 'data/damaged');
  expect(events.map(({ level, subject }) => [level, subject])).toEqual([['error', 'p']]);
  expect(events[0]?.message).toContain('v@s');
  expect(
    pool()
      .info()
      .warnings.map(({ code }) => code),
  ).toContain('pool/data-damaged');

  const second = await scrub();
  expect([second.code, extentsOf(second)]).toEqual(['data/damaged', expected]);
  expect(fixture.events.filter(({ kind }) => kind === 'data/damaged')).toHaveLength(1);
});

test('a bit beside what is claimed, or in what a head may overwrite, condemns nothing', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 2), 9 * KiB, disk);
  await write(10 * clusterBytes, clusterBytes, 1);
  expect(await scrub()).toMatchObject({ code: 'ok', findings: [] });
});

test('reads of it fail at once, also of what was open; what is beside it is served, also after a restart', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 1), 0, disk);
  const guest = await fixture.volumes.open('v');
  expect(await reads(guest.plane.read(0, 2 * clusterBytes))).toBe('mixed');
  expect((await scrub()).code).toBe('data/damaged');
  expect(await reads(guest.plane.read(clusterBytes, clusterBytes))).toBe('EIO');
  expect(await reads(guest.plane.read(0, clusterBytes))).toBe(1);
  expect(await reads(guest.plane.read(2 * clusterBytes - 1, 2))).toBe('EIO');
  await guest.close();
  expect(await readsOf(clusterBytes, 4 * KiB, 's')).toBe('EIO');
  await fixture.restart();
  expect(await readsOf(clusterBytes, 4 * KiB)).toBe('EIO');
  expect(await readsOf(clusterBytes, 4 * KiB, 's')).toBe('EIO');
  expect(await readsOf(3 * clusterBytes, clusterBytes, 's')).toBe(1);
});

test.each(['row', 'cow'] as const)(
  '%s: a full overwrite heals the volume, a partial one is refused, a deletion heals all',
  async (mode) => {
    await fixture.snapshots.setMode('v', mode);
    const seals = await frozen();
    flipIn(pool(), sealOf(seals, 1), 0, disk);
    await scrub();
    const half = write(clusterBytes + 512, 512, 9);
    await expect(half).rejects.toMatchObject({ errno: 5 });
    await write(clusterBytes, 4 * KiB, 2);
    expect(await readsOf(clusterBytes, 1 * KiB)).toBe(2);
    const rest = await scrub();
    const subBlock = clusterBytes / 16;
    expect(extentsOf(rest)).toEqual([
      damaged('v', clusterBytes + 4 * KiB, clusterBytes - 4 * subBlock),
      damaged('v@s', clusterBytes, clusterBytes),
    ]);
    await write(clusterBytes, clusterBytes, 3);
    expect(await readsOf(clusterBytes, clusterBytes)).toBe(3);
    expect(extentsOf(await scrub())).toEqual([damaged('v@s', clusterBytes, clusterBytes)]);
    await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }], {});
    await fixture.snapshots.settled(pool());
    expect(pool().damage.records).toEqual([]);
    expect(await scrub()).toMatchObject({ code: 'ok', findings: [] });
    expect(await readsOf(0, clusterBytes)).toBe(1);
  },
);

test('damage goes with the content: over a drain, a merge and the deletion of the snapshot above', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 1), 0, disk);
  await scrub();
  const context = { pool: pool(), volumes: fixture.volumes };
  for (const number of [0, 1]) {
    await drain(context, number, { before: async () => {}, report() {} });
    await pool().placeDisk(number, { class: null, cordoned: false });
    expect(await readsOf(clusterBytes, clusterBytes)).toBe('EIO');
    expect(pool().damage.records).toHaveLength(1);
  }
  await write(0, 4 * KiB, 2);
  await snapshot('s2');
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }], {});
  await fixture.snapshots.settled(pool());
  expect(await readsOf(clusterBytes, clusterBytes, 's2')).toBe('EIO');
  await fixture.snapshots.delete([{ volume: 'v', snapshot: 's2' }], {});
  await fixture.snapshots.settled(pool());
  expect(await readsOf(clusterBytes, clusterBytes)).toBe('EIO');
  expect(await readsOf(3 * clusterBytes, clusterBytes)).toBe(1);
  await fixture.restart();
  expect(await readsOf(clusterBytes, clusterBytes)).toBe('EIO');
  expect((await fixture.pools.check('p')).findings).toEqual([]);
  await write(clusterBytes, clusterBytes, 3);
  expect(await readsOf(clusterBytes, clusterBytes)).toBe(3);
});

test('damage that moved before it was found is found where it is', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 1), 0, disk);
  const context = { pool: pool(), volumes: fixture.volumes };
  await drain(context, 0, { before: async () => {}, report() {} });
  expect(await untrueSeals(pool())).toHaveLength(1);
  expect(extentsOf(await scrub()).map(({ name }) => name)).toEqual(['v', 'v@s']);
});

test('what lay on a disk that has left since the map was read is neither damaged nor sealed', async () => {
  const seals = await frozen();
  const number = placeOf(seals[0] as FoundSeal).disk;
  const gone = seals.filter((seal) => placeOf(seal).disk === number);
  const context = { pool: pool(), volumes: fixture.volumes };
  await drain(context, number, { before: async () => {}, report() {} });
  await fixture.pools.removeDisk('p', number);
  const found = await verifyClusters(
    pool(),
    gone.map((seal) => ({ ...seal, seal })),
  );
  expect(found).toEqual({ damaged: [], unreadable: [] });
  await sealClusters(pool(), gone);
  expect(await untrueSeals(pool())).toEqual([]);
  expect(await scrub()).toMatchObject({ code: 'ok', findings: [] });
});

test('a clone shows it too; to flatten it says why it cannot', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 1), 0, disk);
  await fixture.snapshots.clone({ volume: 'v', snapshot: 's' }, 'c');
  expect(extentsOf(await scrub()).map(({ name }) => name)).toEqual(['c', 'v', 'v@s']);
  const flattening = fixture.snapshots.flatten('c', () => {}, new AbortController().signal);
  await expect(flattening).rejects.toMatchObject({ code: 'data/damaged' });
  await write(clusterBytes, clusterBytes, 4, 'c');
  await fixture.snapshots.flatten('c', () => {}, new AbortController().signal);
  expect(await readsOf(clusterBytes, clusterBytes, undefined, 'c')).toBe(4);
});

test('a scrub of a disk tells of that disk alone', async () => {
  const seals = await frozen();
  const seal = sealOf(seals, 1);
  flipIn(pool(), seal, 0, disk);
  const number = seal.hi >>> 24;
  expect(await scrub({ disk: 1 - number })).toMatchObject({ code: 'ok', findings: [] });
  expect((await scrub({ disk: number })).code).toBe('data/damaged');
});

test('labels, journal and checkpoint are verified', async () => {
  await frozen();
  await fixture.restart();
  await write(20 * clusterBytes, clusterBytes, 1);
  await pool().flush();
  const [{ label }] = pool().disks as [ReturnType<typeof pool>['disks'][number]];
  expect(await scrub()).toMatchObject({ code: 'ok' });
  flipAt(disk(0), (label.checkpoint?.firstCluster as number) * clusterBytes + 50);
  expect((await scrub()).findings.map(({ code }) => code)).toEqual(['checkpoint/damaged']);
  flipAt(disk(0), label.journalOffset + (label.tailPosition % label.journalBytes) + 30);
  expect((await scrub()).findings.map(({ code }) => code).sort()).toEqual([
    'checkpoint/damaged',
    'journal/damaged',
  ]);
});

test('a scrub that was cut off goes on where it was', async () => {
  const seals = await frozen();
  flipIn(pool(), sealOf(seals, 1), 0, disk);
  const behind = { layer: sealOf(seals, 1).layer, region: 1 };
  expect((await scrub({ from: behind })).code).toBe('ok');
  expect((await scrub({ from: { ...behind, region: 0 } })).code).toBe('data/damaged');
});
