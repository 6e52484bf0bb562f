/**
 * Goal: a backing disk that became larger is used up to its new end, online and at the next opening, whatever is cut off in between; one
 *   that became smaller is refused with the numbers, and never read as zeroes.
 * Method: files grown and cut off underneath, a loop device grown by losetup, labels compared with the check from the disks alone.
 */
import { execFileSync } from 'node:child_process';
import { truncate } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { Fixture, ManualClock } from './fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('a backing disk of another size', () => {
  let clock: ManualClock;
  let fixture: Fixture;
  beforeEach(async () => {
    clock = new ManualClock();
    fixture = await Fixture.open({ clock, flushWindowMs: 50 });
  });
  afterEach(() => fixture.close());

  const path = (name: string) => fixture.path(name);
  const pool = (): Pool => fixture.pools.get('gold');
  const capacity = () => pool().info().capacityBytes;
  const kinds = () => fixture.events.map(({ kind }) => kind);

  async function makePool(...names: string[]): Promise<void> {
    await fixture.pools.create(
      'gold',
      names.map((name) => `file:${path(name)}?size=16MiB`),
    );
    await fixture.volumes.create({ name: 'v', sizeBytes: 128 * MiB });
  }

  /** Fills the volume until there is no space, or all of `bytes` is written. */
  async function fill(bytes: number): Promise<void> {
    const volume = await fixture.volumes.open('v');
    try {
      for (let at = 0; at < bytes; at += MiB) {
        await volume.plane.write(at, new Uint8Array(MiB).fill(1 + ((at / MiB) % 250)));
      }
      await volume.plane.flush();
    } finally {
      await volume.close();
    }
  }

  async function expectFilled(bytes: number): Promise<void> {
    const volume = await fixture.volumes.open('v');
    for (let at = 0; at < bytes; at += MiB) {
      const read = await volume.plane.read(at, MiB);
      expect(read.every((byte) => byte === 1 + ((at / MiB) % 250))).toBe(true);
    }
    await volume.close();
  }

  async function expectNoDamage(...paths: string[]): Promise<void> {
    const { findings } = await checkOffline(paths);
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  }

  test('grown while it serves: noticed by itself, used, and so after a restart', async () => {
    await makePool('a', 'b');
    const before = capacity();
    await truncate(path('b'), 64 * MiB);
    clock.advance(30_000);
    await pool().lookForGrowth();
    expect(capacity()).toBe(before + 48 * MiB);
    expect(kinds().filter((kind) => kind === 'disk/grown')).toEqual(['disk/grown']);
    await fill(50 * MiB);
    await fixture.restart();
    expect(capacity()).toBe(before + 48 * MiB);
    await expectFilled(50 * MiB);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
    await fixture.pools.close();
    await expectNoDamage(path('a'), path('b'));
    await fixture.start();
  });

  test('a writer that found no space goes on in what was added', async () => {
    await makePool('a');
    const volume = await fixture.volumes.open('v');
    await expect(volume.plane.write(0, new Uint8Array(32 * MiB).fill(1))).rejects.toMatchObject({
      errno: 28,
    });
    await truncate(path('a'), 64 * MiB);
    await pool().lookForGrowth();
    await volume.plane.write(0, new Uint8Array(32 * MiB).fill(1));
    await volume.close();
  });

  test('grown while it was closed: used from the opening on', async () => {
    await makePool('a');
    const before = capacity();
    await fixture.restart(() => truncate(path('a'), 48 * MiB));
    expect(capacity()).toBe(before + 32 * MiB);
    await fill(30 * MiB);
    await expectFilled(30 * MiB);
  });

  test('by less than a cluster: nothing is written', async () => {
    await makePool('a');
    const { generation } = pool().disks[0]?.label ?? {};
    await truncate(path('a'), 16 * MiB + 4096);
    await pool().lookForGrowth();
    expect(pool().disks[0]?.label.generation).toBe(generation);
    expect(kinds()).not.toContain('disk/grown');
  });

  test('both copies of the label name the new end before anything behind the old one is used', async () => {
    await makePool('a');
    await truncate(path('a'), 64 * MiB);
    await pool().lookForGrowth();
    const { label } = await probeDisk(path('a'));
    expect(label?.clusterCount).toBe(1024);
    // The newer copy is lost: the older one must know the new clusters, too.
    await fill(40 * MiB);
    const { generation } = pool().disks[0]?.label ?? { generation: 0 };
    await fixture.pools.close();
    const { label: last } = await probeDisk(path('a'));
    expect(last?.generation).toBeGreaterThanOrEqual(generation);
    execFileSync('dd', [
      'if=/dev/zero',
      `of=${path('a')}`,
      'bs=4096',
      'count=1',
      `seek=${(last?.generation ?? 0) % 2}`,
      'conv=notrunc',
      'status=none',
    ]);
    await fixture.start();
    await expectFilled(40 * MiB);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });

  test.each([1, 2])(
    'cut off after %d labels of the growth: whole, and used at the next opening',
    async (labels) => {
      await makePool('a');
      const before = capacity();
      await truncate(path('a'), 64 * MiB);
      const { plane } = pool().disks[0] ?? {};
      let written = 0;
      // The process ends in the middle: what follows a label is never written.
      const write = plane?.write.bind(plane);
      if (plane !== undefined && write !== undefined) {
        plane.write = async (offset, data) => {
          if (written === labels) throw new Error('killed');
          written += 1;
          await write(offset, data);
        };
      }
      await pool().lookForGrowth();
      await fixture.restart();
      expect(capacity()).toBe(before + 48 * MiB);
      await fill(40 * MiB);
      await expectFilled(40 * MiB);
      expect((await fixture.pools.check('gold')).findings).toEqual([]);
    },
  );

  test('cut off while it serves: told, and what lay there is an error, never zeroes', async () => {
    await makePool('a');
    await fill(8 * MiB);
    const volume = await fixture.volumes.open('v');
    await truncate(path('a'), 2 * MiB);
    await pool().lookForGrowth();
    await pool().lookForGrowth();
    expect(kinds().filter((kind) => kind === 'disk/cut-off')).toHaveLength(1);
    expect(pool().info().warnings).toContainEqual(
      expect.objectContaining({
        code: 'disk/cut-off',
        level: 'critical',
        message: expect.stringContaining(`${2 * MiB}`),
      }),
    );
    await expect(volume.plane.read(7 * MiB, 4096)).rejects.toMatchObject({ errno: 5 });
    await volume.close();
  });

  test('cut off while it was closed: refused with both numbers', async () => {
    await makePool('a');
    await fixture.restart(() => truncate(path('a'), 8 * MiB));
    const [info] = fixture.pools.list();
    expect(info).toMatchObject({ state: 'failed', warnings: [{ code: 'disk/too-small' }] });
    expect(info?.warnings[0]?.message).toMatch(new RegExp(`${8 * MiB}.*${16 * MiB}`));
    await truncate(path('a'), 16 * MiB);
  });

  test.skipIf(process.getuid?.() !== 0)('a block device that has grown', async () => {
    execFileSync('truncate', ['-s', '16M', path('image')]);
    const device = execFileSync('losetup', ['--find', '--show', path('image')], {
      encoding: 'latin1',
    }).trim();
    try {
      await fixture.pools.create('gold', [`block:${device}`]);
      const before = capacity();
      await truncate(path('image'), 64 * MiB);
      execFileSync('losetup', ['-c', device]);
      await pool().lookForGrowth();
      expect(capacity()).toBe(before + 48 * MiB);
      await fixture.volumes.create({ name: 'v', sizeBytes: 128 * MiB });
      await fill(40 * MiB);
      await expectFilled(40 * MiB);
      await fixture.pools.close();
      await expectNoDamage(device);
    } finally {
      await fixture.pools.close();
      execFileSync('losetup', ['--detach', device]);
    }
  });
});
