/**
 * Goal: a disk that stops taking the journal, while another replica takes it, stalls nobody for longer than a moment: the pool goes on without its
 *   replica, loses nothing by it whatever becomes of the disk or of the service, and begins it again by itself.
 * Method: the real data plane on disks with faults on demand; data lies on the first disk, so that the others carry nothing but replicas. Every
 *   step waits for an answer, a label or an event. A dead service is a copy of its disks.
 */
import { copyFile, open } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FaultRule } from '../../src/dataplane/binding.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import type { Label } from '../../src/pool/format/label.ts';
import type { Pools } from '../../src/pool/pools.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { type OpenVolume, VolumeService } from '../../src/volume/volume-service.ts';
import { FaultyPlane } from './faulty-plane.ts';
import { Fixture, until } from './fixture.ts';

const MiB = 1024 * 1024;
const clusterBytes = 64 * 1024;
const endlessSeconds = 86_400;

describe('a replica that lags', () => {
  let plane: FaultyPlane;
  let fixture: Fixture;
  let volume: OpenVolume;
  let writes = 0;
  let hosts = 0;
  let copies = 0;
  beforeEach(async () => {
    writes = 0;
    plane = new FaultyPlane({ loops: 2 });
    fixture = await Fixture.open({ dataPlane: plane, patienceSeconds: endlessSeconds });
  });
  afterEach(async () => {
    plane.healAll();
    await fixture.close();
  });

  const path = (name: string) => fixture.path(name);
  const pool = () => fixture.pools.get('gold');
  const info = () => pool().info();
  const kinds = () => fixture.events.map(({ kind }) => kind);
  const journals = () =>
    info()
      .disks.filter(({ journal }) => journal)
      .map(({ number }) => number);
  const lost = () =>
    info()
      .disks.filter(({ journalLost }) => journalLost)
      .map(({ number }) => number);

  /** Data goes to the first disk alone. */
  async function create(names: readonly string[], patienceSeconds = endlessSeconds) {
    const uris = names.map((name) => `file:${path(name)}?size=64MiB`);
    await fixture.pools.create('gold', uris, { patienceSeconds });
    for (const number of names.keys()) {
      if (number > 0) await pool().placeDisk(number, { class: null, cordoned: true });
    }
    await fixture.volumes.create({ name: 'v', sizeBytes: 32 * MiB });
    volume = await fixture.volumes.open('v');
    await write();
  }

  /** Into fresh space, so that the journal has something to write; durable when it resolves. */
  async function write(): Promise<void> {
    writes += 1;
    const bytes = new Uint8Array(clusterBytes).fill(writes);
    await volume.plane.write(writes * clusterBytes, bytes, { fua: true });
  }

  async function expectWrites(opened: OpenVolume): Promise<void> {
    for (let n = 1; n <= writes; n++) {
      expect((await opened.plane.read(n * clusterBytes, 1))[0]).toBe(n);
    }
  }

  /** In place: only its map changes go to the journal, of which a trim makes one. */
  async function overwrite(): Promise<void> {
    await volume.plane.trim(0, clusterBytes);
    await volume.plane.write(0, new Uint8Array(clusterBytes), { fua: true });
  }

  async function wipeRing(disk: string): Promise<void> {
    const label = (await probeDisk(disk)).label as Label;
    const file = await open(disk, 'r+');
    await file.write(
      new Uint8Array(label.journalBytes),
      0,
      label.journalBytes,
      label.journalOffset,
    );
    await file.close();
  }

  const fail = (op: FaultRule['op']) => [{ op, kind: 'error' }] as const;
  const hang = (op: FaultRule['op']) => [{ op, kind: 'hang' }] as const;

  /** Its label and everything else of it, as if the machine had stopped right now. */
  async function killed(names: readonly string[]): Promise<string[]> {
    return Promise.all(
      names.map(async (name) => {
        copies += 1;
        const copy = path(`${name}-killed-${copies}`);
        await copyFile(path(name), copy);
        return copy;
      }),
    );
  }

  /** As another host does, which believes the owner dead; its pools are open during `work`. */
  async function elsewhere(work: (pools: Pools) => Promise<void>): Promise<void> {
    hosts += 1;
    const pools = await fixture.openPools(path(`host-${hosts}`));
    try {
      await work(pools);
    } finally {
      await pools.close();
    }
  }

  async function importKilled(disks: readonly string[]): Promise<void> {
    const { findings } = await checkOffline(disks);
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    await elsewhere(async (pools) => {
      await pools.import(disks, { takeover: true });
      const volumes = new VolumeService({ pools, clock: fixture.clock, emit() {} });
      const opened = await volumes.open('v');
      await expectWrites(opened);
      await opened.close();
      expect((await pools.check('gold')).findings).toEqual([]);
      const replicas = pools
        .get('gold')
        .info()
        .disks.filter(({ journal }) => journal);
      expect(replicas).toHaveLength(Math.min(disks.length, 3));
    });
  }

  test.each([
    ['a write that hangs', hang('write')],
    ['a sync that hangs', hang('sync')],
    ['everything hangs', hang('any')],
  ])('%s: flushes go on, and nothing is lost', async (_, rules) => {
    await create(['a', 'b']);
    const stale = await killed(['b']);
    plane.setFaults(path('b'), rules);
    await write();
    expect(kinds()).toContain('pool/journal-replica-lost');
    expect([journals(), lost()]).toEqual([[0], [1]]);
    expect(info()).toMatchObject({
      state: 'online',
      warnings: expect.arrayContaining([
        expect.objectContaining({ code: 'pool/journal-replica', level: 'critical' }),
      ]),
    });
    for (let n = 0; n < 3; n++) await write();
    const [a, b] = (await killed(['a', 'b'])) as [string, string];
    expect((await probeDisk(b)).label?.journalBytes).toBeGreaterThan(0);
    await importKilled([a, b]);
    await elsewhere(async (pools) => {
      const alone = pools.import(stale, { takeover: true });
      await expect(alone).rejects.toMatchObject({ code: 'pool/disk-missing' });
    });
  });

  test('it begins again when the disk answers, and is whole', async () => {
    await create(['a', 'b', 'c']);
    plane.setFaults(path('c'), hang('any'));
    await write();
    expect([journals(), lost()]).toEqual([[0, 1], [2]]);
    await write();
    plane.setFaults(path('c'), []);
    await until(() => kinds().includes('pool/journal-replica-begun'));
    expect([journals(), lost(), info().warnings]).toEqual([[0, 1, 2], [], []]);
    await write();
    await importKilled(await killed(['a', 'b', 'c']));
    // As if it had never been away: the rings of the others are no longer there.
    const left = await killed(['a', 'b', 'c']);
    for (const disk of left.slice(0, 2)) await wipeRing(disk);
    await importKilled(left);
  });

  test('it is lost again, and each time what was flushed meanwhile is there', async () => {
    await create(['a', 'b']);
    for (let n = 1; n <= 2; n++) {
      plane.setFaults(path('b'), hang('write'));
      await write();
      expect(lost()).toEqual([1]);
      await importKilled(await killed(['a', 'b']));
      plane.setFaults(path('b'), []);
      await until(
        () => kinds().filter((kind) => kind === 'pool/journal-replica-begun').length === n,
      );
      await write();
      await importKilled(await killed(['a', 'b']));
    }
  });

  test('checkpoints go on without it, so that the journal does not become full', async () => {
    await create(['a', 'b']);
    plane.setFaults(path('b'), hang('any'));
    const { journalBytes } = info();
    for (let bytes = 0; bytes < 2 * journalBytes; bytes += 4096) await overwrite();
    await importKilled(await killed(['a', 'b']));
  });

  test('a disk that is given up is no reason to stop, whether the journal is written or not', async () => {
    await create(['a', 'b', 'c'], 1);
    plane.setFaults(path('b'), fail('write'));
    await write();
    expect(lost()).toEqual([1]);
    plane.setFaults(path('c'), fail('any'));
    // Nobody writes: asked for something, it is noticed.
    void pool()
      .disks[2]?.plane.read(0, 4096)
      .catch(() => {});
    await until(() => lost().length === 2);
    await write();
    expect(info().state).toBe('online');
    await importKilled(await killed(['a', 'b', 'c']));
  });

  test('a spare disk takes the place of one that is given up, which then leaves for good', async () => {
    await create(['a', 'b', 'c', 'd'], 1);
    expect(journals()).toEqual([0, 1, 2]);
    plane.setFaults(path('c'), fail('any'));
    await write();
    await until(() => journals().length === 3);
    expect([journals(), lost()]).toEqual([[0, 1, 3], [2]]);
    await importKilled(await killed(['a', 'b', 'c', 'd']));
    await fixture.pools.removeDisk('gold', 2);
    await write();
    await importKilled(await killed(['a', 'b', 'd']));
    expect(await fixture.pools.addDisk('gold', `file:${path('e')}?size=64MiB`)).toMatchObject({
      number: 2,
    });
    await write();
    await importKilled(await killed(['a', 'b', 'e', 'd']));
  });

  test('when no replica takes the journal, nobody is left behind: flushes wait, and go on', async () => {
    await create(['a', 'b']);
    for (const name of ['a', 'b']) plane.setFaults(path(name), fail('write'));
    const waiting = fixture.volumes.create({ name: 'w', sizeBytes: MiB });
    await until(() => kinds().filter((kind) => kind === 'disk/suspended').length === 2);
    expect(lost()).toEqual([]);
    plane.healAll();
    await waiting;
    expect(info().state).toBe('online');
    await importKilled(await killed(['a', 'b']));
  });
});
