/**
 * Goal: whatever a disk refuses, the operator reads a clear error, nothing is left half done, and nothing that was not made
 *   safe is said to be.
 * Method: every operation on pools and volumes while one of two disks has one kind of fault, from its first, third, … such
 *   call on; then the service stops, the disk is healthy again, the check from the disks alone finds no damage, and a new start
 *   serves what was there before or what was asked for.
 */
import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import type { FaultRule } from '../../src/dataplane/binding.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { putRecord } from '../../src/pool/pool-records.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture } from './fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const ENOSPC = 28;
const EIO = { errno: 5 };

const faults: Record<string, FaultRule> = {
  'EIO on write': { op: 'write', kind: 'error' },
  'EIO on sync': { op: 'sync', kind: 'error' },
  'ENOSPC on write': { op: 'write', kind: 'error', error: ENOSPC },
  'a short write': { op: 'write', kind: 'short' },
  'EIO on read': { op: 'read', kind: 'error' },
};
/** Calls that still succeed before the fault. */
const passes = [0, 3];
const faultCases = Object.keys(faults).flatMap((fault) =>
  [0, 1, 2, 4].map((after) => [fault, after] as const),
);

/** What an operator may be told of a disk that goes wrong. */
const clearCodes = ['disk/io', 'pool/failed', 'pool/full', 'disk/unusable', 'pool/damaged'];

interface Operation {
  readonly run: (fixture: Fixture, uri: (name: string) => string) => Promise<unknown>;
  /** The disk's first answers are the operation's: the pool is not open before. */
  readonly exported?: boolean;
  /** Volumes afterwards, when it took place. */
  readonly volumes: readonly string[];
}

const v = { name: 'v', sizeBytes: 8 * MiB };

const operations: Record<string, Operation> = {
  'disk add': { run: ({ pools }, uri) => pools.addDisk('gold', uri('c')), volumes: ['v'] },
  'pool check': { run: ({ pools }) => pools.check('gold'), volumes: ['v'] },
  'pool export': { run: ({ pools }) => pools.export('gold'), volumes: ['v'] },
  'pool import': {
    run: (fixture) => fixture.pools.import(['a', 'b'].map((name) => fixture.path(name))),
    exported: true,
    volumes: ['v'],
  },
  'restart of the service': {
    run: async (fixture) => {
      await fixture.restart();
      fixture.pools.get('gold').expectOnline();
    },
    volumes: ['v'],
  },
  'volume create': {
    run: ({ volumes }) => volumes.create({ ...v, name: 'w' }),
    volumes: ['v', 'w'],
  },
  'volume create --thick': {
    run: ({ volumes }) => volumes.create({ ...v, name: 'w', thick: true }),
    volumes: ['v', 'w'],
  },
  'volume grow': { run: ({ volumes }) => volumes.resize('v', 16 * MiB), volumes: ['v'] },
  'volume rename': { run: ({ volumes }) => volumes.rename('v', 'w'), volumes: ['w'] },
  'volume delete': { run: ({ volumes }) => volumes.delete('v'), volumes: [] },
  'volume map': { run: ({ volumes }) => volumes.map('v', 0, 8 * MiB), volumes: ['v'] },
};

describe('a disk with faults', () => {
  let plane: FaultyPlane;
  let fixture: Fixture;
  beforeEach(async () => {
    plane = new FaultyPlane({ loops: 2 });
    fixture = await Fixture.open({ dataPlane: plane, flushWindowMs: 600_000 });
  });
  afterEach(async () => {
    plane.healAll();
    await fixture.close();
  });

  const path = (name: string) => fixture.path(name);
  const uri = (name: string) => `file:${path(name)}?size=64MiB`;
  const names = () => fixture.volumes.list().map(({ name }) => name);

  async function makePool(): Promise<void> {
    await fixture.pools.create('gold', [uri('a'), uri('b')]);
    await fixture.volumes.create(v);
    await write('v', 0, 1);
  }

  async function write(name: string, offset: number, value: number): Promise<void> {
    const volume = await fixture.volumes.open(name);
    try {
      await volume.plane.write(offset, new Uint8Array(100 * KiB).fill(value));
      await volume.plane.flush();
    } finally {
      await volume.close();
    }
  }

  async function firstByte(name: string, offset = 0): Promise<number | undefined> {
    const volume = await fixture.volumes.open(name);
    const bytes = await volume.plane.read(offset, 1);
    await volume.close();
    return bytes[0];
  }

  async function expectClear(work: Promise<unknown>): Promise<boolean> {
    try {
      await work;
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(StorageError);
      expect(clearCodes).toContain((error as StorageError).code);
      expect((error as StorageError).message).not.toMatch(/undefined|\[object/);
      return false;
    }
  }

  async function expectNoDamage(): Promise<void> {
    const { findings } = await checkOffline(await labelled());
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
  }

  /** Paths of the disks that carry a label. */
  async function labelled(): Promise<string[]> {
    const probes = await Promise.all(['a', 'b', 'c'].map((name) => probeDisk(path(name))));
    return ['a', 'b', 'c'].filter((_, at) => probes[at]?.label != null).map(path);
  }

  /** The service stops with the sick disk and starts with the healthy one. */
  async function recoverAnyhow(): Promise<void> {
    await fixture.pools.close();
    plane.healAll();
    await fixture.start();
  }

  async function recover(): Promise<void> {
    await fixture.pools.close();
    plane.healAll();
    await expectNoDamage();
    await fixture.start();
  }

  async function expectServes(name: string): Promise<void> {
    await write(name, 4 * MiB, 7);
    expect(await firstByte(name)).toBe(1);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  }

  const cases = Object.keys(operations).flatMap((operation) =>
    Object.keys(faults).flatMap((fault) =>
      passes.map((after) => [operation, fault, after] as const),
    ),
  );

  test.each(cases)('%s, %s after %d: told, whole', async (operationName, faultName, after) => {
    const operation = operations[operationName] as Operation;
    const fault = faults[faultName] as FaultRule;
    await makePool();
    if (operation.exported) await fixture.pools.export('gold');
    for (const name of ['a', 'c']) plane.setFaults(path(name), [{ ...fault, after }]);
    const done = await expectClear(operation.run(fixture, uri));
    await recover();
    if (fixture.pools.list().length === 0) await fixture.pools.import(['a', 'b'].map(path));
    expect(fixture.pools.list()).toMatchObject([{ state: 'online' }]);
    // What was refused may have become durable before the disk's answer got lost.
    const allowed = done ? [operation.volumes] : [['v'], operation.volumes];
    expect(allowed).toContainEqual(names());
    const [left] = names();
    if (left !== undefined) await expectServes(left);
  });

  test.each(faultCases)('pool create, %s after %d: no file is left', async (faultName, after) => {
    plane.setFaults(path('b'), [{ ...(faults[faultName] as FaultRule), after }]);
    const done = await expectClear(fixture.pools.create('gold', [uri('a'), uri('b')]));
    plane.healAll();
    if (!done) {
      expect(fixture.pools.list()).toEqual([]);
      expect((await readdir(fixture.folder)).filter((name) => name !== 'state')).toEqual([]);
      await fixture.pools.create('gold', [uri('a'), uri('b')]);
    }
    await fixture.volumes.create(v);
    await write('v', 0, 1);
    await recover();
    await expectServes('v');
  });

  test.each(faultCases)(
    'pool delete, %s after %d: told, gone or whole',
    async (faultName, after) => {
      await fixture.pools.create('gold', [uri('a'), uri('b')]);
      plane.setFaults(path('a'), [{ ...(faults[faultName] as FaultRule), after }]);
      const done = await expectClear(fixture.pools.delete('gold'));
      await recoverAnyhow();
      if (done) expect(fixture.pools.list()).toEqual([]);
      else if (fixture.pools.list().length > 0) await fixture.pools.delete('gold');
      await fixture.pools.create('gold', [uri('a'), uri('b')], { force: !done });
      expect(fixture.pools.list()).toMatchObject([{ state: 'online' }]);
    },
  );

  test('a failed sync is final: no later flush is told to have worked', async () => {
    await makePool();
    const volume = await fixture.volumes.open('v');
    plane.setFaults(path('a'), [{ op: 'sync', kind: 'error', times: 1 }]);
    await volume.plane.write(0, new Uint8Array(100 * KiB).fill(2));
    await expect(volume.plane.flush()).rejects.toMatchObject(EIO);
    plane.healAll();
    await expect(volume.plane.flush()).rejects.toMatchObject(EIO);
    const fua = volume.plane.write(0, new Uint8Array(512).fill(3), { fua: true });
    await expect(fua).rejects.toMatchObject(EIO);
    expect(await volume.plane.read(0, 1)).toHaveLength(1);
    await volume.close();
    expect(fixture.pools.list()).toMatchObject([
      { state: 'failed', warnings: [{ code: 'pool/failed', level: 'critical' }] },
    ]);
    await expect(fixture.volumes.create({ ...v, name: 'w' })).rejects.toMatchObject({
      code: 'pool/failed',
    });
    await recover();
    expect([1, 2]).toContain(await firstByte('v'));
    await write('v', 0, 1);
    await expectServes('v');
  });

  test('one replica of the journal that refuses its records is left behind; all agree again', async () => {
    await makePool();
    plane.setFaults(path('b'), [{ op: 'write', kind: 'short', after: 3 }]);
    let flushed = 0;
    while (flushed < 40 && (await isFlushed(flushed + 1))) flushed += 1;
    expect(flushed).toBeGreaterThan(0);
    const replicas = () =>
      fixture.pools
        .get('gold')
        .info()
        .disks.map(({ journal }) => journal);
    expect(fixture.pools.list()).toMatchObject([{ state: 'online' }]);
    expect(replicas()).toEqual([true, false]);
    await recover();
    expect(replicas()).toEqual([true, true]);
    for (let value = 1; value <= flushed; value++) {
      expect(await firstByte('v', value * 128 * KiB)).toBe(value);
    }
    // Either replica alone tells the same.
    await fixture.pools.close();
    await expectNoDamage();
    const other = await fixture.openPools(path('other-state'));
    await other.import(['a', 'b'].map(path), { takeover: true });
    expect((await other.check('gold')).findings).toEqual([]);
    await other.close();
    await fixture.start();
  });

  /** Into fresh space, so that the map changes. */
  async function isFlushed(value: number): Promise<boolean> {
    try {
      await write('v', value * 128 * KiB, value);
      return true;
    } catch (error) {
      expect(error).toMatchObject(EIO);
      return false;
    }
  }

  const note = (value: number) => [putRecord('note', { value, text: 'x'.repeat(150 * KiB) })];
  const noted = () => fixture.pools.get('gold').record<{ value: number }>('note')?.value ?? 0;

  test('a ring that is full waits for its checkpoint, and goes on', async () => {
    await makePool();
    const pool = fixture.pools.get('gold');
    const { journalBytes } = pool.info();
    const count = Math.ceil((5 * journalBytes) / (150 * KiB));
    await Promise.all(Array.from({ length: count }, (_, at) => pool.commit(note(at + 1))));
    expect(noted()).toBe(count);
    await recover();
    expect(noted()).toBe(count);
    await expectServes('v');
  });

  test.each(
    ['EIO on write', 'ENOSPC on write', 'a short write', 'EIO on sync'].flatMap((fault) =>
      [4, 9, 14, 19, 24, 29].map((after) => [fault, after] as const),
    ),
  )(
    'journal and checkpoints, %s after %d: what was confirmed is there',
    async (faultName, after) => {
      await makePool();
      plane.setFaults(path('a'), [{ ...(faults[faultName] as FaultRule), after }]);
      const pool = fixture.pools.get('gold');
      let confirmed = 0;
      const attempt = async () => {
        for (let value = 1; value <= 40; value++) {
          await pool.commit(note(value));
          confirmed = value;
        }
      };
      await expectClear(attempt());
      await recover();
      expect(noted() - confirmed).toBeOneOf([0, 1]);
      await expectServes('v');
    },
  );
});
