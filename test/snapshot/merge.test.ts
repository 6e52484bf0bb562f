// Goal: merging, absorbing and pruning two layers changes nothing for whoever reads through them, loses no cluster and none twice,
//   and leaves what they claim together.
// Method: arbitrary contents of one leaf in an upper and a lower layer, over an arbitrary one below; each sub-block resolved before and
//   after, owners counted. Replay one case: SEED=7 (fast-check prints it).
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { slotMask } from '../../src/pool/format/slot.ts';
import type { SlotEntry } from '../../src/pool/format/slot-states.ts';
import { SlotStates } from '../../src/pool/format/slot-states.ts';
import { visibleIn } from '../../src/pool/resolve.ts';
import {
  absorb,
  Cover,
  type LayerChange,
  mergeFrozen,
  type PairPlan,
  prune,
} from '../../src/snapshot/merge.ts';

if (process.env.SEED !== undefined) fc.configureGlobal({ seed: Number(process.env.SEED) });
const range = { first: 0, count: 64 };

/** Whose each sub-block is: nobody's, zero, or one of some clusters. A cluster of its own for each slot and layer. */
const content = (layer: number, clustersMax: number) =>
  fc
    .array(
      fc.record({
        slot: fc.integer({ min: 0, max: 15 }),
        shares: fc.array(fc.integer({ min: 0, max: 1 + clustersMax }), {
          minLength: 16,
          maxLength: 16,
        }),
        provisioned: fc.boolean(),
      }),
      { maxLength: 12 },
    )
    .map((slots) => {
      const states = new SlotStates(64);
      for (const { slot, shares, provisioned } of slots) {
        const maskOf = (share: number) =>
          shares.reduce((m, s, i) => (s === share ? m | (1 << i) : m), 0);
        const entries: SlotEntry[] = [];
        const zero = maskOf(1);
        if (zero !== 0) entries.push({ hi: 0, lo: zero });
        for (let n = 0; n < clustersMax; n++) {
          const mask = maskOf(2 + n);
          const cluster = 1000 * layer + 10 * slot + n + 1;
          const isSpare = provisioned && n === 0 && shares.every((share) => share < 2);
          if (mask !== 0 || isSpare) entries.push({ hi: 0, lo: ((cluster << 16) | mask) >>> 0 });
        }
        states.set(slot, entries);
      }
      return states;
    });

function copyOf(states: SlotStates): SlotStates {
  const copy = new SlotStates(states.count);
  for (let slot = 0; slot < states.count; slot++) copy.copySlot(slot, states, slot);
  return copy;
}

function applied(states: SlotStates, change: LayerChange): SlotStates {
  const changed = copyOf(states);
  for (const { slot, entries } of change.slots) changed.set(slot, entries);
  return changed;
}

/** The cluster of each sub-block as a reader sees it, 0 where it reads as zero. */
function seen(stack: readonly SlotStates[]): number[][] {
  return Array.from({ length: 64 }, (_, slot) => {
    const subBlocks = new Array<number>(16).fill(0);
    for (const { hi, lo, mask } of visibleIn(stack, slot)) {
      for (let i = 0; i < 16; i++) if (mask & (1 << i)) subBlocks[i] = hi * 2 ** 16 + (lo >>> 16);
    }
    return subBlocks;
  });
}

function owned(...layers: SlotStates[]): number[] {
  return layers
    .flatMap((states) => Array.from({ length: 64 }, (_, slot) => states.clusters(slot)).flat())
    .map(({ lo }) => lo >>> 16)
    .sort((a, b) => a - b);
}

function expectKept(
  upper: SlotStates,
  lower: SlotStates,
  base: SlotStates | null,
  plan: PairPlan,
): { upper: SlotStates; lower: SlotStates } {
  const below = base === null ? [] : [base];
  const after = { upper: applied(upper, plan.upper), lower: applied(lower, plan.lower) };
  expect(seen([after.upper, after.lower, ...below])).toEqual(seen([upper, lower, ...below]));
  const released = plan.released.map(({ cluster }) => cluster);
  const now = [...owned(after.upper, after.lower), ...released].sort((a, b) => a - b);
  expect(now).toEqual(owned(upper, lower));
  expect(owned(after.upper).length - owned(upper).length).toBe(plan.upper.clusters);
  expect(owned(after.lower).length - owned(lower).length).toBe(plan.lower.clusters);
  for (let slot = 0; slot < 64; slot++) {
    const claimed = (u: SlotStates, l: SlotStates) => u.claimed(slot) | l.claimed(slot);
    if (base !== null) expect(claimed(after.upper, after.lower)).toBe(claimed(upper, lower));
  }
  return after;
}

const base = fc.option(content(3, 2), { nil: null });

describe('two layers', () => {
  test.each(['child', 'parent'] as const)('merged into the %s', (into) => {
    fc.assert(
      fc.property(content(1, 3), content(2, 3), base, (child, parent, below) => {
        const plan = mergeFrozen(child, parent, range, { into, isBase: below === null });
        const after = expectKept(child, parent, below, plan);
        const emptied = into === 'child' ? after.lower : after.upper;
        expect(owned(emptied)).toEqual([]);
        for (let slot = 0; slot < 64; slot++) expect(emptied.isEmpty(slot)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('absorbed by a live head: one cluster per slot of the head, and residue only where both have one', () => {
    fc.assert(
      fc.property(content(1, 1), content(2, 3), base, (head, layer, below) => {
        const plan = absorb(head, layer, range, { isBase: below === null });
        const after = expectKept(head, layer, below, plan);
        for (let slot = 0; slot < 64; slot++) {
          expect(after.upper.clusters(slot).length).toBeLessThanOrEqual(1);
          if (after.lower.isEmpty(slot)) continue;
          const split = after.lower.clusters(slot).length > 1;
          expect(split || head.clusters(slot).length === 1).toBe(true);
          for (const { lo } of after.lower.clusters(slot)) {
            expect(slotMask(lo) & after.upper.claimed(slot)).toBe(0);
          }
        }
        // The page table hears of every slot in which the layer changes.
        const told = new Set(plan.upper.slots.map(({ slot }) => slot));
        for (const { slot } of plan.lower.slots) expect(told.has(slot)).toBe(true);
        expect(
          absorb(after.upper, after.lower, range, { isBase: below === null }).released,
        ).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('pruned: what does not show goes, the boundary stays', () => {
    fc.assert(
      fc.property(content(1, 3), content(2, 3), base, (upper, lower, below) => {
        const plan = prune(upper, lower, range, new Cover(64));
        const after = expectKept(upper, lower, below, plan);
        for (let slot = 0; slot < 64; slot++) {
          expect(after.upper.entries(slot)).toEqual(upper.entries(slot));
          expect(after.lower.claimed(slot)).toBe(lower.claimed(slot));
        }
        expect(prune(after.upper, after.lower, range, new Cover(64)).lower.slots).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('pruned under others: every cluster that is left shows, the boundary stays', () => {
    fc.assert(
      fc.property(content(1, 3), content(4, 3), content(2, 3), (upper, middle, lower) => {
        const between = new Cover(64);
        between.add(middle);
        const { lower: change, released } = prune(upper, lower, range, between);
        const after = applied(lower, change);
        expect(seen([upper, middle, after])).toEqual(seen([upper, middle, lower]));
        const now = [...owned(after), ...released.map(({ cluster }) => cluster)];
        expect(now.sort((a, b) => a - b)).toEqual(owned(lower));
        for (let slot = 0; slot < 64; slot++) {
          expect(after.claimed(slot)).toBe(lower.claimed(slot));
          const hidden = upper.claimed(slot) | middle.claimed(slot);
          for (const { lo } of after.clusters(slot)) expect(slotMask(lo) & hidden).toBe(0);
        }
        const all = new Cover(64);
        expect([upper, middle].map((states) => all.add(states)).length).toBe(2);
        expect(all.add(after)).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
