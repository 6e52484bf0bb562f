// Goal: the law that the growth benchmark names is the one its figures follow, whatever their unit.
// Method: made-up figures that follow a known law, with the noise of a busy machine.
import { expect, test } from 'vitest';
import { growthLaw } from '../../tools/bench/growth-law.ts';
import { growthTable } from '../../tools/bench/growth-report.ts';

const sizes = [1, 100, 1024, 10_240];
const noise = [1.2, 0.9, 1.1, 0.8];

function points(law: (size: number) => number) {
  return sizes.map((size, at) => ({ size, value: law(size) * (noise[at] ?? 1) }));
}

test.each([
  ['flat', () => 0.003],
  ['linear', (size: number) => 0.1 * size],
  ['size^0.47', (size: number) => 5 * Math.sqrt(size)],
])('%s', (law, of) => {
  expect(growthLaw(points(of))).toBe(law);
});

test('one figure, or none above zero, follows no law', () => {
  expect(growthLaw([{ size: 1, value: 3 }])).toBe('-');
  expect(growthLaw(points(() => 0))).toBe('-');
});

test('a line per figure, a column per size; what was not measured at a size is left open', () => {
  const figures = new Map([
    ['1 GiB mapped: snapshot, s', 0.05],
    ['100 GiB mapped: snapshot, s', 0.05],
    ['100 GiB mapped: memory, MiB', 10],
  ]);
  expect(growthTable(figures, [1, 100])).toEqual([
    ['', '1 GiB', '100 GiB', 'grows'],
    ['snapshot, s', '0.0500', '0.0500', 'flat'],
    ['memory, MiB', '-', '10.0', '-'],
  ]);
});
