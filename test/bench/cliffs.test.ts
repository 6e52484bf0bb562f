// Goal: the cliffs benchmark says missed where a guest noticed more than was promised, and says nothing of what it did not measure.
// Method: made-up p99s.
import { expect, test } from 'vitest';
import { cliffRows, cliffVerdict, factorOf } from '../../tools/bench/cliff-report.ts';

const calm = { before: 900, during: 1500, after: 1100 };
const rough = { before: 1000, during: 9000, after: 1000 };

test('a factor is that of the middle round, to the mean of before and after', () => {
  expect(factorOf([calm])).toBe(1.5);
  expect(factorOf([calm, rough, { before: 100, during: 200, after: 100 }])).toBe(2);
  expect(factorOf([])).toBeNaN();
});

test.each([
  [2, [calm], 'reached'],
  [2, [rough], 'missed'],
  [1.5, [calm], 'reached'],
  [1.4, [calm], 'missed'],
  [undefined, [calm], 'within 2'],
  [undefined, [rough], 'above 2'],
  [undefined, [calm, rough, calm], 'within 2'],
  [2, [], 'not measured'],
])('promised %s, %j: %s', (limit, rounds, verdict) => {
  expect(cliffVerdict({ name: 'merge', limit, rounds })).toBe(verdict);
});

test('a line per scene', () => {
  expect(cliffRows([{ name: 'merge', limit: 2, rounds: [rough, calm, rough] }])[1]).toEqual([
    'merge',
    '1000',
    '9000',
    '1000',
    '9.00',
    '≤ 2',
    'missed',
  ]);
});
