// Goal: what a disk costs that says that it has synced and has not, when power is lost: nothing, where only a replica of the journal is on it; where
//   data is on it, never more than what had not truly reached it, and never somebody else's bytes.
// Method: recorded disks, of which one or all lie from a moment on; the pool is written and synced, power is cut at every moment behind that with
//   nothing kept that was not truly synced, and each state is checked, opened and compared.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FaultyRecordingPlane } from './faulty-recording-plane.ts';
import { RecordedPool, type Span } from './recorded-pool.ts';

const patienceMs = 600_000;
const writes = 3;
/** The cheapest span that is cut. */
const momentsMin = 21;

let recorded: RecordedPool<FaultyRecordingPlane>;
beforeEach(async () => {
  const planeOf = (sizes: ReadonlyMap<string, number>) => new FaultyRecordingPlane(sizes);
  recorded = await RecordedPool.create({ diskCount: 2, memberCount: 2, planeOf });
});
afterEach(() => recorded.dispose());

/** Data lies on the first of them, replicas of the journal on both. @returns its last moments */
async function whileLying(disks: readonly number[]): Promise<Span> {
  await recorded.write();
  for (const disk of disks) {
    recorded.plane.setFaults(recorded.disks[disk] as string, [{ op: 'sync', kind: 'lie' }]);
  }
  const [, to] = await recorded.whileWriting(writes, async () => {});
  await recorded.pools.close();
  return [to - momentsMin, to];
}

test(
  'a disk with nothing but a replica of the journal may lie, and nothing is lost',
  async () => {
    expect(await recorded.cutAll(await whileLying([1]))).toEqual([]);
  },
  patienceMs,
);

test.each([[[0]], [[0, 1]]])(
  'what was acknowledged is not there, and reads as zero, when disks %j with data lied',
  async (disks) => {
    const broken = await recorded.cutAll(await whileLying(disks));
    expect(broken.length).toBeGreaterThan(0);
    expect(broken.filter((sentence) => !sentence.includes(': reads as zero;'))).toEqual([]);
  },
  patienceMs,
);
