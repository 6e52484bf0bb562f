// Goal: every disk that is accepted holds labels, journal, reserve and data without overlap.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GiB, KiB, MiB, TiB } from '../../../src/base/units.ts';
import {
  checkpointReserveClusters,
  diskGeometry,
  isClusterBytes,
  journalBytesFor,
  minimumDiskBytes,
} from '../../../src/pool/format/geometry.ts';

test.each([
  [8 * MiB, 256 * KiB],
  [64 * MiB, MiB],
  [1 * GiB, 16 * MiB],
  [1 * GiB + 5 * MiB, 16 * MiB + 64 * KiB],
  [4 * GiB, 64 * MiB],
  [256 * GiB, 64 * MiB],
  [512 * GiB, 128 * MiB],
  [TiB, 256 * MiB],
  [100 * TiB, 256 * MiB],
])('a disk of %d bytes has a journal of %d', (diskBytes, journalBytes) => {
  expect(journalBytesFor(diskBytes)).toBe(journalBytes);
});

const clusterBytes = fc.integer({ min: 14, max: 20 }).map((shift) => 2 ** shift);

test('parts do not overlap and leave room for data', () => {
  const size = fc
    .integer({ min: 1, max: 40 })
    .chain((shift) => fc.integer({ min: 0, max: 2 ** shift }));
  fc.assert(
    fc.property(size, clusterBytes, fc.boolean(), (extra, clusterBytes, journal) => {
      const diskBytes = minimumDiskBytes({ clusterBytes, journal }) + extra;
      const geometry = diskGeometry({ diskBytes, clusterBytes, journal });
      const { journalOffset, journalBytes, firstCluster, clusterCount } = geometry;
      expect(firstCluster * clusterBytes).toBeGreaterThanOrEqual(64 * KiB + journalBytes);
      expect(clusterCount * clusterBytes).toBeLessThanOrEqual(diskBytes);
      expect(journalOffset).toBe(journal ? 64 * KiB : 0);
      const reserve = journal ? checkpointReserveClusters(clusterCount, clusterBytes) : 0;
      expect(clusterCount - firstCluster - reserve).toBeGreaterThanOrEqual(64);
    }),
  );
});

test('one byte less than the minimum is too small', () => {
  for (const journal of [true, false]) {
    const options = { clusterBytes: 64 * KiB, journal };
    const diskBytes = minimumDiskBytes(options) - 1;
    expect(() => diskGeometry({ ...options, diskBytes })).toThrow(
      expect.objectContaining({ code: 'disk/too-small' }),
    );
  }
});

test('cluster sizes are powers of two from 16 KiB to 1 MiB', () => {
  const sizes = [0, 8192, 16384, 24576, 65536, MiB, 2 * MiB, 16384.5];
  expect(sizes.filter(isClusterBytes)).toEqual([16384, 65536, MiB]);
});
