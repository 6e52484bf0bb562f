// Goal: a label is read back exactly, and nothing that is not exactly a label of this version is taken for one.
// Method: properties over labels; every single bit turned over; every truncation; resealed later versions.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { xxh64WithoutField } from '../../../src/pool/format/hash.ts';
import {
  decodeLabel,
  encodeLabel,
  labelOffset,
  newestLabel,
} from '../../../src/pool/format/label.ts';
import { flipBit, refusal, sampleLabel } from './samples.ts';

/** A label with something changed and a fitting checksum: what another version might have written. */
function resealed(change: (bytes: Buffer) => void): Uint8Array {
  const bytes = Buffer.from(encodeLabel(sampleLabel()));
  change(bytes);
  bytes.writeBigUInt64LE(xxh64WithoutField(bytes, 40), 40);
  return bytes;
}

const u64 = fc.maxSafeNat();

test('a label is read back as it was written', () => {
  const overrides = fc.record({
    generation: u64,
    featuresCompatible: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    featuresReadOnly: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    poolUuid: fc.uuid(),
    diskUuid: fc.uuid(),
    owner: fc.option(fc.uuid()),
    diskNumber: fc.integer({ min: 0, max: 254 }),
    tailPosition: u64,
    tailSequence: u64,
    epoch: u64,
    heartbeatMs: u64,
    poolName: fc.string({ unit: fc.constantFrom('a', 'ß', '9', '-'), maxLength: 32 }),
    checkpoint: fc.option(
      fc.record({
        firstCluster: fc.integer({ min: 17, max: 4095 }),
        clusterCount: fc.integer({ min: 1, max: 4000 }),
        payloadBytes: u64,
        sequence: u64,
        hash: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      }),
    ),
    membership: fc.option(
      fc.record({
        generation: fc.integer({ min: 1 }),
        numbers: fc.uniqueArray(fc.integer({ min: 0, max: 254 }), { minLength: 1 }),
      }),
    ),
    lostRings: fc.option(
      fc.record({
        generation: fc.integer({ min: 1 }),
        numbers: fc.uniqueArray(fc.integer({ min: 0, max: 254 })),
      }),
    ),
  });
  fc.assert(
    fc.property(overrides, (changed) => {
      const numbers = changed.membership?.numbers.sort((a, b) => a - b);
      changed.lostRings?.numbers.sort((a, b) => a - b);
      const label = sampleLabel({ ...changed, diskCount: numbers?.length ?? 3 });
      expect(decodeLabel(encodeLabel(label))).toEqual(label);
    }),
  );
});

test('a label without journal, checkpoint and owner is read back', () => {
  const label = sampleLabel({
    journalOffset: 0,
    journalBytes: 0,
    checkpoint: null,
    owner: null,
    firstCluster: 1,
  });
  expect(decodeLabel(encodeLabel(label))).toEqual(label);
});

test('every flipped bit is noticed', () => {
  const bytes = encodeLabel(sampleLabel());
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const code = refusal(() => decodeLabel(flipBit(bytes, bit)));
    if (code !== (bit < 64 ? 'no-label' : 'bad-checksum')) expect.fail(`bit ${bit}: ${code}`);
  }
});

test('every truncation is noticed', () => {
  const bytes = encodeLabel(sampleLabel());
  for (let length = 0; length < bytes.length; length += 37) {
    expect(refusal(() => decodeLabel(bytes.subarray(0, length)))).toBe('truncated');
  }
});

test.each<[string, string, (bytes: Buffer) => void]>([
  ['a later version', 'newer-version', (b) => b.writeUInt32LE(2, 8)],
  ['version 0', 'bad-value', (b) => b.writeUInt32LE(0, 8)],
  ['a refused feature', 'refused-feature', (b) => b.writeUInt8(1, 39)],
  ['reserved bytes after the version', 'reserved-not-zero', (b) => b.writeUInt8(1, 12)],
  ['reserved bytes after the cluster size', 'reserved-not-zero', (b) => b.writeUInt8(1, 100)],
  ['reserved bytes at the end', 'reserved-not-zero', (b) => b.writeUInt8(1, 4095)],
  ['disk number 255', 'bad-value', (b) => b.writeUInt32LE(255, 88)],
  ['more disks than there are numbers', 'bad-value', (b) => b.writeUInt32LE(256, 92)],
  ['clusters of an odd size', 'bad-value', (b) => b.writeUInt32LE(65537, 96)],
  ['clusters of 8 KiB', 'bad-value', (b) => b.writeUInt32LE(8192, 96)],
  ['more clusters than the disk holds', 'bad-value', (b) => b.writeUInt32LE(4097, 104)],
  ['first cluster under the journal', 'bad-value', (b) => b.writeUInt32LE(16, 112)],
  ['a journal in another place', 'bad-value', (b) => b.writeUInt32LE(4096, 128)],
  ['a journal of broken blocks', 'bad-value', (b) => b.writeUInt32LE(4095, 136)],
  ['a checkpoint under the journal', 'bad-value', (b) => b.writeUInt32LE(16, 160)],
  ['members without the feature that says so', 'bad-value', (b) => b.writeUInt8(1, 304)],
  ['a feature without members', 'bad-value', (b) => b.writeUInt8(1, 32)],
  [
    'another count than there are members',
    'bad-value',
    (b) => {
      b.writeUInt8(1, 32);
      b.writeUInt8(1, 296);
      b.writeUInt8(3, 304);
    },
  ],
  ['a checkpoint behind the end', 'bad-value', (b) => b.writeUInt32LE(4096, 160)],
  ['a checkpoint of no clusters', 'bad-value', (b) => b.writeUInt32LE(0, 168)],
  ['fields of a checkpoint that is nowhere', 'bad-value', (b) => b.writeUInt32LE(0, 160)],
  ['a generation beyond 2^53', 'bad-value', (b) => b.writeUInt32LE(0x200000, 52)],
  ['bytes after the name', 'bad-value', (b) => b.writeUInt8(65, 240)],
  ['a name that is not UTF-8', 'bad-value', (b) => b.writeUInt8(0xff, 232)],
])('%s is refused as %s', (_what, code, change) => {
  expect(refusal(() => decodeLabel(resealed(change)))).toBe(code);
});

test('copies are written in turn', () => {
  expect([0, 1, 2, 3].map(labelOffset)).toEqual([0, 4096, 0, 4096]);
});

test('the newer valid copy wins, wherever it lies', () => {
  const older = encodeLabel(sampleLabel({ generation: 6 }));
  const newer = encodeLabel(sampleLabel({ generation: 7 }));
  const blank = new Uint8Array(4096);
  expect(newestLabel(older, newer).generation).toBe(7);
  expect(newestLabel(newer, older).generation).toBe(7);
  expect(newestLabel(older, flipBit(newer, 999)).generation).toBe(6);
  expect(newestLabel(blank, newer).generation).toBe(7);
});

test('two copies without a label say why', () => {
  const label = encodeLabel(sampleLabel());
  const blank = new Uint8Array(4096);
  const damaged = flipBit(label, 999);
  const later = resealed((bytes) => bytes.writeUInt32LE(2, 8));
  expect(refusal(() => newestLabel(blank, blank))).toBe('no-label');
  expect(refusal(() => newestLabel(blank, damaged))).toBe('bad-checksum');
  expect(refusal(() => newestLabel(damaged, later))).toBe('newer-version');
  expect(refusal(() => newestLabel(label, later))).toBe('newer-version');
});
