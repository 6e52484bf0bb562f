/**
 * Goal: a kill -9 at any instant of a disk's joining or leaving loses nothing and leaves a pool that opens with the disks that the service
 *   remembers, and in which disks join and leave as before.
 * Method: a child process adds and removes disks without end and overwrites blocks; it is killed; the pool is opened here, every reported
 *   stamp must be there, and the pool must check out; then the next child goes on. SEED replays.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { Fixture } from './fixture.ts';
import type { Acknowledged } from './killed-writer.ts';

const changer = fileURLToPath(new URL('./killed-members.ts', import.meta.url));
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const lives = 6;
const blockBytes = 4096;
const MiB = 1024 * 1024;

describe(`killed while disks join and leave, seed ${seed}`, () => {
  let fixture: Fixture;
  const newest = new Map<number, number>();
  beforeEach(async () => {
    fixture = await Fixture.open();
    newest.clear();
    await fixture.pools.create('gold', [`file:${fixture.path('a')}?size=64MiB`]);
    await fixture.volumes.create({ name: 'v', sizeBytes: 2 * MiB });
    const volume = await fixture.volumes.open('v');
    await volume.plane.write(0, new Uint8Array(2 * MiB), { fua: true });
    await volume.close();
    await fixture.pools.close();
    for (const name of ['b', 'c', 'd']) {
      writeFileSync(fixture.path(name), '');
      truncateSync(fixture.path(name), 64 * MiB);
    }
  });
  afterEach(() => fixture.close());

  async function liveAndDie(life: number, writes: number): Promise<void> {
    const arguments_ = [fixture.stateDir, fixture.folder, `${life * 1_000_000}`];
    const child: ChildProcess = fork(changer, arguments_, { execArgv: ['--import', 'tsx'] });
    let acknowledged = 0;
    child.on('message', (message: Acknowledged | 'ready') => {
      if (message === 'ready') return;
      newest.set(message.block, message.serial);
      acknowledged += 1;
      if (acknowledged === writes) child.kill('SIGKILL');
    });
    const [code] = await once(child, 'close');
    expect(code, 'it ended by the kill').toBeNull();
  }

  async function expectEverything(): Promise<void> {
    await fixture.start();
    expect(fixture.events.filter(({ level }) => level === 'error')).toEqual([]);
    const volume = await fixture.volumes.open('v');
    for (const [block, serial] of newest) {
      const bytes = await volume.plane.read(block * blockBytes, blockBytes);
      const found = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
      expect(found, `block ${block}`).toBeGreaterThanOrEqual(serial);
    }
    await volume.close();
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
    const { disks } = fixture.pools.get('gold').info();
    const replicas = disks.filter(({ journal }) => journal);
    const told = JSON.stringify(fixture.events);
    expect(replicas, told).toHaveLength(Math.min(3, disks.length));
    await fixture.pools.close();
    const { findings } = await checkOffline(disks.map(({ path }) => path));
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  }

  test('nothing is lost, and members come and go as before', async () => {
    for (let life = 1; life <= lives; life++) {
      await liveAndDie(life, 300 + ((seed * life) % 3000));
      await expectEverything();
    }
  });
});
