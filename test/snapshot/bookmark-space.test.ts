// Goal: bookmarks hold no data that nobody sees: however many there are, a volume takes what it would take without them, and what changed since each is still told.
// Method: rounds of scattered writes, a snapshot each, deleted with a bookmark; every cluster of the layers looked at. Replay one case: SEED=7.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { LayerTree } from '../../src/volume/layer-tree.ts';
import { chooseSeed, randomFrom } from '../e2e/seeded.ts';
import { Fixture } from '../pool/fixture.ts';
import { hiddenClusters } from './hidden-clusters.ts';

const clusterBytes = 16 * KiB;
const subBlock = clusterBytes / 16;
const sizeBytes = 16 * clusterBytes;
const rounds = 12;
const writesPerRound = 12;
const seed = chooseSeed();

let fixture: Fixture;
let bytes: Uint8Array;
beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 60_000 });
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`], {
    clusterBytes,
  });
  await fixture.volumes.create({ name: 'v', sizeBytes });
  bytes = new Uint8Array(sizeBytes);
});
afterEach(() => fixture.close());

const pool = () => fixture.pools.get('p');

/** @returns sub-blocks written */
async function writeSome(random: (min: number, end: number) => number): Promise<Set<number>> {
  const { plane, close } = await fixture.volumes.open('v');
  const written = new Set<number>();
  for (let n = 0; n < writesPerRound; n++) {
    const at = random(0, sizeBytes / subBlock);
    const data = new Uint8Array(subBlock).fill(random(1, 256));
    await plane.write(at * subBlock, data);
    bytes.set(data, at * subBlock);
    written.add(at);
  }
  await close();
  return written;
}

async function expectBytes(): Promise<void> {
  const { plane, close } = await fixture.volumes.open('v');
  expect(Buffer.compare(await plane.read(0, sizeBytes), bytes)).toBe(0);
  await close();
}

const usedClusters = () =>
  pool()
    .records<{ id: number }>('layer/')
    .reduce((sum, { id }) => sum + pool().clustersOf(id), 0);

async function expectChangedSince(bookmark: string, written: ReadonlySet<number>): Promise<void> {
  const { extents } = await fixture.snapshots.diff('v', bookmark);
  const told = extents.flatMap(({ offset, length }) =>
    Array.from({ length: length / subBlock }, (_, n) => offset / subBlock + n),
  );
  expect(told, bookmark).toEqual([...written].sort((a, b) => a - b));
}

describe.each([
  ['a volume that nobody has open', false, false],
  ['a volume that is open', true, false],
  ['a snapshot above them', false, true],
])('under %s', (_, isOpen, isUnderSnapshot) => {
  test(`each cluster shows something (SEED=${seed})`, async () => {
    const random = randomFrom(seed);
    const held = isOpen ? await fixture.volumes.open('v') : undefined;
    const since: Set<number>[] = [];
    await writeSome(random);
    for (let round = 0; round < rounds; round++) {
      await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: `s${round}` }] });
      const written = await writeSome(random);
      for (const earlier of since) for (const at of written) earlier.add(at);
      since.push(written);
    }
    if (isUnderSnapshot) {
      await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 'last' }] });
    }
    for (let round = 0; round < rounds; round++) {
      await fixture.snapshots.delete([{ volume: 'v', snapshot: `s${round}` }], { bookmark: true });
    }
    await fixture.snapshots.settled(pool());
    expect([...LayerTree.of(pool()).layers].length).toBeGreaterThan(rounds);
    expect(await hiddenClusters(pool())).toBe(0);
    await expectBytes();
    for (const [round, written] of since.entries()) await expectChangedSince(`s${round}`, written);
    await held?.close();
    const { findings } = await fixture.pools.check('p');
    expect(findings).toEqual([]);
  });
});

test(`flattening brings a volume back to its size (SEED=${seed})`, async () => {
  const random = randomFrom(seed);
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, bytes.fill(1));
  for (let round = 0; round < rounds; round++) {
    await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
    await writeSome(random);
    await fixture.snapshots.delete([{ volume: 'v', snapshot: 's' }], {});
  }
  await fixture.snapshots.settled(pool());
  expect(usedClusters()).toBeGreaterThan(2 * (sizeBytes / clusterBytes));
  await fixture.snapshots.flatten('v', () => {}, new AbortController().signal);
  await fixture.snapshots.settled(pool());
  await pool().flush();
  expect(usedClusters()).toBe(sizeBytes / clusterBytes);
  await expectBytes();
  await close();
});
