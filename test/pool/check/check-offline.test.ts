// Goal: a sound pool has no finding, and each kind of damage is found under its own code.
// Method: write a sound pool through the codecs, plant one fault, check.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkOffline } from '../../../src/pool/check/check-offline.ts';
import { encodeBatch } from '../../../src/pool/format/batch.ts';
import type { IndexEntry } from '../../../src/pool/format/checkpoint-codec.ts';
import { hostKey, leafKey, recordKey } from '../../../src/pool/format/index-keys.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import { otherUuid } from '../format/samples.ts';
import {
  checkpointEntries,
  deltas,
  json,
  type PoolSpec,
  slotDelta,
  soundPool,
  soundVolume,
  writePool,
} from './pool-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-check-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function specWith(change: (spec: PoolSpec) => void): PoolSpec {
  const spec = soundPool();
  change(spec);
  return spec;
}

async function codesOf(paths: string[]): Promise<string[]> {
  const { findings } = await checkOffline(paths);
  return [...new Set(findings.map(({ code }) => code))];
}

test('a sound pool has no finding', async () => {
  expect(await checkOffline(writePool(folder, soundPool()))).toEqual({
    pool: 'main',
    findings: [],
    clustersChecked: 1024,
    leavesChecked: 2,
    recordsChecked: 3,
  });
});

test('a checkpoint of many clusters, and an empty tail, have no finding', async () => {
  const spec = specWith((s) => {
    s.tail = [];
    s.chains = [
      [300, 100, 200],
      [101, 301, 201],
    ];
    s.records.pool = { note: 'x'.repeat(30_000) };
  });
  expect(await codesOf(writePool(folder, spec))).toEqual([]);
});

test('a pool before its first checkpoint has no finding', async () => {
  const spec = specWith((s) => {
    s.checkpointSequence = 0;
    s.slots = [];
    s.labels = [{ checkpoint: null }, { checkpoint: null }];
    const puts = Object.entries({ 'layer/1': { parent: null }, 'volume/1': soundVolume });
    const ops = puts.map(([name, value]) => ({
      op: 'put' as const,
      key: recordKey(name),
      value: json(value),
    }));
    s.tail = [{ kind: 2, payload: encodeBatch(ops) }, deltas(1, slotDelta(5, makeSlot(0, 50, 1)))];
  });
  expect(await checkOffline(writePool(folder, spec))).toMatchObject({
    findings: [],
    leavesChecked: 1,
    recordsChecked: 2,
  });
});

test('a deleted volume whose space is being given back has no finding', async () => {
  const spec = specWith((s) => {
    delete s.records['volume/1'];
    const ops = [
      { op: 'delete-leaves' as const, layer: 1, firstLeaf: 0, count: 1 },
      { op: 'release' as const, disk: 0, firstCluster: 30, count: 1 },
      { op: 'release' as const, disk: 1, firstCluster: 41, count: 1 },
    ];
    s.tail.push({ kind: 2, payload: encodeBatch(ops) });
  });
  expect(await codesOf(writePool(folder, spec))).toEqual([]);
});

describe('what is not as it should be', () => {
  test.each<[string, (spec: PoolSpec) => void]>([
    ['slot/address', (s) => s.slots.push([1, 3, 0, 19, 1])],
    ['slot/address', (s) => s.slots.push([1, 3, 1, 512, 1])],
    ['slot/address', (s) => s.slots.push([1, 3, 7, 30, 1])],
    ['slot/shared', (s) => s.slots.push([1, 3, 0, 30, 1])],
    ['slot/shared', (s) => s.tail.push(deltas(4, slotDelta(3, makeSlot(1, 41, 1))))],
    ['allocator/leaked', (s) => s.used.push([1, 77])],
    ['allocator/leaked', (s) => s.tail.push(deltas(4, slotDelta(0, [0, 0])))],
    ['allocator/free', (s) => s.used.shift()],
    ['allocator/free', (s) => s.tail.push(deltas(4, slotDelta(3, [0, 0], makeSlot(0, 30, 0))))],
    ['allocator/chunk', (s) => s.used.push([1, 600])],
    ['allocator/chunk', (s) => s.used.push([9, 77])],
    ['checkpoint/shared', (s) => s.slots.push([1, 3, 1, 200, 1])],
    ['leaf/encoding', (s) => s.extra.push({ key: leafKey(1, 0x10), value: Buffer.alloc(9) })],
    ['leaf/encoding', (s) => s.extra.push({ key: leafKey(1, 0x10), value: Buffer.alloc(8, 1) })],
    ['leaf/layer', (s) => s.slots.push([2, 0, 0, 60, 1])],
    ['leaf/beyond', (s) => s.slots.push([1, 200, 0, 60, 1])],
    ['index/key', (s) => s.extra.push({ key: Buffer.from('X'), value: json({}) })],
    [
      'record/malformed',
      (s) => s.extra.push({ key: recordKey('export/y'), value: Buffer.from('{') }),
    ],
    ['record/malformed', (s) => (s.records['volume/1'] = { name: 'gold' })],
    ['volume/layer', (s) => (s.records['volume/1'] = { ...soundVolume, headLayer: 8 })],
    ['volume/layer', (s) => (s.records['volume/2'] = { ...soundVolume, id: 2, name: 'b' })],
    ['volume/name', (s) => (s.records['volume/2'] = { ...soundVolume, id: 2, headLayer: 2 })],
    ['layer/parent', (s) => (s.records['layer/1'] = { parent: 5 })],
    ['layer/parent', (s) => (s.records['layer/9'] = { parent: 1 })],
    [
      'layer/circle',
      (s) => {
        s.records['layer/8'] = { parent: 9 };
        s.records['layer/9'] = { parent: 8 };
      },
    ],
    [
      'snapshot/layer',
      (s) => (s.records['snapshot/1'] = { id: 1, volume: 1, name: 'a', layer: 1 }),
    ],
    [
      'snapshot/name',
      (s) => {
        s.records['layer/9'] = { parent: null };
        s.records['snapshot/1'] = { id: 1, volume: 1, name: 'a', layer: 9 };
        s.records['bookmark/2'] = { id: 2, volume: 1, name: 'a', layer: 9 };
      },
    ],
    ['record/malformed', (s) => (s.records['snapshot/1'] = { id: 1, name: 'a' })],
    ['layer/space', (s) => (s.records['space/1'] = { clusters: 4 })],
    ['disk/record', (s) => (s.records['disk/1'] = { uuid: otherUuid })],
    ['journal/record', (s) => s.tail.push({ kind: 2, payload: Uint8Array.of(9) })],
    ['journal/record', (s) => s.tail.push({ kind: 1, payload: Uint8Array.of(9) })],
    ['journal/record', (s) => s.tail.push(deltas(3, slotDelta(0, makeSlot(0, 30, 1))))],
    ['journal/record', (s) => s.tail.push(deltas(4, slotDelta(0, makeSlot(0, 5000, 1))))],
    ['journal/gap', (s) => (s.labels = [{ tailSequence: 8 }, { tailSequence: 8 }])],
    ['label/disagrees', (s) => (s.labels[1] = { poolName: 'other' })],
    ['label/disagrees', (s) => (s.labels[1] = { poolUuid: otherUuid })],
    ['label/disagrees', (s) => (s.labels[1] = { diskNumber: 0 })],
    ['label/geometry', (s) => (s.labels[1] = { firstCluster: 21 })],
    ['label/geometry', (s) => (s.labels[1] = { clusterCount: 500 })],
    [
      'pool/lease-alive',
      (s) => (s.labels[0] = { epoch: 3, owner: otherUuid, heartbeatMs: Date.now() }),
    ],
  ])('%s (%#)', async (code, change) => {
    expect(await codesOf(writePool(folder, specWith(change)))).toContain(code);
  });

  const firstRecord = 65536;
  test.each<[string, (disk: Buffer, number: number) => Buffer | undefined]>([
    ['label/copy', (disk, n) => (n === 1 ? disk.fill('VARVEDSK', 0, 9) : undefined)],
    ['disk/shrunk', (disk, n) => (n === 1 ? disk.subarray(0, disk.length - 512) : undefined)],
    [
      'checkpoint/damaged',
      (disk, n) => (n === 1 ? disk.fill(1, 200 * 16384 + 50, 200 * 16384 + 51) : undefined),
    ],
    [
      'journal/behind',
      (disk, n) => (n === 1 ? disk.fill(0, firstRecord + 8192, firstRecord + 8200) : undefined),
    ],
    [
      'journal/behind',
      (disk, n) => (n === 0 ? disk.fill(0, firstRecord, firstRecord + 8) : undefined),
    ],
  ])('%s (bytes, %#)', async (code, hurt) => {
    expect(await codesOf(writePool(folder, soundPool(), hurt))).toEqual([code]);
  });

  test('replicas that tell different stories', async () => {
    const [mine, others] = [join(folder, 'disk-0'), `${folder}/other`];
    const other = mkdtempSync(others);
    const story = specWith((s) => s.tail.splice(2, 1, deltas(3, slotDelta(2, makeSlot(1, 41, 3)))));
    const [, second] = writePool(other, story);
    writePool(folder, soundPool());
    expect(await codesOf([mine, second as string])).toContain('journal/disagrees');
  });

  test('a missing path, a missing disk, nothing at all', async () => {
    const [first] = writePool(folder, soundPool()) as [string];
    await expect(checkOffline([first])).rejects.toMatchObject({ code: 'pool/disk-missing' });
    for (const odd of [join(folder, 'nothing'), folder, '/dev/null']) {
      await expect(checkOffline([first, odd])).rejects.toMatchObject({ code: 'disk/unusable' });
    }
    expect(await checkOffline([])).toMatchObject({ pool: '', findings: [] });
    writePool(folder, soundPool(), (disk) => disk.fill(0, 0, 8192));
    expect(await codesOf([first])).toEqual(['label/none']);
  });

  test('of one kind at most a hundred are listed', async () => {
    const spec = specWith((s) => {
      for (let cluster = 200; cluster < 500; cluster++)
        s.slots.push([1, cluster - 64, 0, cluster, 1]);
    });
    const { findings } = await checkOffline(writePool(folder, spec));
    expect(findings.length).toBeLessThan(400);
  });
});

describe('a host’s index', () => {
  async function* entriesOf(entries: readonly IndexEntry[]) {
    yield* entries;
  }

  async function compare(
    appliedSequence: number,
    entries: readonly IndexEntry[],
  ): Promise<string[]> {
    const index = { appliedSequence, entries: entriesOf(entries) };
    const { findings } = await checkOffline(writePool(folder, soundPool()), { index });
    return findings.map(({ code }) => code);
  }

  const checkpointed = checkpointEntries(soundPool());

  test('agrees at its applied sequence', async () => {
    const host = { key: hostKey('applied'), value: json({}) };
    expect(await compare(5, [host, ...checkpointed])).toEqual([]);
  });

  test('lacks, differs or has too much', async () => {
    const isVolume = ({ key }: IndexEntry) => Buffer.from(key).toString().includes('volume');
    const renamed = checkpointed.map((e) => (isVolume(e) ? { ...e, value: json({}) } : e));
    const extra = { key: recordKey('zzz'), value: json({}) };
    expect(
      await compare(
        5,
        checkpointed.filter((e) => !isVolume(e)),
      ),
    ).toEqual(['index/missing']);
    expect(await compare(5, renamed)).toEqual(['index/differs']);
    expect(await compare(5, [...checkpointed, extra])).toEqual(['index/extra']);
    expect(await compare(8, checkpointed)).toContain('index/differs');
    expect(await compare(4, checkpointed)).toEqual(['index/old']);
  });
});
