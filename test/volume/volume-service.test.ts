/**
 * Goal: volumes are created, grown, renamed, filled, emptied and deleted as promised, and space adds up.
 * Method: the real data plane on a sparse file; the pool's own check after what changes space.
 */
import { stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DataPlaneError, VolumePlane } from '../../src/dataplane/data-plane.ts';
import { deleteMoveOp, moveOp } from '../../src/volume/moves.ts';
import { fillingOf, fillingOp } from '../../src/volume/records.ts';
import { type OpenVolume, openVolume } from '../../src/volume/volume-service.ts';
import { Fixture, until } from '../pool/fixture.ts';

const ENOSPC = 28;
const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const PiB = 1024 * 1024 * GiB;

describe('volumes', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
    await fixture.pools.create('gold', [`file:${fixture.path('a')}?size=128MiB`]);
  });
  afterEach(() => fixture.close());

  const usedBytes = () => fixture.pools.get('gold').info().usedBytes;
  const isGone = () => fixture.pools.get('gold').records('layer/').length === 0;

  async function expectSound(): Promise<void> {
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  }

  async function write(name: string, offset: number, bytes: number): Promise<void> {
    const volume = await fixture.volumes.open(name);
    try {
      for (let at = 0; at < bytes; at += MiB) {
        const length = Math.min(MiB, bytes - at);
        await volume.plane.write(offset + at, new Uint8Array(length).fill(9));
      }
      await volume.plane.flush();
    } finally {
      await volume.close();
    }
  }

  test('created, listed, shown; again the same: nothing changes', async () => {
    const options = { name: 'v', sizeBytes: PiB };
    const { volume, changed } = await fixture.volumes.create(options);
    expect(changed).toBe(true);
    expect(volume).toMatchObject({ name: 'v', pool: 'gold', sizeBytes: PiB, exclusiveBytes: 0 });
    expect((await fixture.volumes.create(options)).changed).toBe(false);
    expect(fixture.volumes.list()).toEqual([volume]);
    expect(fixture.pools.list()[0]?.promisedBytes).toBe(PiB);
    const other = fixture.volumes.create({ ...options, sizeBytes: GiB });
    await expect(other).rejects.toMatchObject({ code: 'volume/exists' });
  });

  test.each([0, -1, 1, 512, 64 * KiB - 512, MiB + 1, PiB + 512, 1.5, Number.NaN])(
    'size %d is refused',
    async (sizeBytes) => {
      const attempt = fixture.volumes.create({ name: 'v', sizeBytes });
      await expect(attempt).rejects.toMatchObject({ code: 'request/invalid' });
      expect(fixture.volumes.list()).toEqual([]);
    },
  );

  test.each(['', 'v@s', 'a/b', 'Ü', '.x'])('name "%s" is refused', async (name) => {
    const attempt = fixture.volumes.create({ name, sizeBytes: GiB });
    await expect(attempt).rejects.toMatchObject({ code: 'request/invalid' });
  });

  test('an unknown pool and an unknown volume are named', async () => {
    const attempt = fixture.volumes.create({ name: 'v', sizeBytes: GiB, pool: 'none' });
    await expect(attempt).rejects.toMatchObject({ code: 'pool/not-found' });
    expect(() => fixture.volumes.get('none')).toThrow('there is no volume none');
  });

  test('what was never written reads as zero; written space is counted to the cluster', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await write('v', 100, 1);
    const volume = await fixture.volumes.open('v');
    const bytes = await volume.plane.read(0, 4096);
    expect([...bytes].filter((byte) => byte !== 0)).toEqual([9]);
    await volume.close();
    expect(fixture.volumes.get('v').exclusiveBytes).toBe(64 * KiB);
    await expectSound();
  });

  test('deleted: the name is free at once, every cluster comes back, the file shrinks', async () => {
    const before = usedBytes();
    await fixture.volumes.create({ name: 'v', sizeBytes: 400 * GiB });
    await write('v', 300 * GiB, 20 * MiB);
    await write('v', 0, 20 * MiB);
    const allocated = (await stat(fixture.path('a'))).blocks;
    const { freedBytes } = await fixture.volumes.delete('v');
    expect(freedBytes).toBe(40 * MiB);
    expect(fixture.volumes.list()).toEqual([]);
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await until(() => fixture.pools.get('gold').records('volume/').length === 1);
    await until(() => usedBytes() === before);
    await expectSound();
    await fixture.restart();
    expect((await stat(fixture.path('a'))).blocks).toBeLessThan(allocated - 70_000);
  });

  test('a deletion cut off goes on at the next start', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: 400 * GiB });
    for (let at = 0; at < 40; at++) await write('v', at * 10 * GiB, 64 * KiB);
    await fixture.volumes.delete('v');
    await fixture.restart();
    await until(isGone);
    await until(() => usedBytes() < MiB);
    await expectSound();
  });

  test('a full pool: ENOSPC for new space, overwrites go on, space freed is usable at once', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await fixture.volumes.create({ name: 'w', sizeBytes: GiB });
    await write('w', 0, MiB);
    await expect(write('v', 0, GiB)).rejects.toMatchObject({ errno: 28 });
    expect(fixture.pools.get('gold').info().freeBytes).toBeLessThan(2 * MiB);
    expect(fixture.pools.list()[0]?.warnings).toMatchObject([
      { code: 'pool/space', level: 'critical' },
      { code: 'pool/full', level: 'critical' },
    ]);
    await write('w', 0, MiB);
    await expect(write('w', 500 * MiB, 8 * MiB)).rejects.toMatchObject({ errno: 28 });
    const volume = await fixture.volumes.open('v');
    await volume.plane.trim(0, 32 * MiB);
    await volume.plane.flush();
    await volume.close();
    await until(() => fixture.pools.get('gold').info().freeBytes > 30 * MiB);
    await write('w', 500 * MiB, 8 * MiB);
    await expectSound();
    await fixture.volumes.delete('v');
    await fixture.volumes.delete('w');
    await until(isGone);
    await fixture.restart();
    expect(usedBytes()).toBeLessThan(MiB);
  });

  test('a full pool goes on when a disk is added', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await expect(write('v', 0, GiB)).rejects.toMatchObject({ errno: 28 });
    await fixture.pools.addDisk('gold', `file:${fixture.path('b')}?size=128MiB`);
    await write('v', 600 * MiB, 64 * MiB);
    await expectSound();
  });

  test('grown while open, never shrunk', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    const volume = await fixture.volumes.open('v');
    await fixture.volumes.resize('v', 600 * GiB);
    expect(volume.record.sizeBytes).toBe(600 * GiB);
    await volume.plane.write(599 * GiB, Uint8Array.of(1));
    expect([...(await volume.plane.read(599 * GiB, 2))]).toEqual([1, 0]);
    await volume.close();
    const shrink = fixture.volumes.resize('v', GiB);
    await expect(shrink).rejects.toMatchObject({ code: 'volume/shrink' });
    await fixture.restart();
    expect(fixture.volumes.get('v').sizeBytes).toBe(600 * GiB);
  });

  test('renamed; a taken name, and a guarded volume, are refused', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    await fixture.volumes.create({ name: 'w', sizeBytes: GiB });
    await expect(fixture.volumes.rename('v', 'w')).rejects.toMatchObject({ code: 'volume/exists' });
    await fixture.volumes.rename('v', 'x');
    expect(fixture.volumes.list().map(({ name }) => name)).toEqual(['w', 'x']);
    fixture.volumes.addGuard((name) => (name === 'w' ? 'it is exported' : null));
    for (const attempt of [fixture.volumes.rename('w', 'y'), fixture.volumes.delete('w')]) {
      await expect(attempt).rejects.toMatchObject({ code: 'volume/busy' });
    }
    const open = await fixture.volumes.open('x');
    await expect(fixture.volumes.delete('x')).rejects.toMatchObject({ code: 'volume/busy' });
    await open.close();
    await fixture.volumes.delete('x');
  });

  test('dry runs change nothing', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: GiB });
    const dryRun = { dryRun: true };
    await fixture.volumes.create({ name: 'w', sizeBytes: GiB, dryRun: true });
    expect((await fixture.volumes.rename('v', 'x', dryRun)).name).toBe('x');
    expect((await fixture.volumes.resize('v', 2 * GiB, dryRun)).sizeBytes).toBe(2 * GiB);
    await fixture.volumes.delete('v', dryRun);
    expect(fixture.volumes.list()).toMatchObject([{ name: 'v', sizeBytes: GiB }]);
  });

  test('thick: all space at once with progress, or refused up front', async () => {
    const steps: number[] = [];
    const report = (doneBytes: number) => steps.push(doneBytes);
    const options = { name: 'v', sizeBytes: 80 * MiB, thick: true };
    const { volume } = await fixture.volumes.create(options, report);
    expect(steps).toEqual([64 * MiB, 80 * MiB]);
    expect(fixture.volumes.get(volume.name).exclusiveBytes).toBe(80 * MiB);
    expect(await fixture.volumes.map('v', 0, 80 * MiB)).toEqual([
      { offset: 0, length: 80 * MiB, hole: false, zero: true },
    ]);
    const tooLarge = fixture.volumes.create({ name: 'w', sizeBytes: 80 * MiB, thick: true });
    await expect(tooLarge).rejects.toMatchObject({ code: 'pool/full' });
    expect(fixture.volumes.list()).toHaveLength(1);
    await expectSound();
  });

  test('thick, cancelled: the volume is gone and its space free', async () => {
    const cancel = new AbortController();
    const options = { name: 'v', sizeBytes: 100 * MiB, thick: true };
    const attempt = fixture.volumes.create(options, () => cancel.abort(), cancel.signal);
    await expect(attempt).rejects.toMatchObject({ code: 'op/state' });
    expect(fixture.volumes.list()).toEqual([]);
    await until(isGone);
    await expectSound();
  });

  test('thick, cut off and in use: what was written stays when it gets the rest of its space', async () => {
    const options = { name: 'v', sizeBytes: 80 * MiB, thick: true };
    await fixture.volumes.create(options);
    const { pool, record, plane, close } = await fixture.volumes.open('v');
    const data = Buffer.alloc(MiB, 7);
    await plane.write(64 * MiB - 512, data);
    // As it is when a growth was cut off: unaligned, too.
    await pool.commit([fillingOp(record.id, { fromBytes: 64 * MiB - 512 })]);
    await fixture.volumes.create(options);
    expect(fillingOf(pool, record.id)).toBeUndefined();
    expect(await plane.read(64 * MiB - 512, MiB)).toEqual(data);
    await close();
    await expectSound();
  });

  test('thick, of which the creation fails when somebody has opened it: it stays', async () => {
    let opened: OpenVolume | undefined;
    const provision = vi.spyOn(VolumePlane.prototype, 'provision');
    provision.mockImplementationOnce(async () => {
      opened = await fixture.volumes.open('v');
      throw new DataPlaneError(ENOSPC, 'no space');
    });
    const attempt = fixture.volumes.create({ name: 'v', sizeBytes: MiB, thick: true });
    await expect(attempt).rejects.toMatchObject({ code: 'pool/full' });
    provision.mockRestore();
    await opened?.plane.write(0, Buffer.alloc(MiB, 1));
    await opened?.close();
    expect(fixture.volumes.list()).toHaveLength(1);
    await expectSound();
  });

  test('a volume that is opened while it is looked at for its deletion stays', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
    let opened: OpenVolume | undefined;
    fixture.volumes.setDependents(async () => {
      opened = await fixture.volumes.open('v');
      return { ops: [], freedBytes: 0, expectUnused: () => {} };
    });
    await expect(fixture.volumes.delete('v')).rejects.toMatchObject({ code: 'volume/busy' });
    await opened?.close();
    expect(fixture.volumes.list()).toHaveLength(1);
  });

  test('a volume that has left for another pool meanwhile is not opened', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
    const found = fixture.volumes.find('v');
    const { pool, record } = found;
    const switching = { volumes: [record.id], names: ['v'], pairs: [], layers: [], until: null };
    const target = { uuid: 'another', name: 'silver' };
    await pool.commit([moveOp({ id: 'm', volume: record.id, target, switching })]);
    await expect(openVolume(found)).rejects.toMatchObject({ code: 'volume/busy' });
    expect(pool.isVolumeOpen(`v${record.id}`)).toBe(false);
    await pool.commit([deleteMoveOp('m')]);
  });

  test('a volume that is deleted while it is opened is not there', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
    const pool = fixture.pools.get('gold');
    const commit = pool.commit.bind(pool);
    let opening: Promise<unknown> | undefined;
    pool.commit = async (ops) => {
      opening ??= fixture.volumes.open('v').catch((error: unknown) => error);
      await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 200))]);
      return commit(ops);
    };
    await fixture.volumes.delete('v');
    expect(await opening).toMatchObject({ code: 'volume/not-found' });
  });

  test('the map tells data from holes', async () => {
    await fixture.volumes.create({ name: 'v', sizeBytes: PiB });
    await write('v', 4 * MiB, MiB);
    const map = await fixture.volumes.map('v', 0, PiB);
    expect(map).toEqual([
      { offset: 0, length: 4 * MiB, hole: true, zero: true },
      { offset: 4 * MiB, length: MiB, hole: false, zero: false },
      { offset: 5 * MiB, length: PiB - 5 * MiB, hole: true, zero: true },
    ]);
    const outside = fixture.volumes.map('v', PiB - 1, 2);
    await expect(outside).rejects.toMatchObject({ code: 'request/invalid' });
  });
});
