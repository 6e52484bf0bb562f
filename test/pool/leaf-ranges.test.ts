// Goal: ranges of leaves say exactly which leaves were added, are few, and lie apart in order; a range of keys goes from a map whichever way is shorter.
// Method: random ranges against plain sets.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { deleteIn, LeafRanges } from '../../src/pool/leaf-ranges.ts';

const leafMax = 60;
const range = fc.record({
  firstLeaf: fc.integer({ min: 0, max: leafMax }),
  count: fc.integer({ min: 1, max: 12 }),
});

test('what was added is there, and nothing else, in as few ranges as it takes', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), (added) => {
      const ranges = new LeafRanges();
      const model = new Set<number>();
      for (const each of added) {
        ranges.add(each);
        for (let n = 0; n < each.count; n++) model.add(each.firstLeaf + n);
      }
      const all = Array.from({ length: leafMax + 20 }, (_, leaf) => leaf);
      expect(all.filter((leaf) => ranges.has(leaf))).toEqual(all.filter((leaf) => model.has(leaf)));
      for (const from of all) {
        const end = from + 5;
        const isMet = all.some((leaf) => leaf >= from && leaf < end && model.has(leaf));
        expect(ranges.meets(from, end)).toBe(isMet);
      }
      const beginnings = all.filter((leaf) => model.has(leaf) && !model.has(leaf - 1));
      expect(ranges.list().map(({ firstLeaf }) => firstLeaf)).toEqual(beginnings);
      const total = ranges.list().reduce((sum, { count }) => sum + count, 0);
      expect(total).toBe(model.size);
    }),
  );
});

test('keys of a range are deleted, of a short and of an endless one', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat({ max: leafMax })),
      range,
      fc.boolean(),
      (keys, of, isLong) => {
        const { firstLeaf } = of;
        const count = isLong ? 2 ** 40 : of.count;
        const map = new Map(keys.map((key) => [key, true]));
        deleteIn(map, { firstLeaf, count });
        const left = keys.filter((key) => key < firstLeaf || key >= firstLeaf + count);
        expect([...map.keys()]).toEqual(left);
      },
    ),
  );
});
