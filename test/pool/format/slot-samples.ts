/**
 * Arbitrary contents of slots: owned zeroes, one cluster (also without a valid sub-block), or several with disjoint masks.
 */
import fc from 'fast-check';
import { isSealable, type Seal } from '../../../src/pool/format/seal.ts';
import { makeSlot } from '../../../src/pool/format/slot.ts';
import { type SlotEntry, SlotStates } from '../../../src/pool/format/slot-states.ts';

const place = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 2 ** 40 - 1 }));

/** Which of four takes each sub-block: nobody, the zeroes, or one of two clusters. */
const shares = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 16, maxLength: 16 });

export const slotContent: fc.Arbitrary<SlotEntry[]> = fc
  .record({ shares, first: place, second: place, provisioned: fc.boolean() })
  .map(({ shares, first, second, provisioned }) => {
    const maskOf = (owner: number) =>
      shares.reduce((mask, share, sub) => (share === owner ? mask | (1 << sub) : mask), 0);
    const [zero, one, two] = [maskOf(1), maskOf(2), maskOf(3)];
    const entries: SlotEntry[] = zero === 0 ? [] : [{ hi: 0, lo: zero }];
    const isOne = first[0] === second[0] && first[1] === second[1];
    const masks: [typeof first, number][] = isOne
      ? [[first, one | two]]
      : [
          [first, one],
          [second, two],
        ];
    for (const [[disk, cluster], mask] of masks) {
      const [hi, lo] = makeSlot(disk, cluster, mask);
      if (mask !== 0) entries.push({ hi, lo });
    }
    if (provisioned && one === 0 && two === 0) {
      const [hi, lo] = makeSlot(first[0], first[1], 0);
      entries.push({ hi, lo });
    }
    return entries;
  });

/** Slots of a leaf with their contents; the others are empty. */
export const leafContent = fc.uniqueArray(
  fc.record({ slot: fc.integer({ min: 0, max: 63 }), content: slotContent }),
  { selector: ({ slot }) => slot, maxLength: 64 },
);

export const hashWords = fc.record({
  hashHi: fc.integer({ min: 0, max: 0xffffffff }),
  hashLo: fc.integer({ min: 0, max: 0xffffffff }),
});

/** The clusters of a slot that can be sealed, with seals made of those hashes in turn. */
export function sealsFor(
  content: readonly SlotEntry[],
  hashes: readonly Pick<Seal, 'hashHi' | 'hashLo'>[],
): Seal[] {
  const sealable = content.filter(isSealable);
  return hashes
    .slice(0, sealable.length)
    .map((hash, at) => ({ ...(sealable[at] as SlotEntry), ...hash }));
}

export function statesOf(
  count: number,
  contents: readonly { readonly slot: number; readonly content: readonly SlotEntry[] }[],
): SlotStates {
  const states = new SlotStates(count);
  for (const { slot, content } of contents) states.set(slot, content);
  return states;
}

/** All that can be asked of slots [first, first + count). */
export function contentsOf(
  states: SlotStates,
  first: number,
  count: number,
): (readonly SlotEntry[])[] {
  return Array.from({ length: count }, (_, slot) => states.entries(first + slot));
}
