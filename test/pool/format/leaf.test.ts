// Goal: slots and leaves are stored canonically: one encoding per content, every other one refused.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeLeaf, encodeLeaf, leafEntries, leafSeals } from '../../../src/pool/format/leaf.ts';
import {
  makeSlot,
  slotCluster,
  slotDisk,
  slotHasAddress,
  slotMask,
} from '../../../src/pool/format/slot.ts';
import { SlotStates } from '../../../src/pool/format/slot-states.ts';
import { refusal } from './samples.ts';
import { contentsOf, hashWords, leafContent, sealsFor, statesOf } from './slot-samples.ts';

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

test('a leaf is read back as it was stored, anywhere among others', () => {
  fc.assert(
    fc.property(leafContent, fc.integer({ min: 0, max: 5 }), (contents, at) => {
      const first = 64 * at;
      const moved = contents.map(({ slot, content }) => ({ slot: first + slot, content }));
      const states = statesOf(64 * 6, moved);
      const value = encodeLeaf(states, first);
      if (contents.every(({ content }) => content.length === 0)) {
        expect(value).toBeNull();
        return;
      }
      const back = new SlotStates(64 * 6);
      decodeLeaf(value as Uint8Array, back, first);
      expect(contentsOf(back, 0, 64 * 6)).toEqual(contentsOf(states, 0, 64 * 6));
      const again = statesOf(64, bySlotOf(leafEntries(value as Uint8Array)));
      expect(contentsOf(again, 0, 64)).toEqual(contentsOf(states, first, 64));
    }),
  );
});

function bySlotOf(entries: readonly { slot: number; hi: number; lo: number }[]) {
  const slots = [...new Set(entries.map(({ slot }) => slot))];
  return slots.map((slot) => ({ slot, content: entries.filter((entry) => entry.slot === slot) }));
}

test('seals are read back where they are wanted, and change nothing else', () => {
  const hashes = fc.array(hashWords, { minLength: 2, maxLength: 2 });
  fc.assert(
    fc.property(leafContent, hashes, fc.nat({ max: 2 }), (contents, words, count) => {
      const states = statesOf(64, contents).keepSeals();
      for (const { slot, content } of contents) {
        for (const seal of sealsFor(content, words.slice(0, count))) states.seal(slot, seal);
      }
      const value = encodeLeaf(states);
      if (value === null) return;
      const [with_, without] = [new SlotStates(64).keepSeals(), new SlotStates(64)];
      decodeLeaf(value, with_);
      decodeLeaf(value, without);
      for (let slot = 0; slot < 64; slot++) {
        expect(with_.seals(slot)).toEqual(states.seals(slot));
        expect(without.seals(slot)).toEqual([]);
      }
      expect(contentsOf(with_, 0, 64)).toEqual(contentsOf(states, 0, 64));
      expect(contentsOf(without, 0, 64)).toEqual(contentsOf(states, 0, 64));
      expect(encodeLeaf(with_)).toEqual(value);
      const flat = Array.from({ length: 64 }, (_, slot) => states.seals(slot)).flat();
      expect(leafSeals(value).map(({ slot: _, ...seal }) => seal)).toEqual(flat);
    }),
  );
});

test('a seal belongs to the entry as it is', () => {
  const states = new SlotStates(64).keepSeals();
  const seal = { hi: 0, lo: 0x10_0003, hashHi: 7, hashLo: 8 };
  states.seal(3, seal);
  expect(states.seals(3)).toEqual([]);
  for (const other of [0x10_0007, 0x20_0003, 0x10_0000]) {
    states.set(3, [{ hi: 0, lo: other }]);
    states.seal(3, seal);
    expect(states.seals(3), `${other}`).toEqual([]);
  }
  states.set(3, [{ hi: 0, lo: 0x10_0003 }]);
  states.seal(3, seal);
  expect(states.seals(3)).toEqual([seal]);
  states.set(3, [{ hi: 0, lo: 0x10_0003 }]);
  expect(states.seals(3), 'whatever sets the slot takes its seal away').toEqual([]);
});

test('a split slot has its zeroes first, then its clusters by address', () => {
  const value = Buffer.concat([entry(3, 0x8000n), entry(3, 0x10_0003n), entry(3, 0x20_00f0n)]);
  expect(leafEntries(value).map(({ lo }) => lo)).toEqual([0x8000, 0x100003, 0x2000f0]);
  const states = new SlotStates(64);
  decodeLeaf(value, states);
  expect(states.zero(3)).toBe(0x8000);
  expect(states.claimed(3)).toBe(0x80f3);
  expect(encodeLeaf(states)).toEqual(Uint8Array.from(value));
});

test('a provisioned cluster may stand beside zeroes', () => {
  const value = Buffer.concat([entry(3, 0x8000n), entry(3, 0x10_0000n)]);
  expect(leafEntries(value)).toHaveLength(2);
});

test.each<[string, string, Uint8Array]>([
  ['nothing', 'truncated', new Uint8Array(0)],
  ['half an entry', 'truncated', entry(1, 1n).subarray(0, 5)],
  ['an empty slot', 'bad-value', entry(1, 0n)],
  ['slot 64', 'bad-value', entry(64, 1n)],
  ['a seal that is not there', 'truncated', entry(0x81, 0x10001n)],
  ['half a seal', 'truncated', Buffer.concat([entry(0x81, 0x10001n), Buffer.alloc(4)])],
  ['sealed zeroes', 'bad-value', Buffer.concat([entry(0x81, 1n), Buffer.alloc(8)])],
  ['sealed space', 'bad-value', Buffer.concat([entry(0x81, 0x10000n), Buffer.alloc(8)])],
  ['a sealed slot 64', 'bad-value', Buffer.concat([entry(0xc0, 0x10001n), Buffer.alloc(8)])],
  ['descending slots', 'bad-value', Buffer.concat([entry(2, 1n), entry(1, 1n)])],
  ['overlapping masks', 'bad-value', Buffer.concat([entry(2, 0x10001n), entry(2, 0x20003n)])],
  [
    'a third overlapping',
    'bad-value',
    Buffer.concat([entry(2, 0x10001n), entry(2, 0x20002n), entry(2, 0x30001n)]),
  ],
  [
    'clusters of a slot out of order',
    'bad-value',
    Buffer.concat([entry(2, 0x20001n), entry(2, 0x10002n)]),
  ],
  ['zeroes behind a cluster', 'bad-value', Buffer.concat([entry(2, 0x10001n), entry(2, 0x2n)])],
  ['zeroes twice', 'bad-value', Buffer.concat([entry(2, 0x1n), entry(2, 0x2n)])],
  [
    'a split provisioned slot',
    'bad-value',
    Buffer.concat([entry(2, 0x10000n), entry(2, 0x20003n)]),
  ],
])('%s is refused as %s', (_what, code, value) => {
  expect(refusal(() => decodeLeaf(value, new SlotStates(64)))).toBe(code);
  expect(refusal(() => leafEntries(value))).toBe(code);
});
