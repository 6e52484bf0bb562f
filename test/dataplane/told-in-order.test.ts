// Goal: a pool that closes can still be spoken to by whoever is told of something that came before its end, and by nobody who is
//   told of something that came after it. It goes behind everything that was said to it until then.
// Method: a simulated data plane, whose events are told in one batch: a disk falls silent, the pool is closed, the disk answers again.
import { afterAll, expect, test } from 'vitest';
import { DataPlane, type PoolListener, type PoolPlane } from '../../src/dataplane/data-plane.ts';

const plane = new DataPlane({ backend: 'simulated' });
afterAll(() => plane.stop());

/** The loops do what they have, and nobody is told. */
function turnAll(): void {
  for (let { busyLoops } = plane.addon.simulationState(); busyLoops.length > 0; ) {
    for (const loop of busyLoops) plane.addon.simulationTurn(loop);
    ({ busyLoops } = plane.addon.simulationState());
  }
}

function tellAll(): void {
  plane.addon.simulationTell(plane.addon.simulationState().events);
}

/** What `work` has begun comes to its end. */
async function ended<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  work.then(over, over);
  while (!isOver) {
    turnAll();
    tellAll();
    await Promise.resolve();
  }
  return work;
}

const nothing = () => {};
const listener: PoolListener = {
  durable: nothing,
  safe: nothing,
  regionWanted: nothing,
  cowWanted: nothing,
  grantLow: nothing,
  writerHeld: nothing,
  journalFull: nothing,
  replicasLag: nothing,
  diskError: nothing,
  failed: nothing,
};

test('what is told before the end of a pool finds it open, what is told after it closed', async () => {
  const memory = await ended(plane.openDisk({ kind: 'memory', sizeBytes: 8 << 20 }));
  const faulty = await ended(plane.openDisk({ kind: 'fault', inner: memory.handle }));
  const disk = await ended(plane.openPatientDisk(faulty, 60_000));
  const journal = { replicas: [{ number: 0, offset: 65536 }], bytes: 1 << 20, head: 0, tail: 0 };
  const pool: PoolPlane = await ended(
    plane.openPool(
      {
        uuid: new Uint8Array(16),
        epoch: 1,
        clusterBytes: 65536,
        disks: [{ handle: disk.handle, number: 0 }],
        journal: { ...journal, sequence: 1 },
        pendingLogPath: '',
        flushWindowMs: 3_600_000,
      },
      listener,
    ),
  );
  const seen: [string, boolean][] = [];
  disk.onCondition(({ state }) => {
    seen.push([state, pool.isOpen]);
    if (pool.isOpen) pool.grant([0, 32, 1]);
  });

  plane.addon.faultSet(faulty.handle, [{ op: 'read', kind: 'error', times: 1 }]);
  const read = disk.read(4 << 20, 512);
  turnAll();
  const closed = pool.close();
  turnAll();
  // Said to a pool that has closed, before anybody was told.
  const late = [
    pool.endReplica(0),
    pool.appendBatch(new Uint8Array(8)),
    pool.beginReplica(0, 65536),
  ];
  const refused = Promise.allSettled(late);
  // The read that is held is tried again, and succeeds.
  plane.addon.simulationAdvance(1000);
  turnAll();
  tellAll();

  expect(seen).toEqual([
    ['suspended', true],
    ['online', false],
  ]);
  await ended(Promise.all([read, closed]));
  expect((await refused).map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'rejected',
  ]);
  for (const open of [disk, memory]) await ended(open.close());
});
