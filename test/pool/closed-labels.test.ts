// Goal: a heartbeat that is under way when a failed pool is closed ends there: its disk's handle means nothing any more, and to use it would end the process.
// Method: the pool fails, a beat has read its label and is held by the test before it goes on, the pool is closed, the beat goes on.
import { expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import type { DiskSpec, PoolSpec } from '../../src/dataplane/binding.ts';
import {
  DataPlane,
  DiskPlane,
  type PoolListener,
  type PoolPlane,
} from '../../src/dataplane/data-plane.ts';
import { leaseTimes } from '../../src/pool/lease.ts';
import { Fixture, ManualClock, until } from './fixture.ts';

/** While it is held, whoever has read a label waits. */
const beat = { isHeld: false, waiting: 0, goOn: () => {} };
const gone = new Promise<void>((resolve) => {
  beat.goOn = resolve;
});

class HeldDisk extends DiskPlane {
  override async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = await super.read(offset, length);
    if (!beat.isHeld || offset > 0) return bytes;
    beat.waiting += 1;
    await gone;
    return bytes;
  }
}

class HeldPlane extends DataPlane {
  pool: PoolPlane | undefined;

  override async openPool(spec: PoolSpec, listener: PoolListener): Promise<PoolPlane> {
    this.pool = await super.openPool(spec, listener);
    return this.pool;
  }

  override async openDisk(spec: DiskSpec): Promise<DiskPlane> {
    const { handle, sizeBytes } = await super.openDisk(spec);
    return new HeldDisk(this, handle, sizeBytes);
  }
}

test('a heartbeat under way writes nothing to a disk that is closed', async () => {
  const clock = new ManualClock();
  const dataPlane = new HeldPlane({ loops: 1 });
  const fixture = await Fixture.open({ clock, dataPlane });
  const { pools } = fixture;
  await pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`]);
  const pool = pools.get('p');
  beat.isHeld = true;
  clock.advance(leaseTimes().heartbeatMs);
  await until(() => beat.waiting === 1);
  dataPlane.pool?.fail(5, { fenced: false });
  await until(() => pool.info().state === 'failed');
  await pools.close();
  beat.goOn();
  await fixture.close();
  expect(pools.all()).toEqual([]);
});
