/**
 * Goal: disks join and leave a pool that serves: nothing of it is lost, its journal keeps its replicas, a number may be another disk's later,
 *   and what was cut off is ended or undone by the next opening.
 * Method: the real data plane on sparse files, a guest that writes meanwhile, imports with fresh state folders; labels as a crash leaves
 *   them are written by hand.
 */
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { labelBytes } from '../../src/pool/format/geometry.ts';
import { encodeLabel, type Label, labelOffset } from '../../src/pool/format/label.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { Replicas } from '../../src/pool/replicas.ts';
import { Fixture } from './fixture.ts';
import { TrimmingGuest } from './trimming-guest.ts';

const MiB = 1024 * 1024;

describe('members of a pool', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await Fixture.open();
  });
  afterEach(() => fixture.close());

  const path = (name: string) => fixture.path(name);
  const uri = (name: string, sizeMiB = 128) => `file:${path(name)}?size=${sizeMiB}MiB`;
  const pool = () => fixture.pools.get('gold');

  /** Nothing more is put on the disk. */
  function cordon(number: number): Promise<void> {
    return pool().placeDisk(number, { class: null, cordoned: true });
  }

  async function create(...names: string[]): Promise<void> {
    const uris = names.map((name) => uri(name));
    await fixture.pools.create('gold', uris);
  }

  async function makeVolume(value: number): Promise<void> {
    await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB });
    const volume = await fixture.volumes.open('v');
    await volume.plane.write(0, new Uint8Array(4 * MiB).fill(value));
    await volume.plane.flush();
    await volume.close();
  }

  async function expectVolume(value: number): Promise<void> {
    const volume = await fixture.volumes.open('v');
    const bytes = await volume.plane.read(0, 4 * MiB);
    expect(bytes.every((byte) => byte === value)).toBe(true);
    await volume.close();
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  }

  /** As another host does, from these disks alone. */
  async function importElsewhere(...names: string[]): Promise<void> {
    await fixture.pools.export('gold');
    expect((await checkOffline(names.map(path))).findings).toEqual([]);
    await fixture.pools.import(names.map(path));
  }

  const journals = () =>
    pool()
      .info()
      .disks.filter(({ journal }) => journal)
      .map(({ number }) => number);
  const labelOf = async (name: string) => (await probeDisk(path(name))).label;

  test('an empty disk leaves, without a label, and is not asked for', async () => {
    await create('a', 'b');
    await cordon(1);
    await makeVolume(7);
    expect(await fixture.pools.removeDisk('gold', 1)).toMatchObject({ number: 1 });
    expect(await labelOf('b')).toBeNull();
    await rm(path('b'));
    await expectVolume(7);
    await fixture.restart();
    await expectVolume(7);
    await importElsewhere('a');
    await expectVolume(7);
  });

  test('a disk with data stays, and says how much', async () => {
    await create('a', 'b');
    await cordon(0);
    await makeVolume(7);
    const removed = fixture.pools.removeDisk('gold', 1);
    await expect(removed).rejects.toMatchObject({
      code: 'disk/not-empty',
      message: expect.stringMatching(/4MiB of volumes lie on it/),
      actions: [`varve disk drain file:${path('b')}`],
    });
    await expectVolume(7);
    expect(journals()).toEqual([0, 1]);
    // It takes data as before.
    await fixture.volumes.create({ name: 'w', sizeBytes: 64 * MiB, thick: true });
  });

  test('a dry run checks and changes nothing; an unknown disk, the only disk', async () => {
    await create('a', 'b');
    const before = await readFile(path('b'));
    await fixture.pools.removeDisk('gold', 1, { dryRun: true });
    expect(Buffer.compare(await readFile(path('b')), before)).toBe(0);
    const unknown = fixture.pools.removeDisk('gold', 2);
    await expect(unknown).rejects.toMatchObject({ code: 'disk/not-found' });
    await fixture.pools.removeDisk('gold', 0);
    const last = fixture.pools.removeDisk('gold', 1);
    await expect(last).rejects.toMatchObject({ code: 'disk/needed' });
  });

  test('what is granted on the disk, to the pool or to a volume, comes back', async () => {
    await create('a', 'b');
    await fixture.volumes.create({ name: 'v', sizeBytes: 1024 * MiB });
    const volume = await fixture.volumes.open('v');
    // A volume has set clusters aside by its first write, on one disk or the other.
    await volume.plane.write(0, new Uint8Array(4096).fill(1));
    await volume.plane.trim(0, 64 * 1024);
    await volume.plane.flush();
    await fixture.pools.removeDisk('gold', 0);
    await volume.plane.write(0, new Uint8Array(4096).fill(2), { fua: true });
    expect((await volume.plane.read(0, 1))[0]).toBe(2);
    await volume.close();
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });

  test('a disk that joins carries a replica as long as there are fewer than three', async () => {
    await create('a');
    await makeVolume(3);
    for (const name of ['b', 'c', 'd']) await fixture.pools.addDisk('gold', uri(name));
    expect(journals()).toEqual([0, 1, 2]);
    await cordon(0);
    const labels = await Promise.all(['a', 'b', 'c'].map(labelOf));
    const places = labels.map((label) => [label?.tailPosition, label?.checkpoint?.sequence]);
    expect(new Set(places.map(String)).size).toBe(1);
    await importElsewhere('a', 'b', 'c', 'd');
    await expectVolume(3);
  });

  test('the replica of a disk that leaves begins on another', async () => {
    await create('a', 'b', 'c', 'd');
    for (const number of [0, 1, 2]) await cordon(number);
    await makeVolume(4);
    await fixture.pools.removeDisk('gold', 1);
    expect(journals()).toEqual([0, 2, 3]);
    await fixture.pools.removeDisk('gold', 0);
    await fixture.pools.removeDisk('gold', 2);
    expect(journals()).toEqual([3]);
    await importElsewhere('d');
    await expectVolume(4);
  });

  test('a leaving that was cut short before its replica ended leaves no fourth one', async () => {
    await create('a', 'b', 'c', 'd');
    await makeVolume(4);
    const broken = new StorageError('disk/io', 'cut short');
    vi.spyOn(Replicas.prototype, 'end').mockRejectedValueOnce(broken);
    for (const number of [1, 3]) await cordon(number);
    await expect(fixture.pools.removeDisk('gold', 1)).rejects.toThrow('cut short');
    expect(journals()).toEqual([0, 1, 2, 3]);
    await fixture.restart();
    expect(journals()).toHaveLength(3);
    await importElsewhere('a', 'b', 'c', 'd');
    await expectVolume(4);
  });

  test('a replica begins where everything is granted', async () => {
    await create('a');
    await makeVolume(2);
    await fixture.pools.addDisk('gold', uri('b', 64));
    await fixture.restart(() =>
      setLabel('b', { journalOffset: 0, journalBytes: 0, checkpoint: null }),
    );
    expect(journals()).toEqual([0, 1]);
    await expectVolume(2);
  });

  test('the only replica does not go where no other disk has room for one', async () => {
    await create('a');
    // Too small for labels, journal, reserve and data.
    await fixture.pools.addDisk('gold', uri('b', 6));
    expect(journals()).toEqual([0]);
    const removed = fixture.pools.removeDisk('gold', 0);
    await expect(removed).rejects.toMatchObject({ code: 'disk/needed' });
    await makeVolume(1);
    await expectVolume(1);
    await fixture.pools.addDisk('gold', uri('c'));
    expect(journals()).toEqual([0, 2]);
  });

  test('every disk in turn leaves and joins again under a guest', async () => {
    const names = ['a', 'b', 'c', 'd'];
    await create(...names);
    await fixture.volumes.create({ name: 'v', sizeBytes: 64 * MiB });
    const guest = new TrimmingGuest(await fixture.volumes.open('v'));
    guest.start();
    try {
      for (const [number, name] of names.entries()) {
        await cordon(number);
        await guest.lap();
        await fixture.pools.removeDisk('gold', number);
        expect(journals()).toHaveLength(3);
        await guest.lap();
        expect(await fixture.pools.addDisk('gold', uri(name))).toMatchObject({ number });
        await guest.lap();
      }
    } finally {
      await guest.finish();
    }
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
    await importElsewhere(...names);
    expect(pool().info().disks).toHaveLength(4);
    expect((await fixture.pools.check('gold')).findings).toEqual([]);
  });

  test('a number is used again by another disk, for which the old one does not stand in', async () => {
    await create('a', 'b');
    await cordon(0);
    await makeVolume(9);
    const copies = [path('a'), path('old')] as const;
    await copyFile(...copies);
    await fixture.pools.removeDisk('gold', 0);
    await fixture.pools.addDisk('gold', uri('c'));
    expect(
      pool()
        .info()
        .disks.map(({ path }) => path),
    ).toEqual([path('c'), path('b')]);
    await expectVolume(9);
    await fixture.pools.export('gold');
    const stale = fixture.pools.import([path('old'), path('b')]);
    await expect(stale).rejects.toMatchObject({ code: expect.stringMatching(/^(disk|pool)\//) });
    const alone = fixture.pools.import([path('old')]);
    await expect(alone).rejects.toMatchObject({ code: 'pool/disk-missing' });
    await fixture.pools.import([path('b'), path('c')]);
    await expectVolume(9);
  });

  /** The service is stopped; the disk's label is what a crash left of it. */
  async function setLabel(name: string, change: Partial<Label>): Promise<void> {
    const bytes = await readFile(path(name));
    const label = { ...((await labelOf(name)) as Label), ...change };
    bytes.fill(0, 0, 2 * labelBytes);
    bytes.set(encodeLabel(label), labelOffset(label.generation));
    await writeFile(path(name), bytes);
  }

  test('killed behind the labels of the others: the disk goes at the next opening', async () => {
    await create('a', 'b', 'c');
    await cordon(1);
    await makeVolume(5);
    await fixture.restart(async () => {
      const membership = { generation: 1, numbers: [0, 2] };
      await setLabel('a', { diskCount: 2, membership });
    });
    expect(fixture.events.map(({ kind }) => kind)).toContain('disk/removed');
    expect(pool().records('disk/')).toHaveLength(2);
    expect(await labelOf('b')).toBeNull();
    await expectVolume(5);
    await rm(path('b'));
    await fixture.restart();
    await expectVolume(5);
    await importElsewhere('a', 'c');
  });

  test('killed before any other label: the disk stays', async () => {
    await create('a', 'b', 'c');
    await makeVolume(5);
    await fixture.restart(() =>
      setLabel('b', { journalOffset: 0, journalBytes: 0, checkpoint: null }),
    );
    expect(pool().info().disks).toHaveLength(3);
    // What was ended is begun again.
    expect(journals()).toEqual([0, 1, 2]);
    await expectVolume(5);
  });

  test('killed behind the wiping: the disk is not asked for, even if it is gone', async () => {
    await create('a', 'b');
    await cordon(1);
    await makeVolume(5);
    const list = await readFile(`${fixture.stateDir}/pools.json`);
    await fixture.pools.removeDisk('gold', 1);
    await fixture.restart(async () => {
      await writeFile(`${fixture.stateDir}/pools.json`, list);
      await rm(path('b'));
    });
    await expectVolume(5);
    expect(await readFile(`${fixture.stateDir}/pools.json`, 'utf8')).not.toContain(path('b'));
  });
});
