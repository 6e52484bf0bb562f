// Goal: a volume that is flattened shows what it showed, also what its guest writes meanwhile, and needs no parent afterwards.
// Method: a clone on the real data plane; the guest's writes come at moments between the steps of a leaf.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { DataPlaneError } from '../../src/dataplane/data-plane.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { chainOf } from '../../src/volume/chain.ts';
import type { OpenVolume } from '../../src/volume/volume-service.ts';
import { Fixture } from '../pool/fixture.ts';

const clusterBytes = 16 * KiB;
const subBlockBytes = KiB;
const slots = 4;
/** What is written by whom. */
const inherited = 1;
const own = 2;
const late = 3;
const EBUSY = 16;

let fixture: Fixture;
let pool: Pool;
let clone: OpenVolume;
beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`], {
    clusterBytes,
  });
  pool = fixture.pools.get('p');
  await fixture.volumes.create({ name: 'base', sizeBytes: slots * clusterBytes });
  const base = await fixture.volumes.open('base');
  await base.plane.write(0, new Uint8Array(slots * clusterBytes).fill(inherited));
  await base.close();
  await fixture.snapshots.create({ names: [{ volume: 'base', snapshot: 's' }] });
  await fixture.snapshots.clone({ volume: 'base', snapshot: 's' }, 'v');
  clone = await fixture.volumes.open('v');
});
afterEach(async () => {
  await clone.close();
  await fixture.close();
});

function flatten(): Promise<{ changed: boolean }> {
  return fixture.snapshots.flatten('v', () => {}, new AbortController().signal);
}

function write(slot: number, subBlock: number, value: number): Promise<void> {
  const at = slot * clusterBytes + subBlock * subBlockBytes;
  return clone.plane.write(at, new Uint8Array(subBlockBytes).fill(value));
}

/** By slot and sub-block, of the open volume and of its map as it was written down. */
async function shown(): Promise<number[][]> {
  const valuesOf = async ({ plane }: OpenVolume) => {
    const bytes = await plane.read(0, slots * clusterBytes);
    return Array.from(
      { length: bytes.length / subBlockBytes },
      (_, n) => bytes[n * subBlockBytes] as number,
    );
  };
  const open = await valuesOf(clone);
  await clone.close();
  await fixture.restart();
  clone = await fixture.volumes.open('v');
  return [open, await valuesOf(clone)];
}

function expected(
  ...writes: readonly (readonly [slot: number, subBlock: number, value: number])[]
) {
  const values = new Array<number>((slots * clusterBytes) / subBlockBytes).fill(inherited);
  for (const [slot, subBlock, value] of writes) {
    values[(slot * clusterBytes) / subBlockBytes + subBlock] = value;
  }
  return [values, values];
}

function depth(): number {
  return chainOf(pool, fixture.volumes.find('v').record.headLayer).length;
}

test('sub-blocks of its own stay beside those that it inherited', async () => {
  await write(1, 3, own);
  expect(await flatten()).toEqual({ changed: true });
  expect(depth()).toBe(1);
  expect(await shown()).toEqual(expected([1, 3, own]));
});

test('what the guest writes between the copy and the lock wins', async () => {
  const copy = pool.copyClusters.bind(pool);
  let copies = 0;
  pool.copyClusters = async (...args) => {
    await copy(...args);
    if (++copies > 1) return;
    await write(0, 0, late);
    await write(2, 15, late);
  };
  await flatten();
  expect(copies).toBeGreaterThan(0);
  expect(await shown()).toEqual(expected([0, 0, late], [2, 15, late]));
});

test('a leaf that writers are in the way of is copied in the next walk', async () => {
  const lockSlots = clone.plane.lockSlots.bind(clone.plane);
  let refusals = 0;
  clone.plane.lockSlots = async (...args) => {
    if (++refusals === 1) throw new DataPlaneError(EBUSY, 'writers are in the way');
    return lockSlots(...args);
  };
  await flatten();
  expect(refusals).toBe(2);
  expect(depth()).toBe(1);
  expect(await shown()).toEqual(expected());
});
