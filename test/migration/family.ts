/**
 * A volume with snapshots, a bookmark and a clone, for tests of what moves as a whole.
 */
import { expect } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import type { TwoPools } from './two-pools.ts';

export const clusterBytes = 16 * KiB;
export const subBytes = clusterBytes / 16;
export const sizeBytes = 4 * MiB;

/** What the two volumes and the snapshots of `v` show. */
export interface FamilyContent {
  readonly v: Buffer;
  readonly clone: Buffer;
  readonly s1: Buffer;
  readonly s2: Buffer;
}

/** What layers own, which is all that is used. */
export function used(pool: Pool): number {
  const layers = pool.records<{ id: number }>('layer/');
  return layers.reduce((sum, { id }) => sum + pool.clustersOf(id), 0) * clusterBytes;
}

export function stamp(bytes: number, value: number): Buffer {
  return Buffer.alloc(bytes, value);
}

function snapshot({ fixture }: TwoPools, volume: string, name: string) {
  return fixture.snapshots.create({ names: [{ volume, snapshot: name }] });
}

/** Volume `v` with snapshots, a bookmark and a clone, whose clusters are partly written in several layers; and what each shows. */
export async function writeFamily(
  both: TwoPools,
  snapshotMode: 'row' | 'cow',
): Promise<FamilyContent> {
  const { volumes, snapshots } = both.fixture;
  await volumes.create({ name: 'v', sizeBytes, snapshotMode, pool: 'a' });
  const { plane, close } = await volumes.open('v');
  const model = Buffer.alloc(sizeBytes);
  const write = async (offset: number, data: Buffer) => {
    await plane.write(offset, data);
    data.copy(model, offset);
  };
  await write(0, stamp(sizeBytes / 2, 1));
  await snapshot(both, 'v', 's1');
  const s1 = Buffer.from(model);
  for (let at = 0; at < sizeBytes; at += 4 * clusterBytes) {
    await write(at + subBytes, stamp(subBytes, 2));
  }
  await plane.trim(MiB, 64 * KiB);
  model.fill(0, MiB, MiB + 64 * KiB);
  await snapshot(both, 'v', 's2');
  const s2 = Buffer.from(model);
  await snapshots.clone({ volume: 'v', snapshot: 's2' }, 'clone');
  await write(3 * subBytes, stamp(subBytes, 3));
  await snapshot(both, 'v', 'mark');
  await snapshots.delete([{ volume: 'v', snapshot: 'mark' }], { bookmark: true });
  await write(MiB / 2, stamp(clusterBytes, 4));
  await plane.flush();
  await close();
  const clone = await volumes.open('clone');
  await clone.plane.write(2 * MiB, stamp(clusterBytes, 5));
  await clone.close();
  const ofClone = Buffer.from(s2);
  ofClone.fill(5, 2 * MiB, 2 * MiB + clusterBytes);
  await both.settled();
  return { v: model, s1, s2, clone: ofClone };
}

/** Everything shows what it is to show, and both pools are sound. */
export async function expectFamily(both: TwoPools, expected: FamilyContent): Promise<void> {
  expect((await both.content('v')).equals(expected.v), 'v').toBe(true);
  expect((await both.content('clone')).equals(expected.clone), 'clone').toBe(true);
  expect((await both.snapshotContent('v', 's1')).equals(expected.s1), 's1').toBe(true);
  expect((await both.snapshotContent('v', 's2')).equals(expected.s2), 's2').toBe(true);
  expect(await both.findings()).toEqual([]);
}
