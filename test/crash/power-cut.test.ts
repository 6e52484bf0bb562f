// Goal: whatever a power cut leaves is a pool that opens, is whole, and shows what was promised.
// Method: seeded lives on recorded disks, cut at random moments with un-synced writes kept, dropped, torn and reordered
//   (tools/explore); each state is checked offline, imported and compared sector by sector: by another host from the disks
//   alone, or by the same one with an index that is older than the cut. A state is counted once.
//   Replay one case: npm run explore -- --from S --moment M --cut-seed C. More: npm run explore.
import { expect, test } from 'vitest';
import { explore } from '../../tools/explore/explore.ts';

const states = Number(process.env.POWER_CUT_STATES ?? 2000);

test(`${states} states after power cuts keep every promise`, async () => {
  const firstSeed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
  const exploration = await explore({ firstSeed, states, cutsPerLife: 200 });
  expect(exploration.violations, `SEED=${firstSeed}`).toEqual([]);
  expect(exploration.tally.states).toBe(states);
  expect(exploration.tally.remembered).toBeGreaterThan(states / 10);
}, 2_400_000);
