// Goal: whatever has happened to a pool, its volumes and itself can be closed, and every promise settles.
// Method: the real data plane on memory disks, one of them behind a fault disk, without a control plane.
import { afterAll, expect, test } from 'vitest';
import {
  DataPlane,
  type DiskPlane,
  type PoolListener,
  type PoolPlane,
} from '../../src/dataplane/data-plane.ts';

const diskBytes = 64 << 20;
const volumeBytes = 16 << 20;
const plane = new DataPlane();
afterAll(() => plane.stop());

function openPool(disk: DiskPlane, failed: () => void): Promise<PoolPlane> {
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
    failed,
  };
  const journal = {
    replicas: [{ number: 0, offset: 65536 }],
    bytes: 1 << 20,
    head: 0,
    tail: 0,
    sequence: 1,
  };
  const spec = {
    uuid: new Uint8Array(16),
    epoch: 1,
    clusterBytes: 65536,
    disks: [{ handle: disk.handle, number: 0 }],
    journal,
    pendingLogPath: '',
    flushWindowMs: 3_600_000,
  };
  return plane.openPool(spec, listener);
}

test('after a failed sync nothing can be made durable, and all of it closes', async () => {
  const inner = await plane.openDisk({ kind: 'memory', sizeBytes: diskBytes });
  const disk = await plane.openDisk({ kind: 'fault', inner: inner.handle });
  let failures = 0;
  const pool = await openPool(disk, () => failures++);
  pool.grant([0, 32, 100]);
  const volume = await pool.openVolume({
    layer: 1,
    sizeBytes: volumeBytes,
    empty: true,
    copyOnWrite: false,
    grantGroup: 0,
  });
  await volume.write(0, new Uint8Array(4096).fill(7));
  plane.addon.faultSet(disk.handle, [{ op: 'sync', kind: 'error', times: 1 }]);

  const eio = { errno: 5 };
  await expect(volume.flush()).rejects.toMatchObject(eio);
  await expect(pool.appendBatch(new Uint8Array(8))).rejects.toMatchObject(eio);
  await expect(volume.write(0, new Uint8Array(512))).rejects.toMatchObject(eio);
  expect((await volume.read(0, 1))[0]).toBe(7);
  expect(failures).toBe(1);

  await volume.close();
  await pool.close();
  await disk.close();
  await inner.close();
});

test('a verb that names what is closed fails, and nothing ends with it', async () => {
  const disk = await plane.openDisk({ kind: 'memory', sizeBytes: diskBytes });
  await disk.close();
  const told = `disk ${disk.handle} is not open`;
  await expect(disk.read(0, 512)).rejects.toThrow(told);
  await expect(plane.openPatientDisk(disk, 0)).rejects.toThrow(told);
  expect(() => plane.addon.diskCondition(disk.handle)).toThrow(told);
});

test('a volume closes behind requests that nobody waited for', async () => {
  const disk = await plane.openDisk({ kind: 'memory', sizeBytes: diskBytes });
  const pool = await openPool(disk, () => {});
  pool.grant([0, 32, 900]);
  for (let layer = 1; layer <= 20; layer++) {
    const volume = await pool.openVolume({
      layer,
      sizeBytes: volumeBytes,
      empty: true,
      copyOnWrite: false,
      grantGroup: 0,
    });
    const writes = [0, 1, 2, 3].map((n) => volume.write(n << 20, new Uint8Array(1 << 16)));
    await volume.close();
    await Promise.all(writes);
  }
  await pool.close();
  await disk.close();
});
