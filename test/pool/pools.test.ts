/**
 * Goal: a pool is created, served, closed, lost and found as promised, and bad input changes nothing.
 * Method: the real data plane on sparse files.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { encodeLabel, type Label, labelOffset, newestLabel } from '../../src/pool/format/label.ts';
import { deleteRecord, putRecord } from '../../src/pool/pool-records.ts';
import { Salvage } from '../../src/pool/salvage/salvage.ts';
import { Fixture, ManualClock } from './fixture.ts';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

describe('pools', () => {
  let clock: ManualClock;
  let fixture: Fixture;
  beforeEach(async () => {
    clock = new ManualClock();
    fixture = await Fixture.open({ clock });
  });
  afterEach(() => fixture.close());

  const uri = (name: string, size = '256MiB') => `file:${fixture.path(name)}?size=${size}`;
  const create = (...names: string[]) =>
    fixture.pools.create(
      'gold',
      names.map((name) => uri(name)),
    );

  async function writePattern(value: number): Promise<void> {
    const volume = await fixture.volumes.open('v');
    for (let at = 0; at < 8; at++) {
      await volume.plane.write(at * 513 * MiB, new Uint8Array(300_000).fill(value + at));
    }
    await volume.plane.flush();
    await volume.close();
  }

  async function expectPattern(value: number): Promise<void> {
    const volume = await fixture.volumes.open('v');
    for (let at = 0; at < 8; at++) {
      const bytes = await volume.plane.read(at * 513 * MiB, 300_001);
      expect(bytes.subarray(0, 300_000).every((byte) => byte === value + at)).toBe(true);
      expect(bytes[300_000]).toBe(0);
    }
    await volume.close();
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  }

  test('created again with the same disks: nothing changes', async () => {
    const first = await create('a', 'b');
    expect(first.changed).toBe(true);
    expect(first.pool.disks.map((disk) => disk.journal)).toEqual([true, true]);
    const again = await create('b', 'a');
    expect(again).toMatchObject({ changed: false, pool: { uuid: first.pool.uuid } });
    await expect(create('c')).rejects.toMatchObject({ code: 'pool/exists' });
  });

  test('an empty file, as a making that was cut off leaves it, becomes the disk; one with content does not', async () => {
    await writeFile(fixture.path('a'), '');
    await writeFile(fixture.path('b'), 'x');
    await expect(create('b')).rejects.toMatchObject({ code: 'disk/unusable' });
    expect(await readFile(fixture.path('b'), 'utf8')).toBe('x');
    expect((await create('a')).pool.disks[0]?.sizeBytes).toBe(256 * MiB);
  });

  test('capacity is used, free and reserve together', async () => {
    const { pool } = await create('a');
    expect(pool.capacityBytes).toBe(pool.usedBytes + pool.freeBytes + pool.reserveBytes);
    expect(pool.freeBytes).toBeGreaterThan(200 * MiB);
  });

  test('a dry run makes nothing', async () => {
    const options = { dryRun: true };
    const { pool } = await fixture.pools.create('gold', [uri('a')], options);
    expect(pool.freeBytes).toBeGreaterThan(200 * MiB);
    expect(fixture.pools.list()).toEqual([]);
    await expect(stat(fixture.path('a'))).rejects.toThrow();
  });

  test('four disks: three carry the journal', async () => {
    const { pool } = await create('a', 'b', 'c', 'd');
    expect(pool.disks.filter((disk) => disk.journal)).toHaveLength(3);
  });

  test.each([
    ['a directory', async (path: string) => void (await mkdir(path)), 'disk/unusable'],
    ['too small', (path: string) => writeFile(path, new Uint8Array(100_000)), 'disk/too-small'],
    ['another file system', writeExt4, 'disk/in-use'],
  ])('a disk that is %s is refused and left as it is', async (_what, make, code) => {
    const path = fixture.path('bad');
    await make(path);
    const before = await contentHash(path);
    const attempt = fixture.pools.create('gold', [uri('good'), path]);
    await expect(attempt).rejects.toMatchObject({ code });
    expect(await contentHash(path)).toBe(before);
    await expect(stat(fixture.path('good'))).rejects.toThrow();
    expect(fixture.pools.list()).toEqual([]);
  });

  test('a missing file without a size, a missing folder, one disk twice', async () => {
    const missing = fixture.pools.create('gold', [fixture.path('none')]);
    await expect(missing).rejects.toMatchObject({ code: 'disk/unusable' });
    const noFolder = fixture.pools.create('gold', [uri('no/folder')]);
    await expect(noFolder).rejects.toMatchObject({ code: 'disk/unusable' });
    await writeFile(fixture.path('a'), new Uint8Array(0));
    const file = await open(fixture.path('a'), 'r+');
    await file.truncate(256 * MiB);
    await file.close();
    await symlink(fixture.path('a'), fixture.path('link'));
    const twice = fixture.pools.create('gold', [fixture.path('a'), fixture.path('link')]);
    await expect(twice).rejects.toMatchObject({ code: 'request/invalid' });
  });

  test('a disk of another pool is refused; of a served one even by force', async () => {
    await create('a');
    const path = fixture.path('a');
    const refused = fixture.pools.create('other', [path]);
    await expect(refused).rejects.toMatchObject({ code: 'disk/in-use' });
    const forced = fixture.pools.create('other', [path], { force: true });
    await expect(forced).rejects.toMatchObject({ code: 'disk/in-use' });
    await fixture.pools.export('gold');
    await expect(fixture.pools.create('other', [path])).rejects.toMatchObject({
      code: 'disk/in-use',
    });
    const { changed } = await fixture.pools.create('other', [path], { force: true });
    expect(changed).toBe(true);
  });

  test.each(['', 'a@b', 'a/b', 'UPPER', '-x', 'x'.repeat(64)])(
    'name "%s" is refused',
    async (name) => {
      const attempt = fixture.pools.create(name, [uri('a')]);
      await expect(attempt).rejects.toMatchObject({ code: 'request/invalid' });
    },
  );

  test('data survives a restart', async () => {
    await create('a', 'b');
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(1);
    await fixture.restart();
    await expectPattern(1);
    expect(fixture.events.map(({ kind }) => kind)).not.toContain('pool/index-rebuilt');
  });

  test('without the index folder the pool comes back from its disks', async () => {
    await create('a', 'b');
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(2);
    const { uuid } = fixture.pools.get('gold');
    await fixture.restart(() =>
      rm(`${fixture.stateDir}/pools/${uuid}/index`, { recursive: true, force: true }),
    );
    expect(fixture.events.map(({ kind }) => kind)).toContain('pool/index-rebuilt');
    await expectPattern(2);
    await writePattern(3);
    await fixture.restart();
    await expectPattern(3);
  });

  test('an index that LevelDB cannot open is built anew', async () => {
    await create('a');
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(2);
    const { uuid } = fixture.pools.get('gold');
    await fixture.restart(async () => {
      const current = `${fixture.stateDir}/pools/${uuid}/index/CURRENT`;
      await writeFile(current, 'MANIFEST-999999\n');
    });
    expect(fixture.events.map(({ kind }) => kind)).toContain('pool/index-rebuilt');
    await expectPattern(2);
  });

  test('a damaged leaf fails its reads only, and is mended by the next start', async () => {
    await create('a');
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(6);
    const { uuid } = fixture.pools.get('gold');
    await fixture.restart(() => flipLeaf(`${fixture.stateDir}/pools/${uuid}/index`));
    const volume = await fixture.volumes.open('v');
    await expect(volume.plane.read(0, 4096)).rejects.toMatchObject({ errno: 5 });
    expect((await volume.plane.read(7 * 513 * MiB, 1))[0]).toBe(13);
    await volume.close();
    expect(fixture.pools.list()[0]?.warnings).toMatchObject([{ code: 'pool/index' }]);
    await fixture.restart();
    await expectPattern(6);
    expect(fixture.pools.list()[0]?.warnings).toEqual([]);
  });

  test('exported, then imported by another host from the disks alone', async () => {
    await create('a', 'b');
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(4);
    await fixture.pools.export('gold');
    expect(fixture.pools.list()).toEqual([]);
    const other = await fixture.openPools(fixture.path('other-state'));
    const info = await other.import([fixture.path('b'), fixture.path('a')]);
    expect(info).toMatchObject({ name: 'gold', promisedBytes: 10 * GiB });
    expect((await other.check('gold')).findings).toEqual([]);
    await other.export('gold');
    await other.close();
    await fixture.pools.import([fixture.path('a'), fixture.path('b')]);
    await expectPattern(4);
  });

  test('a label that is of no member of its pool is told by check, salvage and import', async () => {
    await create('a');
    await fixture.pools.export('gold');
    const path = fixture.path('a');
    await editLabels(path, () => ({ diskNumber: 31 }));
    const { findings } = await checkOffline([path]);
    expect(findings).toContainEqual(
      expect.objectContaining({ severity: 'damage', code: 'label/none' }),
    );
    await expect(Salvage.open([path])).rejects.toMatchObject({ code: 'pool/damaged' });
    await expect(fixture.pools.import([path])).rejects.toMatchObject({ code: 'pool/disk-missing' });
  });

  test('import names what is missing, foreign or no disk at all', async () => {
    await create('a', 'b');
    await fixture.pools.create('silver', [uri('s')]);
    await fixture.pools.export('gold');
    await fixture.pools.export('silver');
    const imported = (...names: string[]) =>
      fixture.pools.import(names.map((name) => fixture.path(name)));
    await expect(imported('a')).rejects.toMatchObject({ code: 'pool/disk-missing' });
    await expect(imported('a', 's')).rejects.toMatchObject({ code: 'disk/unusable' });
    await writeFile(fixture.path('junk'), new Uint8Array(MiB));
    await expect(imported('junk')).rejects.toMatchObject({ code: 'disk/unusable' });
    await imported('a', 'b');
  });

  test('import of a pool with names in use is refused up front; both names go their ways', async () => {
    await fixture.pools.create('gold', [uri('a', '32MiB'), uri('b', '32MiB')]);
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await fixture.volumes.create({ name: 'w', sizeBytes: GiB });
    const served = (title: string) => [putRecord(`export/${title}`, { name: title })];
    await fixture.pools.get('gold').commit(served('x'));
    const { uuid } = fixture.pools.get('gold');
    await fixture.pools.export('gold');
    await fixture.pools.create('silver', [uri('s')]);
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB, pool: 'silver' });
    await fixture.pools.get('silver').commit(served('x'));
    const paths = [fixture.path('a'), fixture.path('b')];
    const before = await Promise.all(paths.map(contentHash));
    for (const dryRun of [true, false]) {
      const refused = fixture.pools.import(paths, { dryRun });
      await expect(refused).rejects.toMatchObject({
        code: 'volume/exists',
        message: expect.stringContaining('volume v, export x'),
        actions: expect.arrayContaining(['varve volume rename v NEW-NAME']),
      });
    }
    expect(await Promise.all(paths.map(contentHash))).toEqual(before);
    await expect(stat(`${fixture.stateDir}/pools/${uuid}`)).rejects.toThrow();
    await fixture.volumes.rename('v', 'v2');
    await fixture.pools.get('silver').commit([deleteRecord('export/x')]);
    await fixture.pools.import(paths);
    expect(fixture.volumes.list().map(({ name }) => name)).toEqual(['v', 'v2', 'w']);
  });

  test("a pool that was away while its volume's name was taken stays closed until it is free", async () => {
    await create('a');
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await fixture.pools.create('silver', [uri('s')]);
    await fixture.restart(() => rename(fixture.path('a'), fixture.path('away')));
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB, pool: 'silver' });
    await fixture.restart(() => rename(fixture.path('away'), fixture.path('a')));
    expect(
      fixture.pools
        .list()
        .map(({ state }) => state)
        .sort(),
    ).toEqual(['failed', 'online']);
    expect(fixture.volumes.list()).toHaveLength(1);
    await fixture.volumes.rename('v', 'v2');
    await fixture.restart();
    expect(fixture.volumes.list().map(({ name }) => name)).toEqual(['v', 'v2']);
  });

  test('another host waits for the lease to end, or takes over and fences', async () => {
    await create('a');
    const { uuid } = fixture.pools.get('gold');
    await fixture.pools.close();
    await forgeHeartbeat(fixture.path('a'), clock.nowMs());
    const other = await fixture.openPools(fixture.path('other-state'));
    const held = other.import([fixture.path('a')]);
    await expect(held).rejects.toMatchObject({ code: 'pool/held' });
    clock.advance(31_000);
    await other.import([fixture.path('a')]);
    await other.close();
    await fixture.start();
    // Nobody has it open now, but it is the other host's: only who asks for it gets it.
    expect(fixture.pools.list()).toMatchObject([
      { state: 'failed', warnings: [{ code: 'pool/held' }] },
    ]);
    await fixture.pools.import([fixture.path('a')]);
    expect(fixture.pools.list()).toMatchObject([{ uuid, state: 'online' }]);
    expect(fixture.events.map(({ kind }) => kind)).toContain('pool/index-rebuilt');
  });

  test('a service that lost its lease stops the pool', async () => {
    await create('a');
    const pool = fixture.pools.get('gold');
    await raiseEpoch(fixture.path('a'));
    clock.advance(5_000);
    await expect.poll(() => pool.info().state, { interval: 1 }).toBe('failed');
    await expect(fixture.volumes.create({ name: 'v', sizeBytes: GiB })).rejects.toMatchObject({
      code: 'pool/failed',
    });
  });

  test('a pool whose disk is gone is listed as failed, the other one serves', async () => {
    await create('a');
    await fixture.pools.create('silver', [uri('s')]);
    await fixture.restart(() => rm(fixture.path('a')));
    expect(fixture.pools.list()).toMatchObject([
      { name: 'gold', state: 'failed' },
      { name: 'silver', state: 'online' },
    ]);
    expect(() => fixture.pools.get('gold')).toThrow(/cannot be opened/);
  });

  test('a disk added while serving takes data and stays', async () => {
    await create('a');
    const before = fixture.pools.get('gold').info().freeBytes;
    const disk = await fixture.pools.addDisk('gold', uri('b', '512MiB'));
    expect(disk).toMatchObject({ number: 1, journal: true });
    expect(fixture.pools.get('gold').info().freeBytes).toBeGreaterThan(before + 500 * MiB);
    await fixture.volumes.create({ name: 'v', sizeBytes: 10 * GiB });
    await writePattern(5);
    await fixture.restart();
    await expectPattern(5);
    expect(fixture.pools.get('gold').info().disks).toHaveLength(2);
    await fixture.pools.export('gold');
    const alone = fixture.pools.import([fixture.path('a')]);
    await expect(alone).rejects.toMatchObject({ code: 'pool/disk-missing' });
    await fixture.pools.import([fixture.path('a'), fixture.path('b')]);
    await expectPattern(5);
  });

  test('a pool with volumes is not deleted; an empty one leaves no label', async () => {
    await create('a');
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await expect(fixture.pools.delete('gold')).rejects.toMatchObject({ code: 'pool/not-empty' });
    await fixture.volumes.delete('v');
    await fixture.pools.delete('gold');
    await fixture.restart();
    expect(fixture.pools.list()).toEqual([]);
    expect((await create('a')).changed).toBe(true);
  });
});

async function writeExt4(path: string): Promise<void> {
  const file = await open(path, 'w');
  await file.truncate(256 * MiB);
  await file.write(Uint8Array.of(0x53, 0xef), 0, 2, 1024 + 56);
  await file.close();
}

async function contentHash(path: string): Promise<string | undefined> {
  const content = await readFile(path).catch(() => undefined);
  return content && createHash('sha256').update(content).digest('hex');
}

/** Flips a bit of the first leaf that an index stores. */
async function flipLeaf(indexPath: string): Promise<void> {
  const db = new Level<Uint8Array, Uint8Array>(indexPath, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const [entry] = await db
    .iterator({ gte: Buffer.from('L'), lt: Buffer.from('M'), limit: 1 })
    .all();
  if (entry === undefined) throw new Error('the index has no leaf');
  const [key, value] = entry;
  value[3] = (value[3] as number) ^ 1;
  await db.put(key, value);
  await db.close();
}

/** Writes the next label as another host would have. */
async function editLabels(path: string, change: (label: Label) => Partial<Label>): Promise<void> {
  const file = await open(path, 'r+');
  const bytes = new Uint8Array(8192);
  await file.read(bytes, 0, 8192, 0);
  const label = newestLabel(bytes.subarray(0, 4096), bytes.subarray(4096));
  const next = { ...label, ...change(label), generation: label.generation + 1 };
  await file.write(encodeLabel(next), 0, 4096, labelOffset(next.generation));
  await file.close();
}

function forgeHeartbeat(path: string, heartbeatMs: number): Promise<void> {
  return editLabels(path, () => ({ heartbeatMs }));
}

function raiseEpoch(path: string): Promise<void> {
  return editLabels(path, ({ epoch }) => ({ epoch: epoch + 1 }));
}
