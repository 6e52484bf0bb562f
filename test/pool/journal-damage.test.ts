// Goal: a record of the journal that no replica can give any more is never taken for the journal's end while later ones are there: every
//   opening is refused, says so and writes nothing. What one replica has, the others need not have.
// Method: the disks of a pool that is being served are copied, with one record per write behind its checkpoint; records are damaged in the
//   copies, each in turn, and another host imports them.
import { mkdirSync, readFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { checkOffline } from '../../src/pool/check/check-offline.ts';
import { type JournalRecord, scanJournal } from '../../src/pool/format/journal-record.ts';
import type { Label } from '../../src/pool/format/label.ts';
import type { Pools } from '../../src/pool/pools.ts';
import { probeDisk } from '../../src/pool/probe.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { flipAt } from '../scrub/at-rest.ts';
import { Fixture, ManualClock } from './fixture.ts';

const clusterBytes = 16 * KiB;
const names = ['a', 'b', 'c'];
const writes = 5;

/** Where in a record a bit turns over. */
const places = { header: 4, checksum: 57, payload: 80 };

describe('the journal of a pool whose owner died', () => {
  const clock = new ManualClock();
  let fixture: Fixture;
  let label: Label;
  /** One per write; the last records of the ring. */
  let records: JournalRecord[];
  let cases = 0;

  beforeAll(async () => {
    fixture = await Fixture.open({ clock });
    const uris = names.map((name) => `file:${fixture.path(name)}?size=24MiB`);
    await fixture.pools.create('gold', uris, { clusterBytes });
    await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
    const volume = await fixture.volumes.open('v');
    for (let n = 1; n <= writes; n++) {
      const content = Buffer.alloc(clusterBytes, n);
      await volume.plane.write(n * clusterBytes, content, { fua: true });
    }
    for (const name of names) await copyFile(fixture.path(name), fixture.path(`${name}-dead`));
    await volume.close();
    label = (await probeDisk(fixture.path('a-dead'))).label as Label;
    records = (await recordsOf(fixture.path('a-dead'))).slice(-writes);
  });
  afterAll(() => fixture.close());

  async function recordsOf(path: string): Promise<JournalRecord[]> {
    const bytes = readFileSync(path);
    const read = async (offset: number, length: number) => bytes.subarray(offset, offset + length);
    const found: JournalRecord[] = [];
    for await (const record of scanJournal(read, label)) found.push(record);
    return found;
  }

  /** @param hurt which of the writes' records are damaged, by disk */
  async function damagedDisks(
    hurt: readonly (readonly number[])[],
    place: keyof typeof places,
  ): Promise<string[]> {
    cases += 1;
    const folder = fixture.path(`case-${cases}`);
    mkdirSync(folder);
    const paths: string[] = [];
    for (const [disk, name] of names.entries()) {
      const path = `${folder}/${name}`;
      await copyFile(fixture.path(`${name}-dead`), path);
      for (const n of hurt[disk] ?? []) flipAt(path, placeOf(n) + places[place]);
      paths.push(path);
    }
    return paths;
  }

  function placeOf(n: number): number {
    return label.journalOffset + ((records[n] as JournalRecord).position % label.journalBytes);
  }

  async function elsewhere<T>(work: (pools: Pools) => Promise<T>): Promise<T> {
    const pools = await fixture.openPools(fixture.path(`host-${cases}`));
    try {
      return await work(pools);
    } finally {
      await pools.close();
    }
  }

  /** The first byte of what was written by each write. */
  async function contents(paths: readonly string[]): Promise<number[]> {
    return elsewhere(async (pools) => {
      await pools.import(paths, { takeover: true });
      const volumes = new VolumeService({ pools, clock: fixture.clock, emit() {} });
      const volume = await volumes.open('v');
      const found: number[] = [];
      for (let n = 1; n <= writes; n++) {
        found.push((await volume.plane.read(n * clusterBytes, 1))[0] as number);
      }
      await volume.close();
      expect((await pools.check('gold')).findings).toEqual([]);
      await pools.export('gold');
      return found;
    });
  }

  const damageOf = async (paths: readonly string[]) =>
    (await checkOffline(paths)).findings
      .filter(({ severity }) => severity === 'damage')
      .map(({ code }) => code);

  test.each<[keyof typeof places, number]>([
    ['header', 0],
    ['checksum', 1],
    ['payload', 2],
    ['payload', 3],
  ])('damaged in its %s on all replicas, record %d of five ends no journal', async (place, n) => {
    const paths = await damagedDisks([[n], [n], [n]], place);
    expect(await damageOf(paths)).toContain('journal/damaged');
    const before = paths.map((path) => readFileSync(path));
    await elsewhere(async (pools) => {
      for (const options of [{}, { dryRun: true }]) {
        const refused = pools.import(paths, { takeover: true, ...options });
        await expect(refused).rejects.toMatchObject({
          code: 'pool/damaged',
          message: expect.stringContaining(`record ${records[n]?.sequence} of the journal`),
          actions: [expect.stringMatching(/^varve pool salvage /), expect.any(String)],
        });
      }
      expect(pools.list()).toEqual([]);
    });
    paths.forEach((path, disk) => {
      expect(Buffer.compare(readFileSync(path), before[disk] as Buffer)).toBe(0);
    });
  });

  test('several records in a row are named', async () => {
    const paths = await damagedDisks([[1, 2], [1], [1, 3]], 'header');
    const again = await damagedDisks(
      [
        [1, 2],
        [1, 2],
        [1, 2],
      ],
      'payload',
    );
    await elsewhere(async (pools) => {
      const first = `record ${records[1]?.sequence} of`;
      await expect(pools.import(paths, { takeover: true })).rejects.toThrow(first);
      const both = `records ${records[1]?.sequence} to ${records[2]?.sequence} of`;
      await expect(pools.import(again, { takeover: true })).rejects.toThrow(both);
    });
  });

  test('the last record may be one that was torn: the journal ends before it', async () => {
    const last = writes - 1;
    const paths = await damagedDisks([[last], [last], [last]], 'payload');
    expect(await damageOf(paths)).toEqual([]);
    expect(await contents(paths)).toEqual([1, 2, 3, 4, 0]);
  });

  test('what one replica has is had, and the others get it', async () => {
    const hurts = [
      [[0], [2], [4]],
      [
        [1, 3],
        [0, 4],
        [0, 1, 2],
      ],
    ];
    for (const hurt of hurts) {
      const paths = await damagedDisks(hurt, 'payload');
      expect(await damageOf(paths)).toEqual([]);
      expect(await contents(paths)).toEqual([1, 2, 3, 4, 5]);
      for (const path of paths) {
        const sequences = (await recordsOf(path)).map(({ sequence }) => sequence);
        expect(sequences).toEqual(expect.arrayContaining(records.map(({ sequence }) => sequence)));
      }
    }
  });

  test('a pool that is only to be read is not shown as it was before', async () => {
    const paths = await damagedDisks([[1], [1], [1]], 'payload');
    clock.advance(60_000); // nobody holds it any more
    await elsewhere(async (pools) => {
      const refused = pools.import(paths, { readOnly: true });
      await expect(refused).rejects.toMatchObject({ code: 'pool/damaged' });
    });
  });
});
