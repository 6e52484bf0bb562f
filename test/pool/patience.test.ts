/**
 * Goal: a fault of a disk that passes is an event and a warning, never an error of a client; one that does not is told to those it
 *   concerns, and the pool goes on.
 * Method: a pool whose data lies on one disk with faults on demand; every step waits for a report or an answer. The patience is a second where
 *   it has to end, and a day where it must not.
 */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { VolumePlane } from '../../src/dataplane/data-plane.ts';
import { Adoption } from '../../src/volume/adoption.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture, until } from './fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const errno = { EIO: 5, ENOSPC: 28, EROFS: 30, ECONNREFUSED: 111 };
const endlessSeconds = 86_400;

describe('a disk that fails for a while', () => {
  let plane: FaultyPlane;
  let fixture: Fixture;
  beforeEach(async () => {
    plane = new FaultyPlane({ loops: 2 });
    fixture = await Fixture.open({ dataPlane: plane, patienceSeconds: endlessSeconds });
  });
  afterEach(async () => {
    plane.healAll();
    await fixture.close();
  });

  const path = (name: string) => fixture.path(name);
  const uri = (name: string) => `file:${path(name)}?size=64MiB`;
  const kinds = () =>
    fixture.events.map(({ kind }) => kind).filter((kind) => kind.startsWith('disk/'));
  const info = () => fixture.pools.get('gold').info();

  async function openVolume(patienceSeconds = endlessSeconds, disks = ['a']): Promise<VolumePlane> {
    await fixture.pools.create('gold', disks.map(uri), { patienceSeconds });
    await fixture.volumes.create({ name: 'v', sizeBytes: 32 * MiB });
    return (await fixture.volumes.open('v')).plane;
  }

  const bytes = (value: number) => new Uint8Array(64 * KiB).fill(value);

  test.each(Object.entries(errno))(
    '%s that passes is not noticed by a client',
    async (_, error) => {
      const volume = await openVolume();
      plane.setFaults(path('a'), [{ op: 'write', kind: 'error', error }]);
      const write = volume.write(0, bytes(1));
      await until(() => kinds().includes('disk/suspended'));
      expect(info()).toMatchObject({
        state: 'online',
        warnings: [{ code: 'disk/suspended', level: 'warning' }],
        disks: [{ state: 'suspended', failing: { held: 1 } }],
      });
      expect(info().disks[0]?.failing?.patienceLeftSeconds).toBeGreaterThan(endlessSeconds / 2);
      plane.healAll();
      await write;
      await volume.flush();
      expect((await volume.read(0, 1))[0]).toBe(1);
      await until(() => kinds().includes('disk/resumed'));
      expect(kinds()).toEqual(['disk/suspended', 'disk/resumed']);
      expect(info()).toMatchObject({ warnings: [], disks: [{ state: 'online', failing: null }] });
    },
  );

  test('what a full disk can still do goes on beside what waits', async () => {
    const volume = await openVolume();
    await volume.write(0, bytes(1));
    await volume.flush();
    plane.setFaults(path('a'), [
      { op: 'write', kind: 'error', error: errno.ENOSPC, times: 1 },
      { op: 'write', kind: 'hang' },
    ]);
    const write = volume.write(MiB, bytes(2));
    await until(() => kinds().includes('disk/suspended'));
    expect((await volume.read(0, 1))[0]).toBe(1);
    plane.healAll();
    await write;
    expect((await volume.read(MiB, 1))[0]).toBe(2);
  });

  test('after the patience its requests fail, the pool goes on, and it comes back by itself', async () => {
    const volume = await openVolume(1);
    await volume.write(0, bytes(1));
    await volume.flush();
    plane.setFaults(path('a'), [{ op: 'read', kind: 'error', error: errno.ECONNREFUSED }]);
    await expect(volume.read(0, 1)).rejects.toMatchObject({ errno: errno.EIO });
    expect(info()).toMatchObject({
      state: 'online',
      warnings: [{ code: 'disk/failed', level: 'critical' }],
      disks: [{ state: 'failed' }],
    });
    plane.healAll();
    await until(() => kinds().includes('disk/resumed'));
    expect((await volume.read(0, 1))[0]).toBe(1);
    await volume.write(0, bytes(3));
    await volume.flush();
    expect(kinds().filter((kind) => kind !== 'disk/error')).toEqual([
      'disk/suspended',
      'disk/failed',
      'disk/resumed',
    ]);
  });

  test("an adopted disk is waited for as the pool's own", async () => {
    await fixture.pools.create('gold', [uri('a')]);
    writeFileSync(path('image'), bytes(7));
    const { pools, volumes, clock } = fixture;
    const adoption = new Adoption({ pools, volumes, clock, emit: () => {} });
    const plan = await adoption.plan({ name: 'v', source: path('image') });
    if (!('disk' in plan)) throw new Error('v is new');
    await adoption.adopt(plan, { report() {}, signal: undefined });
    for (const isReopened of [false, true]) {
      if (isReopened) await fixture.restart();
      const volume = await fixture.volumes.open('v');
      fixture.events.length = 0;
      plane.setFaults(path('image'), [{ op: 'read', kind: 'error', error: errno.EIO }]);
      const read = volume.plane.read(0, 4096);
      await until(() => kinds().includes('disk/suspended'));
      expect(info()).toMatchObject({
        warnings: [{ code: 'disk/suspended' }],
        disks: [{ state: 'online' }, { role: 'adopted', state: 'suspended', failing: { held: 1 } }],
      });
      plane.healAll();
      expect((await read)[0]).toBe(7);
      await until(() => kinds().includes('disk/resumed'));
      await volume.close();
    }
  });

  test('new data goes to the disks that answer', async () => {
    const volume = await openVolume(endlessSeconds, ['a', 'b']);
    plane.setFaults(path('a'), [
      { op: 'read', kind: 'error' },
      { op: 'write', kind: 'error' },
    ]);
    const pool = fixture.pools.get('gold');
    // Asks the disk for something, so that it is noticed.
    const probe = pool.disks[0]?.plane.read(0, 4096);
    await until(() => kinds().includes('disk/suspended'));
    const before = info().disks.map(({ usedBytes }) => usedBytes);
    // The cluster that a volume had in hand may lie on the silent disk: its writer waits, the others do not.
    await volume.write(4 * MiB, bytes(5));
    plane.healAll();
    await probe;
    await volume.flush();
    const after = info().disks.map(({ usedBytes }) => usedBytes);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBeGreaterThan(before[1] as number);
  });

  test('the patience of a pool is kept, shown and changed while it lasts', async () => {
    const volume = await openVolume();
    plane.setFaults(path('a'), [{ op: 'write', kind: 'error' }]);
    const write = volume.write(0, bytes(1));
    await until(() => kinds().includes('disk/suspended'));
    plane.setFaults(path('a'), []);
    await write;
    expect(await fixture.pools.set('gold', { patienceSeconds: 7 })).toMatchObject({
      changed: true,
    });
    expect(await fixture.pools.set('gold', { patienceSeconds: 7 })).toMatchObject({
      changed: false,
    });
    await fixture.restart();
    expect(info().patienceSeconds).toBe(7);
    for (const patienceSeconds of [-1, 1.5, 86_401]) {
      await expect(fixture.pools.set('gold', { patienceSeconds })).rejects.toMatchObject({
        code: 'request/invalid',
      });
    }
  });

  test('a pool with a silent disk is not let go, and says which', async () => {
    await openVolume();
    await fixture.volumes.delete('v').catch(() => {});
    const pool = fixture.pools.get('gold');
    plane.setFaults(path('a'), [{ op: 'read', kind: 'error', error: errno.ECONNREFUSED }]);
    const read = pool.disks[0]?.plane.read(0, 4096);
    await until(() => kinds().includes('disk/suspended'));
    pool.expectUnused = () => {};
    await expect(fixture.pools.export('gold')).rejects.toMatchObject({
      code: 'disk/io',
      message: expect.stringContaining(path('a')),
    });
    plane.healAll();
    await read;
  });

  test('a pool with a silent disk is closed in bounded time', async () => {
    const volume = await openVolume();
    plane.setFaults(path('a'), [{ op: 'any', kind: 'error', error: errno.ECONNREFUSED }]);
    const write = volume.write(0, bytes(1)).then(
      () => 'done',
      () => 'failed',
    );
    await until(() => kinds().includes('disk/suspended'));
    await fixture.pools.close();
    expect(await write).toBe('failed');
    plane.healAll();
    await fixture.start();
    expect(info().state).toBe('online');
  });
});
