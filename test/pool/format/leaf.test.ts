// Goal: slots and leaves are stored canonically: one encoding per content, every other one refused.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeLeaf, encodeLeaf, leafEntries, leafWords } from '../../../src/pool/format/leaf.ts';
import {
  makeSlot,
  slotCluster,
  slotDisk,
  slotHasAddress,
  slotMask,
} from '../../../src/pool/format/slot.ts';
import { refusal } from './samples.ts';

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const state = fc.tuple(word, word);
const sparseLeaf = fc.array(fc.tuple(fc.integer({ min: 0, max: 63 }), state), { maxLength: 64 });

function dense(slots: readonly (readonly [number, readonly [number, number]])[]): Uint32Array {
  const states = new Uint32Array(leafWords);
  for (const [slot, words] of slots) states.set(words, 2 * slot);
  return states;
}

function entry(slot: number, state: bigint): Uint8Array {
  const bytes = Buffer.alloc(9);
  bytes[0] = slot;
  bytes.writeBigUInt64LE(state, 1);
  return bytes;
}

test('a slot gives back disk, cluster and mask', () => {
  const disk = fc.integer({ min: 0, max: 254 });
  const cluster = fc.integer({ min: 0, max: 2 ** 40 - 1 });
  fc.assert(
    fc.property(disk, cluster, fc.integer({ min: 0, max: 0xffff }), (disk, cluster, mask) => {
      const [hi, lo] = makeSlot(disk, cluster, mask);
      expect([slotDisk(hi), slotCluster(hi, lo), slotMask(lo)]).toEqual([disk, cluster, mask]);
      expect(slotHasAddress(hi, lo)).toBe(disk !== 0 || cluster !== 0);
      const whole = (BigInt(disk) << 56n) | (BigInt(cluster) << 16n) | BigInt(mask);
      expect((BigInt(hi) << 32n) | BigInt(lo)).toBe(whole);
    }),
  );
});

test('a leaf is read back as it was stored, anywhere in a slab', () => {
  fc.assert(
    fc.property(sparseLeaf, fc.integer({ min: 0, max: 300 }), (slots, at) => {
      const states = dense(slots);
      const slab = new Uint32Array(at + leafWords + 5).fill(7);
      slab.set(states, at);
      const value = encodeLeaf(slab, at);
      if (states.every((half) => half === 0)) {
        expect(value).toBeNull();
        return;
      }
      const back = new Uint32Array(slab.length).fill(9);
      decodeLeaf(value as Uint8Array, back, at);
      expect(back.subarray(at, at + leafWords)).toEqual(states);
      expect([back[at - 1] ?? 9, back[at + leafWords]]).toEqual([9, 9]);
      const entries = [...leafEntries(value as Uint8Array)];
      expect(dense(entries.map(({ slot, hi, lo }) => [slot, [lo, hi]]))).toEqual(states);
    }),
  );
});

test('a split slot is read entry by entry, and refused by the dense form', () => {
  const value = Buffer.concat([entry(3, 0x10_0003n), entry(3, 0x20_00f0n), entry(4, 0x30_0003n)]);
  expect([...leafEntries(value)].map(({ slot, lo }) => [slot, lo])).toEqual([
    [3, 0x100003],
    [3, 0x2000f0],
    [4, 0x300003],
  ]);
  expect(refusal(() => decodeLeaf(value, new Uint32Array(leafWords)))).toBe('bad-value');
});

test.each<[string, string, Uint8Array]>([
  ['nothing', 'truncated', new Uint8Array(0)],
  ['half an entry', 'truncated', entry(1, 1n).subarray(0, 5)],
  ['an empty slot', 'bad-value', entry(1, 0n)],
  ['slot 64', 'bad-value', entry(64, 1n)],
  ['descending slots', 'bad-value', Buffer.concat([entry(2, 1n), entry(1, 1n)])],
  ['overlapping masks', 'bad-value', Buffer.concat([entry(2, 0x10001n), entry(2, 0x20003n)])],
  [
    'a third overlapping',
    'bad-value',
    Buffer.concat([entry(2, 0x10001n), entry(2, 0x20002n), entry(2, 0x30001n)]),
  ],
  [
    'a split provisioned slot',
    'bad-value',
    Buffer.concat([entry(2, 0x10000n), entry(2, 0x20003n)]),
  ],
])('%s is refused as %s', (_what, code, value) => {
  expect(refusal(() => decodeLeaf(value, new Uint32Array(leafWords)))).toBe(code);
  expect(refusal(() => [...leafEntries(value)])).toBe(code);
});
