// Goal: a batch is read back as it was written; bytes that end inside an operation are refused.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type BatchOp,
  batchBytes,
  decodeBatch,
  encodeBatch,
} from '../../../src/pool/format/batch.ts';
import { isSealable } from '../../../src/pool/format/seal.ts';
import { refusal } from './samples.ts';

const u64 = fc.maxSafeNat();
const key = fc.uint8Array({ minLength: 1, maxLength: 40 });
const run = { disk: fc.integer({ min: 0, max: 254 }), firstCluster: u64, count: u64 };
const word = fc.integer({ min: 0, max: 0xffffffff });
const seal = fc
  .record({ slot: fc.nat({ max: 63 }), hi: word, lo: word, hashHi: word, hashLo: word })
  .filter(isSealable);
const op: fc.Arbitrary<BatchOp> = fc.oneof(
  fc.record({ op: fc.constant('put' as const), key, value: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({ op: fc.constant('delete' as const), key }),
  fc.record({ op: fc.constant('release' as const), ...run }),
  fc.record({ op: fc.constant('acquire' as const), ...run }),
  fc.record({ op: fc.constant('delete-leaves' as const), layer: u64, firstLeaf: u64, count: u64 }),
  fc.record({
    op: fc.constant('seal' as const),
    layer: u64,
    leaf: u64,
    seals: fc.array(seal, { maxLength: 70 }),
  }),
);

test('a batch is read back as it was written', () => {
  fc.assert(
    fc.property(fc.array(op), (ops) => {
      const bytes = encodeBatch(ops);
      expect(bytes.length).toBe(batchBytes(ops));
      expect(decodeBatch(bytes)).toEqual(ops);
    }),
  );
});

test('every truncation inside an operation is refused', () => {
  fc.assert(
    fc.property(op, (one) => {
      const bytes = encodeBatch([one]);
      for (let length = 1; length < bytes.length; length++) {
        expect(refusal(() => decodeBatch(bytes.subarray(0, length)))).toBe('truncated');
      }
    }),
    { numRuns: 30 },
  );
});

test('an unknown operation is refused', () => {
  expect(refusal(() => decodeBatch(Uint8Array.of(9)))).toBe('bad-value');
  expect(refusal(() => decodeBatch(Uint8Array.of(0)))).toBe('bad-value');
});
