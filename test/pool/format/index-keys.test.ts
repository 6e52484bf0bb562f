// Goal: keys sort as their parts do, and a value is accepted only whole and under its own key.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  allocatorKey,
  hostKey,
  isHostKey,
  leafKey,
  openValue,
  parseIndexKey,
  recordKey,
  sealValue,
} from '../../../src/pool/format/index-keys.ts';
import { flipBit, refusal } from './samples.ts';

const u64 = fc.maxSafeNat();
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test('keys are parsed back', () => {
  fc.assert(
    fc.property(u64, u64, u32, fc.string({ minLength: 1 }), (layer, leaf, chunk, name) => {
      const disk = leaf % 255;
      expect(parseIndexKey(leafKey(layer, leaf))).toEqual({ kind: 'leaf', layer, leaf });
      expect(parseIndexKey(allocatorKey(disk, chunk))).toEqual({ kind: 'allocator', disk, chunk });
      expect(parseIndexKey(recordKey(name))).toEqual({ kind: 'record', name });
      expect(parseIndexKey(hostKey(name))).toEqual({ kind: 'host', name });
    }),
  );
});

test('leaves sort by layer, then by leaf', () => {
  fc.assert(
    fc.property(u64, u64, u64, u64, (layerA, leafA, layerB, leafB) => {
      const expected = Math.sign(layerA - layerB || leafA - leafB);
      expect(Buffer.compare(leafKey(layerA, leafA), leafKey(layerB, leafB))).toBe(expected);
    }),
  );
});

test('only host keys are host-local', () => {
  const keys = [hostKey('applied'), recordKey('Host'), leafKey(1, 1), allocatorKey(0, 0)];
  expect(keys.map(isHostKey)).toEqual([true, false, false, false]);
});

test.each(['', 'L', 'Lshort', 'A', 'A1234567', 'R', 'H', 'X1', 'R\xff'])(
  'key %j is refused',
  (text) => {
    expect(refusal(() => parseIndexKey(Buffer.from(text, 'latin1')))).toBe('bad-value');
  },
);

test('a sealed value opens under its key and no other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 9000 }), (value) => {
      const sealed = sealValue(leafKey(1, 2), value);
      expect(sealed.length).toBe(value.length + 4);
      expect(Buffer.compare(openValue(leafKey(1, 2), sealed), value)).toBe(0);
      expect(refusal(() => openValue(leafKey(1, 3), sealed))).toBe('bad-checksum');
    }),
  );
});

test('every flipped bit and every truncation of a sealed value is noticed', () => {
  const key = leafKey(1, 2);
  const sealed = sealValue(key, new Uint8Array(90).fill(0x5a));
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    expect(refusal(() => openValue(key, flipBit(sealed, bit)))).toBe('bad-checksum');
  }
  for (let length = 0; length < sealed.length; length++) {
    expect(refusal(() => openValue(key, sealed.subarray(0, length)))).toBe(
      length < 4 ? 'truncated' : 'bad-checksum',
    );
  }
});
