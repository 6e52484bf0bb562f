/**
 * Goal: a pool that cannot be opened at the service's start is opened as soon as its disks allow it, without being asked for; one whose disk does not
 *   answer keeps nobody waiting; what is not for this host to open is left alone.
 * Method: the real data plane on files that are away for a while, or hang on demand; a test decides when it is tried again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture, ManualClock } from './fixture.ts';

const retryMs = 5_000;
const stamp = new Uint8Array(4096).fill(7);

describe('pools that cannot be opened at the start', () => {
  let plane: FaultyPlane;
  let clock: ManualClock;
  let fixture: Fixture;
  beforeEach(async () => {
    plane = new FaultyPlane({ loops: 2 });
    clock = new ManualClock();
    fixture = await Fixture.open({ dataPlane: plane, clock });
    await fixture.pools.create('gold', [uri('a')]);
    await fixture.pools.create('silver', [uri('s')]);
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB, pool: 'gold' });
    const volume = await fixture.volumes.open('v');
    await volume.plane.write(0, stamp, { fua: true });
    await volume.close();
  });
  afterEach(async () => {
    plane.healAll();
    await fixture.close();
  });

  const path = (name: string) => fixture.path(name);
  const uri = (name: string) => `file:${path(name)}?size=256MiB`;
  const stateOf = (pool: string) => fixture.pools.list().find(({ name }) => name === pool)?.state;
  const told = (kind: string) => fixture.events.filter((event) => event.kind === kind);

  async function expectStamp(): Promise<void> {
    const volume = await fixture.volumes.open('v');
    expect(Buffer.compare(await volume.plane.read(0, stamp.length), stamp)).toBe(0);
    await volume.close();
  }

  /** One more attempt, that has ended. */
  async function tryAgain(): Promise<void> {
    clock.advance(retryMs);
    await vi.waitFor(() => expect(() => fixture.pools.get('gold')).not.toThrow('being opened'));
    await fixture.pools.set('silver', { patienceSeconds: 0 });
  }

  /** The disk hangs, and is in the hands of one more attempt. */
  async function hangInOneMoreAttempt(): Promise<void> {
    await fixture.restart(() => rename(path('a'), path('away')));
    await rename(path('away'), path('a'));
    plane.setFaults(path('a'), [{ op: 'any', kind: 'hang' }]);
    clock.advance(retryMs);
    const importing = () => fixture.pools.import([path('a')]).catch(({ code }) => code);
    await expect.poll(importing).toBe('pool/opening');
  }

  test('opened when the disk is back, and told once each', async () => {
    await fixture.restart(() => rename(path('a'), path('away')));
    const returned: string[] = [];
    fixture.pools.onReturned((name) => returned.push(name));
    await tryAgain();
    await tryAgain();
    expect([stateOf('gold'), stateOf('silver')]).toEqual(['failed', 'online']);
    expect(told('pool/unopened')).toHaveLength(1);
    await rename(path('away'), path('a'));
    await tryAgain();
    await expect.poll(() => stateOf('gold')).toBe('online');
    expect(told('pool/opened')).toMatchObject([{ level: 'info', subject: 'gold' }]);
    expect(returned).toEqual(['gold']);
    await expectStamp();
    await tryAgain();
    expect(told('pool/opened')).toHaveLength(1);
  });

  test('whoever asks later is told of those that came back before', async () => {
    await fixture.restart(() => rename(path('a'), path('away')));
    await rename(path('away'), path('a'));
    await tryAgain();
    await expect.poll(() => stateOf('gold')).toBe('online');
    const returned: string[] = [];
    fixture.pools.onReturned((name) => returned.push(name));
    expect(returned).toEqual(['gold']);
  });

  test('what was forgotten, or imported from elsewhere, is not tried again', async () => {
    await fixture.restart(() => rename(path('a'), path('away')));
    await fixture.pools.import([path('away')]);
    const open = vi.spyOn(plane, 'openDisk');
    await tryAgain();
    expect(open).not.toHaveBeenCalled();
    await fixture.restart(() => rename(path('away'), path('a')));
    await fixture.pools.export('gold');
    open.mockClear();
    await tryAgain();
    expect(open).not.toHaveBeenCalled();
  });

  test('opened when another process has let go of the disk', async () => {
    await fixture.stop();
    const holding = ['sh', '-c', 'echo held; exec sleep 60'];
    const other = spawn('flock', ['--no-fork', path('a'), ...holding]);
    await once(other.stdout, 'data');
    await fixture.start();
    expect(() => fixture.pools.get('gold')).toThrow(expect.objectContaining({ code: 'pool/held' }));
    other.kill();
    await once(other, 'exit');
    await tryAgain();
    await expect.poll(() => stateOf('gold')).toBe('online');
  });

  test('a pool that another host had since is not tried again', async () => {
    await fixture.restart(async () => {
      const pools = await fixture.openPools(path('other'));
      await pools.import([path('a')], { takeover: true });
      await pools.close();
    });
    expect(() => fixture.pools.get('gold')).toThrow(expect.objectContaining({ code: 'pool/held' }));
    const open = vi.spyOn(plane, 'openDisk');
    await tryAgain();
    expect(open).not.toHaveBeenCalled();
  });

  test('a pool whose closing failed is served again', async () => {
    plane.setFaults(path('a'), [{ op: 'write', kind: 'error' }]);
    await expect(fixture.pools.export('gold')).rejects.toMatchObject({ code: 'disk/io' });
    plane.healAll();
    await tryAgain();
    await expect.poll(() => stateOf('gold')).toBe('online');
    await expectStamp();
  });

  test('a disk that hangs keeps neither the start nor the others waiting', async () => {
    await fixture.stop();
    plane.setFaults(path('a'), [{ op: 'any', kind: 'hang' }]);
    await fixture.start();
    expect([stateOf('gold'), stateOf('silver')]).toEqual(['failed', 'online']);
    const opening = { code: 'pool/opening' };
    expect(() => fixture.pools.get('gold')).toThrow(expect.objectContaining(opening));
    await expect(fixture.pools.import([path('a')])).rejects.toMatchObject(opening);
    await fixture.pools.create('new', [uri('n')]);
    expect(told('pool/unopened')).toEqual([]);
    plane.healAll();
    await expect.poll(() => stateOf('gold')).toBe('online');
    expect(told('pool/opened')).toHaveLength(1);
    await expectStamp();
  }, 60_000);

  test('what is forgotten while its disk hangs is not opened any more', async () => {
    await hangInOneMoreAttempt();
    await fixture.pools.export('gold');
    expect(stateOf('gold')).toBeUndefined();
    plane.healAll();
    await vi.waitFor(() => fixture.pools.import([path('a')]), 10_000);
    expect(told('pool/opened')).toEqual([]);
    await expectStamp();
  });

  test('one that is only read here is not opened to be written', async () => {
    await fixture.restart(() => rename(path('a'), path('away')));
    await rename(path('away'), path('a'));
    await fixture.pools.import([path('a')], { readOnly: true });
    const open = vi.spyOn(plane, 'openDisk');
    await tryAgain();
    expect(open).not.toHaveBeenCalled();
  });

  test("an epoch that was promised and never taken is the next host's", async () => {
    await fixture.stop();
    plane.setFaults(path('a'), [{ op: 'write', kind: 'error' }]);
    await fixture.start();
    plane.healAll();
    const other = await fixture.openPools(path('other'));
    await other.import([path('a')], { takeover: true });
    await other.export('gold');
    await other.close();
    await tryAgain();
    expect(() => fixture.pools.get('gold')).toThrow(expect.objectContaining({ code: 'pool/held' }));
  });

  test('a service that stops meanwhile serves it no more', async () => {
    await hangInOneMoreAttempt();
    const { pools } = fixture;
    await pools.close();
    plane.healAll();
    // Its disk is free again.
    await fixture.start();
    expect(pools.all()).toEqual([]);
    expect(stateOf('gold')).toBe('online');
    await expectStamp();
  }, 30_000);
});
