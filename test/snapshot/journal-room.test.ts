// Goal: merging and reaping, which can wait, put nothing into the journal while there is no room to spare in it.
// Method: a pool that says that there is none until the test says that there is.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { LayerTree } from '../../src/volume/layer-tree.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  await fixture.pools.create('p', [`file:${fixture.path('a')}?size=${16 * MiB}`], { clusterBytes });
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
});
afterEach(() => fixture.close());

const pool = () => fixture.pools.get('p');
const owned = () =>
  [...LayerTree.of(pool()).layers].reduce((sum, layer) => sum + pool().clustersOf(layer), 0);

async function write(fill: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, new Uint8Array(2 * clusterBytes).fill(fill));
  await close();
}

/** What takes clusters away from layers asks for room, and takes none until there is some. */
async function expectToWait(change: () => Promise<unknown>, after: number): Promise<void> {
  const before = owned();
  let makeRoom = () => {};
  const room = new Promise<void>((resolve) => {
    makeRoom = resolve;
  });
  const asked = vi.spyOn(pool(), 'journalRoom').mockReturnValue(room);
  await change();
  await vi.waitUntil(() => asked.mock.calls.length > 0, { timeout: 30_000 });
  await pool().flush();
  expect(owned()).toBe(before);
  makeRoom();
  await fixture.snapshots.settled(pool());
  await fixture.volumes.reaped(pool());
  expect(owned()).toBe(after);
}

test('a merge waits for room', async () => {
  for (const fill of [1, 2]) {
    await write(fill);
    await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: `s${fill}` }] });
  }
  await expectToWait(() => fixture.snapshots.delete([{ volume: 'v', snapshot: 's1' }], {}), 2);
});

test('the clusters of a deleted volume wait for room', async () => {
  await write(1);
  await expectToWait(() => fixture.volumes.delete('v'), 0);
});
