// Goal: whoever says that there may be work gets a look that began after that; looks do not overlap, and end with the chore.
// Method: looks that last until the test ends them.
import { beforeEach, expect, test } from 'vitest';
import { Chore } from '../../src/base/chore.ts';

let chore: Chore;
let begun: number;
let atOnce: number;
let finish: () => void;

beforeEach(() => {
  [begun, atOnce] = [0, 0];
  chore = new Chore(async () => {
    begun += 1;
    atOnce += 1;
    expect(atOnce).toBe(1);
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    atOnce -= 1;
  });
});

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('several calls before a look begins are one look', async () => {
  const woken = [chore.wake(), chore.wake(), chore.wake()];
  await turn();
  finish();
  await Promise.all(woken);
  expect(begun).toBe(1);
});

test('a call during a look is another look behind it', async () => {
  const first = chore.wake();
  await turn();
  let isSecondDone = false;
  const second = chore.wake().then(() => {
    isSecondDone = true;
  });
  finish();
  await first;
  await turn();
  expect([begun, isSecondDone]).toEqual([2, false]);
  finish();
  await second;
  expect(begun).toBe(2);
});

test('it stops behind the look under way, which is told', async () => {
  void chore.wake();
  await turn();
  expect(chore.isStopped).toBe(false);
  let hasEnded = false;
  const stopped = chore.stop().then(() => {
    hasEnded = true;
  });
  await turn();
  expect([chore.isStopped, hasEnded]).toEqual([true, false]);
  finish();
  await stopped;
});
