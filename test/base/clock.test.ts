// Goal: what is done at intervals is done at common moments, and a service that idles wakes up for no more of them than it has intervals.
// Method: Vitest's fake timers; who ran is noted with the moment.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';

let ran: string[];
let stops: (() => void)[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  vi.advanceTimersByTime(300);
  ran = [];
  stops = [];
});

afterEach(() => {
  for (const stop of stops) stop();
  vi.useRealTimers();
});

function note(name: string, intervalMs: number): () => void {
  const stop = systemClock.every(intervalMs, () => ran.push(`${name} ${performance.now()}`));
  stops.push(stop);
  return stop;
}

test('works of one interval run at the same moments, whenever they began', () => {
  note('a', 1000);
  vi.advanceTimersByTime(400);
  note('b', 1000);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(2000);
  expect(ran).toEqual(['a 1000', 'b 1000', 'a 2000', 'b 2000']);
});

test('different intervals meet', () => {
  note('second', 1000);
  note('five', 5000);
  vi.advanceTimersByTime(5000);
  expect(ran.slice(-2).sort()).toEqual(['five 5000', 'second 5000']);
});

test('who begins late in an interval waits for more than half of one', () => {
  vi.advanceTimersByTime(600);
  note('a', 1000);
  vi.advanceTimersByTime(1000);
  expect(ran).toEqual([]);
  vi.advanceTimersByTime(100);
  expect(ran).toEqual(['a 2000']);
});

test('one that is stopped is not run, not even by what runs beside it; the others go on', () => {
  let stopOther = () => {};
  const stopFirst = systemClock.every(1000, () => stopOther());
  stops.push(stopFirst);
  stopOther = note('other', 1000);
  note('third', 1000);
  vi.advanceTimersByTime(1000);
  stopFirst();
  vi.advanceTimersByTime(1000);
  expect(ran).toEqual(['third 1000', 'third 2000']);
});

test('with nobody left nothing is waited for, and it begins again', () => {
  note('a', 1000)();
  expect(vi.getTimerCount()).toBe(0);
  note('b', 1000);
  vi.advanceTimersByTime(1000);
  expect(ran).toEqual(['b 1000']);
});
