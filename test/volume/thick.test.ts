/**
 * Goal: a thick volume has all of its space, also when its service died while it took it.
 * Method: a child process kills itself in the middle; the pool is opened here.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fixture } from '../pool/fixture.ts';

const MiB = 1024 * 1024;
const filler = fileURLToPath(new URL('./killed-filler.ts', import.meta.url));

describe('thick volumes', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
    await fixture.pools.close();
  });
  afterEach(() => fixture.close());

  const kinds = () => fixture.events.map(({ kind }) => kind);
  const exclusiveBytes = () => fixture.volumes.get('v').exclusiveBytes;

  /** A service dies when it has taken some of the space. */
  async function dieWhileFilling(before: number, wanted: number): Promise<void> {
    const given = [fixture.stateDir, fixture.path('a'), `${before}`, `${wanted}`];
    const child = fork(filler, given, { execArgv: ['--import', 'tsx'] });
    const [, signal] = await once(child, 'close');
    expect(signal).toBe('SIGKILL');
  }

  async function expectWhole(sizeBytes: number): Promise<void> {
    expect(exclusiveBytes()).toBe(sizeBytes);
    expect(await fixture.volumes.map('v', 0, sizeBytes)).toEqual([
      { offset: 0, length: sizeBytes, hole: false, zero: true },
    ]);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  }

  test('killed while it is created: the next opening finishes it and says so', async () => {
    await dieWhileFilling(0, 448 * MiB);
    await fixture.start();
    await expect.poll(kinds, { interval: 1 }).toContain('volume/filled');
    await expectWhole(448 * MiB);
    await fixture.restart();
    expect(kinds().filter((kind) => kind === 'volume/filled')).toHaveLength(1);
  });

  test('killed while it grows: the next opening finishes it', async () => {
    await dieWhileFilling(64 * MiB, 448 * MiB);
    await fixture.start();
    await expect.poll(kinds, { interval: 1 }).toContain('volume/filled');
    await expectWhole(448 * MiB);
  });

  test('killed, then created again: that finishes it; once more changes nothing', async () => {
    await dieWhileFilling(0, 448 * MiB);
    await fixture.start();
    const options = { name: 'v', sizeBytes: 448 * MiB, thick: true };
    const dry = await fixture.volumes.create({ ...options, dryRun: true });
    expect(dry.changed).toBe(true);
    expect((await fixture.volumes.create(options)).changed).toBe(true);
    await expectWhole(448 * MiB);
    expect((await fixture.volumes.create(options)).changed).toBe(false);
  });

  test('killed, then deleted: the filling ends and the space comes back', async () => {
    await dieWhileFilling(0, 448 * MiB);
    await fixture.start();
    await fixture.volumes.delete('v');
    expect(fixture.volumes.list()).toEqual([]);
    const records = () => fixture.pools.get('gold').index.state.allRecords();
    await expect.poll(() => fixture.pools.get('gold').records('volume/')).toEqual([]);
    await expect.poll(records).toHaveLength(3);
    expect(kinds()).not.toContain('volume/not-filled');
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });

  test('stopped while it is created: the next start finishes it', async () => {
    await fixture.start();
    await fixture.pools.create('gold', [`file:${fixture.path('a')}?size=512MiB`]);
    const options = { name: 'v', sizeBytes: 448 * MiB, thick: true };
    let stopped: Promise<void> | undefined;
    const attempt = fixture.volumes.create(options, () => {
      stopped ??= fixture.pools.close();
    });
    await expect(attempt).rejects.toMatchObject({ code: 'service/stopping' });
    await stopped;
    await fixture.start();
    await expect.poll(kinds, { interval: 1 }).toContain('volume/filled');
    await expectWhole(448 * MiB);
  });
});
