// Goal: what is shown of disks by runs of sectors, and what is told of reads of disks, is exactly so.
// Method: random disks, runs and expectations against arrays of bytes.
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlReads } from '../../tools/explore/control-reads.ts';
import { originsOf, stampedWithOrigins } from '../../tools/explore/origins.ts';
import { type CutState, RecordingPlane, recordedUri } from '../../tools/explore/recording-plane.ts';
import { sectorBytes } from '../../tools/explore/sectors.ts';

const diskSectors = 96;
const imageSectors = 64;
const uris = ['a', 'b'].map(recordedUri);
const sectors = (count: number) => count * sectorBytes;

let plane: RecordingPlane;
let state: CutState;
/** As they are on the disks; the second half of each holds nothing. */
const contents = uris.map((_, disk) => {
  const bytes = new Uint8Array(sectors(diskSectors));
  for (let at = 0; at < sectors(diskSectors / 2); at++) bytes[at] = (at * 7 + disk) % 251;
  return bytes;
});
beforeAll(async () => {
  plane = new RecordingPlane(new Map(uris.map((uri) => [uri, sectors(diskSectors)])));
  for (const [at, uri] of uris.entries()) {
    const disk = await plane.openDisk({ kind: 'nfs', nfs: nfsOf(uri) });
    await disk.write(0, (contents[at] as Uint8Array).subarray(0, sectors(diskSectors / 2)));
    await disk.close();
  }
  state = await plane.cut({ moment: plane.moment(), seed: 0 });
});
afterAll(async () => {
  state.dispose();
  await plane.dispose();
  plane.stop();
});

function nfsOf(uri: string) {
  const { host, pathname } = new URL(uri);
  return { host, path: pathname, version: 3 as const, nfsPort: 0, mountPort: 0 };
}

/** For each sector of an image the disk and the place that it comes from; undefined: it is zero. */
const places = fc.array(
  fc.option(fc.record({ disk: fc.nat(uris.length - 1), place: fc.nat(diskSectors - 1) }), {
    nil: undefined,
  }),
  { minLength: imageSectors, maxLength: imageSectors },
);

function imageOf(
  from: readonly Uint8Array[],
  shown: readonly ({ readonly disk: number; readonly place: number } | undefined)[],
): Uint8Array {
  const image = new Uint8Array(sectors(shown.length));
  for (const [sector, origin] of shown.entries()) {
    if (origin === undefined) continue;
    const at = sectors(origin.place);
    image.set((from[origin.disk] as Uint8Array).subarray(at, at + sectorBytes), sectors(sector));
  }
  return image;
}

test('an image of stamped disks says of each sector where it comes from', () => {
  const stamped = uris.map((_, disk) => stampedWithOrigins(disk, sectors(diskSectors)));
  fc.assert(
    fc.property(places, fc.array(fc.nat(imageSectors - 1)), (shown, changed) => {
      const origins = originsOf(imageOf(stamped, shown));
      const expected = imageOf(contents, shown);
      const likely = expected.slice();
      for (const sector of changed) likely[sectors(sector) + 3] = 255;
      const runs = origins?.runs ?? new Uint32Array();
      const found = [...plane.differing(state, runs, likely)];
      const wanted = [...new Set(changed)].sort((a, b) => a - b);
      expect(found.map(([sector]) => sector)).toEqual(wanted);
      for (const [sector, bytes] of found) {
        const there = expected.subarray(sectors(sector), sectors(sector + 1));
        expect(Buffer.compare(bytes, there)).toBe(0);
      }
    }),
  );
});

test('an image that shows anything else has no origins', () => {
  const image = stampedWithOrigins(0, sectors(8));
  image[sectors(3) + 100] = 1;
  expect(originsOf(image)).toBeUndefined();
  expect(originsOf(contents[0] as Uint8Array)).toBeUndefined();
});

test('a twin is as the disks in what was read, and says where it lies everywhere else', async () => {
  const reads = uris.map(() => new ControlReads(sectors(diskSectors)));
  reads[1]?.noteRead(sectors(5) + 10, sectorBytes);
  const twin = await plane.twinOf(state, reads);
  const whole = twin.disks.map(({ plane: disk }) => disk.peek(0, sectors(diskSectors)));
  twin.dispose();
  const expected = uris.map((_, disk) => stampedWithOrigins(disk, sectors(diskSectors)));
  const read = (contents[1] as Uint8Array).subarray(sectors(5), sectors(7));
  expected[1]?.set(read, sectors(5));
  expect(whole.map((bytes, at) => Buffer.compare(bytes, expected[at] as Uint8Array))).toEqual([
    0, 0,
  ]);
});

test('digests of ranges are of what is there, and of where that is', () => {
  const digest = (...ranges: number[]) => plane.digestOf(state, Float64Array.from(ranges));
  const same = digest(0, 0, 4096, 1, 512, 100);
  expect(digest(0, 0, 4096, 1, 512, 100)).toBe(same);
  const others = [
    digest(0, 0, 4096, 1, 512, 101),
    digest(0, 0, 4096, 1, 513, 100),
    digest(1, 0, 4096, 1, 512, 100),
    digest(0, 0, 4096),
    digest(1, 512, 100, 0, 0, 4096),
  ];
  expect(new Set([same, ...others]).size).toBe(others.length + 1);
});

test('what was written whole before it was read says nothing of what was there', () => {
  const reads = new ControlReads(sectors(20));
  reads.noteWrite(sectors(2) + 1, sectors(2));
  reads.noteRead(sectors(1), sectors(4));
  reads.noteRead(sectors(9) + 511, 2);
  reads.noteWrite(sectors(9), sectors(1));
  expect(reads.ranges()).toEqual([
    sectors(1),
    sectors(2),
    sectors(4),
    sectors(1),
    sectors(9),
    sectors(2),
  ]);
  const others = new ControlReads(sectors(20));
  expect(others.add(reads)).toBe(true);
  expect(others.add(reads)).toBe(false);
  expect(others.ranges()).toEqual(reads.ranges());
});

test('what is read as data is not noted', async () => {
  const reads = new ControlReads(sectors(4));
  await reads.pausedDuring(async () => reads.noteRead(0, sectors(1)));
  reads.noteRead(sectors(2), sectors(1));
  expect(reads.ranges()).toEqual([sectors(2), sectors(1)]);
});
