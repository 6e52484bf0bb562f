// Goal: what the operating system cannot read costs the pages it lies on, and no more.
// Method: a disk that fails wherever a read touches certain bytes.
import { expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { lenient, readParts } from '../../src/pool/lenient-read.ts';

const size = 65536;
const bad = [20_000, 33_000];

async function read(offset: number, length: number): Promise<Uint8Array> {
  if (bad.some((at) => at >= offset && at < offset + length)) {
    throw new StorageError('disk/io', 'bad sector');
  }
  return new Uint8Array(Math.max(0, Math.min(length, size - offset))).fill(7);
}

test('a range is had but for the pages that fail', async () => {
  const parts = await readParts(read, 16_384, 32_768);
  const failed = parts.filter(({ bytes }) => bytes === undefined);
  expect(failed.map(({ offset, length }) => [offset, length])).toEqual([
    [16_384, 4096],
    [32_768, 4096],
  ]);
  const had = parts.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0);
  expect(had).toBe(32_768 - 2 * 4096);
});

test('a range without bad places is read at once, and ends with the disk', async () => {
  expect(await readParts(read, 36_864, 8192)).toHaveLength(1);
  const [part] = await readParts(read, size - 1000, 4096);
  expect(part?.length).toBe(1000);
});

test('zeroes stand for what cannot be had', async () => {
  const bytes = await lenient(read)(16_384, 8192);
  expect(bytes.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(4096).every((byte) => byte === 7)).toBe(true);
});

test('an error of another kind passes through', async () => {
  const broken = async () => {
    throw new Error('a bug');
  };
  await expect(readParts(broken, 0, 4096)).rejects.toThrow('a bug');
});
