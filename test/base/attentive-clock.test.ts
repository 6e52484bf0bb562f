// Goal: what looks for changes looks often while there are any and seldom otherwise, and never stops looking before it is told to.
// Method: a clock that the test moves; who looked is noted with the second.
import { beforeEach, expect, test } from 'vitest';
import { AttentiveClock } from '../../src/base/attentive-clock.ts';
import { ManualClock } from '../pool/fixture.ts';

let manual: ManualClock;
let clock: AttentiveClock;
let second: number;
let looks: number[];

beforeEach(() => {
  manual = new ManualClock();
  clock = new AttentiveClock(manual);
  second = 0;
  looks = [];
});

function pass(seconds: number): void {
  for (let left = seconds; left > 0; left--) {
    second += 1;
    manual.advance(1000);
  }
}

function seconds(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}

test('every second at first, every fifth when nothing has happened for ten', () => {
  clock.every(1000, () => looks.push(second));
  pass(26);
  expect(looks).toEqual([...seconds(1, 10), 15, 20, 25]);
});

test('a change makes it look every second again, and puts off its rest', () => {
  clock.every(1000, () => looks.push(second));
  pass(16);
  clock.changed();
  pass(5);
  clock.changed();
  pass(19);
  expect(looks).toEqual([...seconds(1, 10), 15, ...seconds(17, 32), 37]);
});

test('a change that the look itself makes counts', () => {
  clock.every(1000, () => {
    looks.push(second);
    if (second === 10 || second === 25) clock.changed();
  });
  pass(40);
  expect(looks).toEqual([...seconds(1, 20), 25, ...seconds(26, 35), 40]);
});

test('what is done seldom anyway stays as it is', () => {
  clock.every(10_000, () => looks.push(second));
  pass(150);
  expect(looks).toEqual(Array.from({ length: 15 }, (_, n) => 10 * (n + 1)));
});

test('whoever stops looks no more: while things change, at rest, from inside a look', () => {
  const stopEarly = clock.every(1000, () => looks.push(second));
  const stopLate = clock.every(1000, () => {});
  const stopInside = clock.every(1000, () => {
    if (second === 10) stopInside();
    expect(second).toBeLessThan(11);
  });
  pass(3);
  stopEarly();
  pass(20);
  stopLate();
  clock.changed();
  pass(20);
  expect(looks).toEqual([1, 2, 3]);
});
