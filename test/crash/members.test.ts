// Goal: a disk that joins or leaves, and a replica that begins or ends with it, leave a pool that opens and shows everything, wherever the
//   power is cut in the middle; and nobody asks for a disk that has left.
// Method: recorded disks; a volume is written while a third disk joins, while the second, which carries a replica, leaves, and while it joins
//   again. Every moment is cut, with everything kept that was submitted and with nothing kept that was not synced; each state is checked
//   offline, imported from the disks that carry a label, and compared.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RecordingPlane } from '../../tools/explore/recording-plane.ts';
import { RecordedPool } from './recorded-pool.ts';

const writesMeanwhile = 4;
/** Some hundred states, each opened, checked and compared. */
const patienceMs = 600_000;

let recorded: RecordedPool<RecordingPlane>;
beforeEach(async () => {
  const planeOf = (sizes: ReadonlyMap<string, number>) => new RecordingPlane(sizes);
  recorded = await RecordedPool.create({ diskCount: 3, memberCount: 2, planeOf });
});
afterEach(() => recorded.dispose());

const disk = (at: number) => recorded.disks[at] as string;

test(
  'a disk that joins, and the replica that begins on it, cut at every moment',
  async () => {
    const { pools, pool } = recorded;
    const joining = () => pools.addDisk('life', disk(2));
    const span = await recorded.whileWriting(writesMeanwhile, joining);
    expect(pool.info().disks.map(({ journal }) => journal)).toEqual([true, true, true]);
    await pools.close();
    expect(await recorded.cutAll(span)).toEqual([]);
  },
  patienceMs,
);

test(
  'a disk that leaves, and the replica that ends with it, cut at every moment',
  async () => {
    const { pools, pool } = recorded;
    const span = await recorded.whileWriting(writesMeanwhile, () => pools.removeDisk('life', 1));
    expect(pool.info().disks).toHaveLength(1);
    await pools.close();
    expect(await recorded.cutAll(span)).toEqual([]);
  },
  patienceMs,
);

test(
  'a number that is used again, cut at every moment',
  async () => {
    const { pools, pool } = recorded;
    await pools.removeDisk('life', 1);
    const joining = () => pools.addDisk('life', disk(2));
    const span = await recorded.whileWriting(writesMeanwhile, joining);
    expect(pool.info().disks.map(({ number }) => number)).toEqual([0, 1]);
    await pools.close();
    expect(await recorded.cutAll(span)).toEqual([]);
  },
  patienceMs,
);
