/**
 * Goal: a file system that runs full below a sparse disk file is no error of a client, once somebody has made room.
 * Method: a real ext4 on a loop device, filled up by a file of ours while a volume is written, which is then removed.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fixture, until } from './fixture.ts';

const MiB = 1024 * 1024;
const writtenMiB = 24;

describe.skipIf(process.getuid?.() !== 0)('a file system that runs full below a disk', () => {
  let fixture: Fixture;
  let folder: string;
  beforeEach(async () => {
    fixture = await Fixture.open({ patienceSeconds: 3600 });
    folder = fixture.path('small');
    await mkdir(folder);
    execFileSync('truncate', ['-s', '64M', fixture.path('image')]);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', fixture.path('image')]);
    execFileSync('mount', ['-o', 'loop', fixture.path('image'), folder]);
  });
  afterEach(async () => {
    await fixture.stop();
    execFileSync('umount', [folder]);
    await fixture.close();
  });

  test('what finds no room waits, what is there is read, and all of it is written when there is room', async () => {
    await fixture.pools.create('gold', [`file:${folder}/disk?size=256MiB`]);
    await fixture.volumes.create({ name: 'v', sizeBytes: 128 * MiB });
    const volume = await fixture.volumes.open('v');
    await volume.plane.write(0, new Uint8Array(MiB).fill(1));
    await volume.plane.flush();
    const ballast = `${folder}/ballast`;
    const [blocks = 0, blockBytes = 0] = execFileSync('stat', ['-f', '-c', '%a %S', folder], {
      encoding: 'latin1',
    })
      .split(' ')
      .map(Number);
    execFileSync('fallocate', ['-l', String(blocks * blockBytes - 4 * MiB), ballast]);
    const kinds = () => fixture.events.map(({ kind }) => kind);
    const writes = Array.from({ length: writtenMiB }, (_, at) =>
      volume.plane.write((1 + at) * MiB, new Uint8Array(MiB).fill(2 + at)),
    );
    await until(() => kinds().includes('disk/suspended'));
    expect(fixture.pools.list()).toMatchObject([
      {
        state: 'online',
        warnings: [{ code: 'disk/suspended', message: expect.stringContaining('No space left') }],
      },
    ]);
    expect((await volume.plane.read(0, 1))[0]).toBe(1);
    await rm(ballast);
    await Promise.all(writes);
    await volume.plane.flush();
    for (let at = 0; at <= writtenMiB; at++) {
      const bytes = await volume.plane.read(at * MiB, MiB);
      expect(bytes.every((byte) => byte === 1 + at)).toBe(true);
    }
    await until(() => kinds().includes('disk/resumed'));
    expect(kinds()).not.toContain('disk/failed');
    await volume.close();
  });
});
