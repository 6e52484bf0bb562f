// Goal: rows that need chains are judged like the others: medians of rounds, against the right disks, refused after a failure.
// Method: made-up figures with known medians.
import { expect, test } from 'vitest';
import { comparison, depthChecks, overwriteChecks } from '../../tools/bench/chain-rows.ts';
import type { Figures } from '../../tools/bench/chain-session.ts';
import { measurement } from './made-up.ts';

function overwrites(before: number, after: number): Figures {
  return new Map([
    ['overwrite, no snapshot', measurement({ iops: before })],
    ['overwrite after a snapshot', measurement({ iops: after })],
  ]);
}

const figures = new Map<string, readonly Figures[]>([
  ['varve', [overwrites(100, 80), overwrites(100, 120), overwrites(100, 90)]],
  ['qcow2, external', [overwrites(50, 20)]],
  ['qcow2, internal', [overwrites(50, 30)]],
  ['qcow2 extended_l2, external', [overwrites(50, 45)]],
]);

test('an overwrite after a snapshot is compared with each form of qcow2 and with itself', () => {
  const { checks, rows } = comparison('overwrite', { figures, failures: [] }, overwriteChecks);
  const ratios = new Map(checks?.map(({ of, ratio }) => [of, ratio]));
  expect(ratios.get('IOPS ÷ plain qcow2')).toBe(3);
  expect(ratios.get('IOPS ÷ extended_l2')).toBe(2);
  expect(ratios.get('IOPS ÷ own')).toBe(0.9);
  expect(rows).toHaveLength(8);
});

test('reads at depth are compared with those without a snapshot; times are no rows', () => {
  const depths: Figures = new Map<string, ReturnType<typeof measurement> | number>([
    ['read at depth 0', measurement({ iops: 100 })],
    ['read at depth 1000', measurement({ iops: 94 })],
    ['snapshot up to depth 1000, s', 0.004],
  ]);
  const outcomes = { figures: new Map([['varve', [depths]]]), failures: [] };
  const { checks, rows } = comparison('depth', outcomes, depthChecks);
  expect(checks).toEqual([{ of: 'IOPS ÷ own', ratio: 0.94, limit: 0.95, sense: 'at least' }]);
  expect(rows).toHaveLength(2);
});

test('a disk that failed in one round leaves no ratios', () => {
  const failures = ['qcow2, internal, round 2: data verification failed'];
  const { checks } = comparison('overwrite', { figures, failures }, overwriteChecks);
  expect(checks).toBeUndefined();
});
