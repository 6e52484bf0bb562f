/**
 * Goal: a disk that does not answer its syncs holds up the flushes of those only who have something new on it, and nothing is lost by it, not even
 *   by a kill in the middle.
 * Method: a pool of four disks, the last of which carries no replica and hangs on demand; a volume there and one on the others.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { blockOf, createPool, hangSyncs, writeNear } from './behind-pool.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture } from './fixture.ts';

const victim = fileURLToPath(new URL('./killed-behind.ts', import.meta.url));

describe('a disk that does not answer its syncs', () => {
  let plane: FaultyPlane;
  let fixture: Fixture;
  beforeEach(async () => {
    plane = new FaultyPlane({ loops: 2 });
    fixture = await Fixture.open({ dataPlane: plane, flushWindowMs: 50 });
  });
  afterEach(async () => {
    plane.healAll();
    await fixture.close();
  });

  async function expectShown(name: string, blocks: number, content = blockOf): Promise<void> {
    const volume = await fixture.volumes.open(name);
    for (let block = 0; block < blocks; block++) {
      const bytes = await volume.plane.read(block * 65536, 65536);
      expect(Buffer.compare(bytes, content(block)), `${name} block ${block}`).toBe(0);
    }
    await volume.close();
  }

  test('holds up nobody but its own flushes', async () => {
    await createPool(fixture.pools, fixture.volumes, fixture.folder);
    const far = await fixture.volumes.open('far');
    const near = await fixture.volumes.open('near');
    hangSyncs(plane, fixture.folder);
    await far.plane.write(0, blockOf(7));
    let ended = false;
    const held = far.plane.flush().then(() => {
      ended = true;
    });
    await writeNear(near.plane, 20);
    // Reads of what is not durable, and later changes of it, go on as well.
    expect((await far.plane.read(0, 1))[0]).toBe(8);
    await far.plane.trim(4096, 4096);
    await writeNear(near.plane, 20);
    expect(ended).toBe(false);
    plane.healAll();
    await held;
    await fixture.volumes.create({ name: 'later', sizeBytes: 2 ** 20 });
    await far.close();
    await near.close();
    await fixture.restart();
    await expectShown('near', 20);
    await expectShown('far', 1, () => blockOf(7).fill(0, 4096, 8192));
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });

  test('what the control plane changes waits for it, and is there in the end', async () => {
    await createPool(fixture.pools, fixture.volumes, fixture.folder);
    const far = await fixture.volumes.open('far');
    const near = await fixture.volumes.open('near');
    hangSyncs(plane, fixture.folder);
    await far.plane.write(0, blockOf(7));
    const snapshot = fixture.snapshots.create({ names: [{ volume: 'near', snapshot: 's' }] });
    await writeNear(near.plane, 20);
    expect(fixture.snapshots.list()).toEqual([]);
    plane.healAll();
    await snapshot;
    expect(fixture.snapshots.list()).toHaveLength(1);
    await far.close();
    await near.close();
  });

  test('killed then, nothing acknowledged is lost', async () => {
    await fixture.pools.close();
    const child = fork(victim, [fixture.stateDir, fixture.folder], {
      execArgv: ['--import', 'tsx'],
    });
    const closed = once(child, 'close');
    const [said] = await Promise.race([once(child, 'message'), closed]);
    expect(said).toBe('done');
    child.kill('SIGKILL');
    await closed;
    await fixture.start();
    expect(fixture.events.map(({ kind }) => kind)).toContain('pool/recovered');
    await expectShown('far', 50, (block) => blockOf(block).fill(0, 4096, 8192));
    await expectShown('near', 200);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });
});
