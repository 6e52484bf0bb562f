// Goal: data cannot take what metadata needs: a pool that is full to the last cluster can still be trimmed, checkpointed, and freed of
//   snapshots and volumes, and what is freed is there for data.
// Method: volumes written cluster by cluster until the pool refuses; a checkpoint is taken where its failure is told, at `pool export`.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { DataPlaneError, VolumePlane } from '../../src/dataplane/data-plane.ts';
import { Fixture, until } from './fixture.ts';

const clusterBytes = 16 * KiB;
const sizeBytes = 64 * MiB;

let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.open({ flushWindowMs: 50 });
  await fixture.pools.create('p', [`file:${disk()}?size=${24 * MiB}`], { clusterBytes });
});
afterEach(() => fixture.close());

const disk = () => fixture.path('disk');
const pool = () => fixture.pools.get('p');

/** Writes clusters from `at` on until there is no space. @returns where it ended */
async function fill(plane: VolumePlane, at: number, value: number): Promise<number> {
  const cluster = new Uint8Array(clusterBytes).fill(value);
  for (let end = at; end < sizeBytes; end += clusterBytes) {
    try {
      await plane.write(end, cluster);
    } catch (error) {
      expect((error as DataPlaneError).message).toMatch(/pool is full/);
      await plane.flush();
      await until(() => pool().freeBytes === 0);
      return end;
    }
  }
  throw new Error('the volume is smaller than the pool');
}

async function expectFilled(name: string, from: number, to: number, value: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open(name);
  for (let at = from; at < to; at += MiB) {
    const bytes = await plane.read(at, Math.min(MiB, to - at));
    expect(bytes.every((byte) => byte === value)).toBe(true);
  }
  await close();
}

/** The pool's disks alone hold everything, which takes a checkpoint. */
async function exportAndImport(): Promise<void> {
  await fixture.pools.export('p');
  await fixture.pools.import([`file:${disk()}`]);
}

test('full to the last cluster it can be trimmed, checkpointed, and freed of snapshots and volumes', async () => {
  await fixture.volumes.create({ name: 'small', sizeBytes });
  await fixture.volumes.create({ name: 'large', sizeBytes });
  const small = await fixture.volumes.open('small');
  await small.plane.write(0, new Uint8Array(4 * MiB).fill(1));
  await fixture.snapshots.create({ names: [{ volume: 'small', snapshot: 's' }] });
  await small.plane.write(0, new Uint8Array(2 * MiB).fill(2));
  const large = await fixture.volumes.open('large');
  const end = await fill(large.plane, 0, 3);
  await small.close();
  await large.close();

  await exportAndImport();
  await fixture.snapshots.create({ names: [{ volume: 'large', snapshot: 't' }] });
  await fixture.snapshots.delete([{ volume: 'small', snapshot: 's' }]);
  await until(() => pool().freeBytes >= 2 * MiB);
  await exportAndImport();
  await expectFilled('small', 0, 2 * MiB, 2);
  await expectFilled('small', 2 * MiB, 4 * MiB, 1);

  const again = await fixture.volumes.open('small');
  const further = await fill(again.plane, 8 * MiB, 4);
  await exportAfter(again.close);
  const trimmed = await fixture.volumes.open('large');
  await trimmed.plane.trim(0, end);
  await trimmed.close();
  await fixture.snapshots.delete([{ volume: 'large', snapshot: 't' }]);
  await until(() => pool().freeBytes >= end);
  await fixture.volumes.delete('large');
  await exportAndImport();
  await expectFilled('small', 8 * MiB, further, 4);
});

async function exportAfter(close: () => Promise<void>): Promise<void> {
  await close();
  await exportAndImport();
}
