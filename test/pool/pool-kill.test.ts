/**
 * Goal: a kill -9 at any instant loses nothing that was acknowledged, flushed or not, also when the restart is killed.
 * Method: a child process writes stamped blocks one at a time and reports them; it is killed; the pool is opened here, every
 *   reported stamp (or the one write or trim that was under way) must be there, and the pool must check out. SEED replays.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fixture } from './fixture.ts';
import type { Told } from './killed-writer.ts';

const writer = fileURLToPath(new URL('./killed-writer.ts', import.meta.url));
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const lives = 6;

describe(`killed service, seed ${seed}`, () => {
  let fixture: Fixture;
  const newest = new Map<number, number>();
  beforeEach(async () => {
    fixture = await Fixture.open();
    await fixture.pools.close();
    newest.clear();
  });
  afterEach(() => fixture.close());

  function startWriter(life: number): ChildProcess {
    const firstSerial = life * 1_000_000;
    const arguments_ = [fixture.stateDir, fixture.path('a'), `${seed + life}`, `${firstSerial}`];
    return fork(writer, arguments_, { execArgv: ['--import', 'tsx'] });
  }

  /** @returns whether it is a write that was acknowledged */
  function note(told: Told): boolean {
    if (told === 'ready') return false;
    if ('trimmed' in told) newest.set(told.trimmed, 0);
    else newest.set(told.block, told.serial);
    return 'block' in told;
  }

  /** Lets the writer live until it acknowledged `writes`, then kills it. */
  async function liveAndDie(life: number, writes: number): Promise<void> {
    const child = startWriter(life);
    let acknowledged = 0;
    child.on('message', (told: Told) => {
      if (!note(told)) return;
      acknowledged += 1;
      if (acknowledged === writes) child.kill('SIGKILL');
    });
    await once(child, 'close');
  }

  /** Kills a writer that is still opening the pool. */
  async function dieWhileStarting(life: number, afterMs: number): Promise<void> {
    const child = startWriter(life);
    child.on('message', note);
    const timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
    await once(child, 'close');
    clearTimeout(timer);
  }

  async function expectEverything(): Promise<void> {
    await fixture.start();
    expect(fixture.events.filter(({ level }) => level === 'error')).toEqual([]);
    const volume = await fixture.volumes.open('v');
    for (const [block, serial] of newest) {
      const bytes = await volume.plane.read(block * 4096, 4096);
      const found = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
      expect(found, `block ${block}`).toBeGreaterThanOrEqual(serial);
      expect(bytes.subarray(8).every((byte) => byte === (found & 0xff))).toBe(true);
    }
    await volume.close();
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
    await fixture.pools.close();
  }

  test('nothing acknowledged is lost', async () => {
    for (let life = 1; life <= lives; life++) {
      await liveAndDie(life, 50 + ((seed * life) % 400));
      if (life % 2 === 0) await expectEverything();
    }
    // Else the pending log had no part in it, and the test would show little.
    expect(fixture.events.map(({ kind }) => kind)).toContain('pool/recovered');
  });

  test('killed while starting, and again', async () => {
    await liveAndDie(1, 300);
    for (let life = 2; life <= lives; life++) await dieWhileStarting(life, 400 + 60 * life);
    await expectEverything();
  });
});
