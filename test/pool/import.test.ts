/**
 * Goal: an import that is refused says what is wrong and what to do, and has written nothing at all.
 * Method: pools on files, let go or left behind by a dead host, are imported in every wrong way; all files that were named are compared with
 *   what they were, also in their times.
 */
import { createHash } from 'node:crypto';
import { copyFile, open, readdir, readFile, stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { encodeLabel, labelOffset, newestLabel } from '../../src/pool/format/label.ts';
import type { Pools } from '../../src/pool/pools.ts';
import { Fixture, ManualClock } from './fixture.ts';

const MiB = 1024 * 1024;

describe('an import that is refused', () => {
  let clock: ManualClock;
  let fixture: Fixture;
  let other: Pools;
  beforeEach(async () => {
    clock = new ManualClock();
    fixture = await Fixture.open({ clock });
    await create('gold', 'a', 'b', 'c', 'd');
    await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB, pool: 'gold' });
    other = await fixture.openPools(fixture.path('other-state'));
  });
  afterEach(async () => {
    await other.close();
    await fixture.close();
  });

  const path = (name: string) => fixture.path(name);
  const create = (pool: string, ...names: string[]) =>
    fixture.pools.create(
      pool,
      names.map((name) => `file:${path(name)}?size=128MiB`),
    );

  async function state(names: readonly string[]): Promise<string[]> {
    return Promise.all(
      names.map(async (name) => {
        const { mtimeMs } = await stat(path(name));
        return `${mtimeMs} ${createHash('sha256')
          .update(await readFile(path(name)))
          .digest('hex')}`;
      }),
    );
  }

  /** Tries it for real and as a dry run. */
  async function expectRefused(
    names: readonly string[],
    code: string,
    message: RegExp,
    takeover = false,
  ): Promise<StorageError> {
    const before = await state(names);
    const uris = names.map(path);
    const error = await other.import(uris, { takeover }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageError);
    const refused = error as StorageError;
    expect(refused).toMatchObject({ code, message: expect.stringMatching(message) });
    const dry = other.import(uris, { takeover, dryRun: true });
    await expect(dry).rejects.toMatchObject({ code });
    expect(await state(names)).toEqual(before);
    expect(await readdir(path('other-state/pools'))).toEqual([]);
    return refused;
  }

  /** Writes to the newest label of a disk, as a host that is not there. */
  async function forge(name: string, change: object): Promise<void> {
    const file = await open(path(name), 'r+');
    const copies = Buffer.alloc(8192);
    await file.read(copies, 0, copies.length, 0);
    const label = newestLabel(copies.subarray(0, 4096), copies.subarray(4096));
    await file.write(encodeLabel({ ...label, ...change }), 0, 4096, labelOffset(label.generation));
    await file.close();
  }

  test('while the owner’s lease lives names the host and the time left', async () => {
    await fixture.pools.close();
    const owner = '11111111-2222-4333-8444-555555555555';
    for (const name of ['a', 'b', 'c', 'd']) await forge(name, { owner, heartbeatMs: 0 });
    // Only one of the disks took the last heartbeat.
    await forge('c', { owner, heartbeatMs: clock.nowMs() - 12_000 });
    const error = await expectRefused(
      ['a', 'b', 'c', 'd'],
      'pool/held',
      new RegExp(`held by host ${owner}, heard of 12 s ago; its lease ends in 18 s`),
    );
    expect(error.actions.join()).toMatch(/--takeover/);
    clock.advance(18_000);
    expect(await other.import(['a', 'b', 'c', 'd'].map(path))).toMatchObject({ state: 'online' });
  });

  test('with disks missing says which they are and where they were', async () => {
    const [uuid] = fixture.pools
      .list()
      .flatMap(({ disks }) => disks.slice(1, 2))
      .map((d) => d.uuid);
    await fixture.pools.export('gold');
    const error = await expectRefused(
      ['a', 'c'],
      'pool/disk-missing',
      new RegExp(`lacks 2 disks: number 1 \\(${uuid}, last at file:${path('b')}\\), number 3 `),
    );
    expect(error.actions[0]).toBe(
      `varve pool import ${path('a')} ${path('c')} file:${path('b')} file:${path('d')}`,
    );
    await expectRefused(['a', 'b', 'c'], 'pool/disk-missing', /lacks a disk: number 3 /);
    // The only disk without a journal knows no records.
    await expectRefused(['d'], 'pool/disk-missing', /missing: number 0, 1, 2/);
  });

  test('of disks of two pools says whose they are', async () => {
    await create('silver', 's');
    await fixture.pools.export('gold');
    await fixture.pools.export('silver');
    await expectRefused(['a', 'b', 'c', 'd', 's'], 'disk/unusable', /belongs to pool silver/);
  });

  test('of one disk named twice', async () => {
    await fixture.pools.export('gold');
    const twice = other.import([path('a'), path('b'), `file:${path('a')}`]);
    await expect(twice).rejects.toMatchObject({ code: 'request/invalid' });
  });

  test('of a disk and its copy', async () => {
    await fixture.pools.export('gold');
    await copyFile(path('b'), path('copy'));
    const names = ['a', 'b', 'c', 'd', 'copy'];
    await expectRefused(names, 'disk/unusable', /both disk 1 of pool gold: one of them is a copy/);
  });

  test('of a disk that was away while the pool was in use', async () => {
    await fixture.pools.export('gold');
    await copyFile(path('d'), path('old'));
    await fixture.pools.import(['a', 'b', 'c', 'd'].map(path));
    await fixture.volumes.create({ name: 'w', sizeBytes: 64 * MiB, pool: 'gold' });
    await fixture.pools.export('gold');
    await expectRefused(['a', 'b', 'c', 'old'], 'disk/unusable', /older than the others/);
    await expectRefused(['a', 'b', 'c', 'old'], 'disk/unusable', /older than the others/, true);
  });

  test('of a pool whose checkpoint is damaged', async () => {
    await fixture.pools.export('gold');
    for (const name of ['a', 'b', 'c']) {
      const file = await open(path(name), 'r+');
      const copies = Buffer.alloc(8192);
      await file.read(copies, 0, copies.length, 0);
      const { checkpoint, clusterBytes } = newestLabel(
        copies.subarray(0, 4096),
        copies.subarray(4096),
      );
      const at = (checkpoint?.firstCluster ?? 0) * clusterBytes;
      await file.write(Buffer.alloc(4096, 0xee), 0, 4096, at);
      await file.close();
    }
    await expectRefused(['a', 'b', 'c', 'd'], 'pool/damaged', /no replica of the checkpoint/);
  });
});
