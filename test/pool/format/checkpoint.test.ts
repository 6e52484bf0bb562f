// Goal: a checkpoint is read back entry by entry, and no damage to any of its clusters goes unnoticed.
// Method: write to a disk in memory, read through the label's reference; flip bits, cut, swap, relink.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  CheckpointWriter,
  checkpointClusters,
  type IndexEntry,
  readCheckpoint,
  readCheckpointChain,
} from '../../../src/pool/format/checkpoint-codec.ts';
import { FormatError } from '../../../src/pool/format/format-error.ts';
import type { CheckpointRef } from '../../../src/pool/format/label.ts';
import { flipBit } from './samples.ts';

const clusterBytes = 16384;
const clusterCount = 64;
/** Scattered on purpose: the chain, not the order on the disk, leads on. */
const clusters = Array.from({ length: 40 }, (_, i) => 20 + ((i * 17) % 41));

interface Written {
  readonly disk: Uint8Array;
  readonly checkpoint: CheckpointRef;
}

function write(entries: readonly IndexEntry[], sequence = 5): Written {
  const disk = new Uint8Array(clusterBytes * clusterCount);
  const writer = new CheckpointWriter({ clusterBytes, sequence, clusters });
  const blocks = entries.flatMap(({ key, value }) => writer.add(key, value));
  for (const { cluster, bytes } of [...blocks, writer.finish()])
    disk.set(bytes, cluster * clusterBytes);
  return { disk, checkpoint: writer.reference };
}

function source({ disk, checkpoint }: Written) {
  const read = async (offset: number, length: number) => disk.subarray(offset, offset + length);
  return [read, { clusterBytes, clusterCount, firstCluster: 20, checkpoint }] as const;
}

async function readAll(written: Written): Promise<IndexEntry[]> {
  const entries: IndexEntry[] = [];
  for await (const entry of readCheckpoint(...source(written))) entries.push(entry);
  return entries;
}

async function refusalOf(written: Written): Promise<string | undefined> {
  try {
    await readAll(written);
    return undefined;
  } catch (error) {
    if (error instanceof FormatError) return error.code;
    throw error;
  }
}

function entry(number: number, valueBytes: number): IndexEntry {
  const key = Buffer.from(`R${String(number).padStart(6, '0')}`);
  return { key: Uint8Array.from(key), value: new Uint8Array(valueBytes).fill(number) };
}

const large = Array.from({ length: 30 }, (_, i) => entry(i, 3000));

test('entries of any sizes come back', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 20000 }), { maxLength: 30 }),
      async (sizes) => {
        const entries = sizes.map((size, index) => entry(index, size));
        const written = write(entries);
        expect(isDeepStrictEqual(await readAll(written), entries)).toBe(true);
        const chain = await readCheckpointChain(...source(written));
        expect(chain).toEqual(clusters.slice(0, chain.length));
        expect(chain.length).toBe(
          checkpointClusters(written.checkpoint.payloadBytes, clusterBytes),
        );
      },
    ),
  );
});

test('a payload that fills its clusters exactly takes no further one', async () => {
  const exact = entry(1, clusterBytes - 32 - 6 - 7);
  const written = write([exact]);
  expect(written.checkpoint.clusterCount).toBe(1);
  expect(await readAll(written)).toEqual([exact]);
});

test('host-local keys are left out', async () => {
  const host = { key: Uint8Array.from(Buffer.from('Happlied')), value: new Uint8Array(3) };
  expect(await readAll(write([host, entry(1, 5)]))).toEqual([entry(1, 5)]);
});

test('every flipped bit of headers and every sampled one of payloads is noticed', async () => {
  const written = write(large);
  for (const cluster of clusters.slice(0, written.checkpoint.clusterCount)) {
    for (let bit = 0; bit < 12000; bit += bit < 256 ? 1 : 97) {
      const disk = flipBit(written.disk, cluster * clusterBytes * 8 + bit);
      const code = await refusalOf({ ...written, disk });
      if (code === undefined) expect.fail(`cluster ${cluster}, bit ${bit}`);
    }
  }
});

test.each<[string, string, (written: Written) => Written]>([
  [
    'an older checkpoint in the same clusters',
    'not-expected',
    ({ checkpoint }) => ({ disk: write(large, 4).disk, checkpoint }),
  ],
  [
    'another total hash',
    'bad-checksum',
    (w) => ({ ...w, checkpoint: { ...w.checkpoint, hash: 1n } }),
  ],
  [
    'another size',
    'bad-value',
    (w) => ({ ...w, checkpoint: { ...w.checkpoint, payloadBytes: 1 } }),
  ],
  [
    'a shorter chain',
    'bad-value',
    (w) => ({ ...w, checkpoint: { ...w.checkpoint, clusterCount: 2 } }),
  ],
  [
    'a longer chain',
    'bad-value',
    (w) => ({ ...w, checkpoint: { ...w.checkpoint, clusterCount: 30 } }),
  ],
  ['a disk that ends', 'truncated', (w) => ({ ...w, disk: w.disk.subarray(0, clusterBytes * 21) })],
])('%s is refused as %s', async (_what, code, hurt) => {
  expect(await refusalOf(hurt(write(large)))).toBe(code);
});

test('a label without a checkpoint has no entries', async () => {
  const nothing = { disk: new Uint8Array(0), checkpoint: null as unknown as CheckpointRef };
  expect(await readAll(nothing)).toEqual([]);
});
