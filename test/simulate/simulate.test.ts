// Goal: whatever order the ends of asynchronous work come in, whatever disk fails at whatever await, and wherever the process crashes,
//   what was promised is kept, and nothing freezes.
// Method: seeded lives in a simulated process (tools/simulate): threads, time, disks and every completion are the seed's. Crashes are reopened
//   and judged by the durability model. The seeds are the same each time, and so is what happens; others: SEED, npm run simulate.
import { expect, test } from 'vitest';
import { simulate } from '../../tools/simulate/simulate.ts';

const firstSeed = Number(process.env.SEED ?? 9);
const lives = { steps: 6, crashes: 3, workers: 1 };

test('simulated lives keep every promise, and a seed is the same life again', async () => {
  const last = firstSeed + 2;
  const [all, alone] = await Promise.all([
    simulate({ ...lives, firstSeed, seeds: 3 }),
    simulate({ ...lives, firstSeed: last, seeds: 1 }),
  ]);
  expect(all.broken, `SEED=${firstSeed}`).toEqual([]);
  expect(new Set(all.lives.map(({ digest }) => digest)).size).toBe(3);
  // Also in a process that has not lived others before.
  expect(alone.lives).toEqual(all.lives.slice(-1));
}, 120_000);
