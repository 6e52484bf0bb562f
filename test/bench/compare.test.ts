// Goal: the benchmark's ratios are medians against the best peer of each role, and are refused after a failure.
// Method: made-up results with known medians.
import { expect, test } from 'vitest';
import { compare, median } from '../../tools/bench/compare.ts';
import { markdownReport } from '../../tools/bench/markdown.ts';
import { jsonReport, textReport } from '../../tools/bench/report.ts';
import { isMissed } from '../../tools/bench/verdict.ts';
import { result, workloadNamed } from './made-up.ts';

const freshWrite = workloadNamed('fresh random write 4k');
const unpromised = { ...freshWrite, goal: undefined };
const depthOne = workloadNamed('qd1');

test('the median of an even number of values lies between the middle ones', () => {
  expect(median([5, 1, 9])).toBe(5);
  expect(median([4, 1, 9, 2])).toBe(3);
});

const session = [
  ...[100, 900, 300].map((iops, round) =>
    result(freshWrite, 'varve', round, { iops, cpuUsPerIo: 5, p99Us: 8 }),
  ),
  result(freshWrite, 'qsd qcow2', 0, { iops: 100, cpuUsPerIo: 20, p99Us: 4 }),
  result(freshWrite, 'qemu-nbd qcow2', 0, { iops: 150, cpuUsPerIo: 10, p99Us: 40 }),
  result(freshWrite, 'qsd raw', 0, { iops: 600, p99Us: 16 }),
];

test('ratios compare medians with the best peer of each role', () => {
  const ratios = compare(session)[0]?.checks?.map(({ of, ratio }) => [of, ratio]);
  expect(Object.fromEntries(ratios ?? [])).toEqual({
    'IOPS ÷ thin': 2,
    'IOPS ÷ raw': 0.5,
    'CPU ÷ thin': 0.5,
    'p50 ÷ thin': 1,
    'p50 ÷ raw': 1,
    'p99 ÷ best': 2,
  });
});

test('a goal is missed on the wrong side of its limit only, and never where nothing was promised', () => {
  const missed = compare(session)[0]?.checks?.filter(isMissed);
  expect(missed?.map(({ of }) => of)).toEqual([
    'IOPS ÷ thin',
    'IOPS ÷ raw',
    'CPU ÷ thin',
    'p99 ÷ best',
  ]);
  const exact = [
    result(depthOne, 'varve', 0, { p50Us: 8, cpuUsPerIo: 8 }),
    result(depthOne, 'qsd qcow2', 0, { p50Us: 10, cpuUsPerIo: 10 }),
    result(depthOne, 'nbdkit file', 0, { p50Us: 8 }),
  ];
  expect(compare(exact)[0]?.checks?.filter(isMissed)).toEqual([]);
  const freely = session.map((each) => ({ ...each, workload: unpromised }));
  expect(compare(freely)[0]?.checks).toHaveLength(6);
  expect(compare(freely)[0]?.checks?.filter(isMissed)).toEqual([]);
});

test('another build is compared with, and is nobody else', () => {
  const builds = [
    result(freshWrite, 'varve', 0, { iops: 300, cpuUsPerIo: 5, p50Us: 4, p99Us: 30 }),
    result(freshWrite, 'varve of /elsewhere', 0, {
      iops: 200,
      cpuUsPerIo: 10,
      p50Us: 8,
      p99Us: 10,
    }),
  ];
  const ratios = compare(builds)[0]?.checks?.map(({ of, ratio }) => [of, ratio]);
  expect(Object.fromEntries(ratios ?? [])).toEqual({
    'IOPS ÷ other build': 1.5,
    'CPU ÷ other build': 0.5,
    'p50 ÷ other build': 0.5,
    'p99 ÷ other build': 3,
  });
});

test('the spread is that of the rounds, in every report', () => {
  const comparisons = compare(session);
  expect(comparisons[0]?.rows[0]).toMatchObject({
    median: { iops: 300 },
    least: { iops: 100 },
    most: { iops: 900 },
  });
  expect(textReport(comparisons)).toContain('300 (100–900)');
  expect(markdownReport([], [{ title: 'Goals', comparisons }])).toContain('300 (100–900)');
});

test('what is missed is named, with its ratio and its goal', () => {
  const comparisons = compare(session);
  const report = markdownReport(['here'], [{ title: 'Goals', comparisons }]);
  expect(report).toContain(`* ${freshWrite.name}: IOPS ÷ thin is 2.00 (at least 2.5), `);
  expect(jsonReport(comparisons, {}).workloads[0]?.checks?.[0]).toMatchObject({ missed: true });
});

test.each([
  ['qsd qcow2', 'Connection refused'],
  ['qsd qcow2', 'data verification failed: verify: bad magic header'],
  ['varve', 'data verification failed: verify: bad magic header'],
])('%s fails (%s): no ratios, and every report says who', (server, message) => {
  const comparisons = compare([
    result(freshWrite, 'varve', 0, { iops: 100 }),
    result(freshWrite, 'qsd qcow2', 0, { iops: 10 }),
    result(freshWrite, server, 1, message),
  ]);
  expect(comparisons[0]?.checks).toBeUndefined();
  const failure = `${server}, round 2: ${message}`;
  const text = textReport(comparisons);
  expect(text).toContain(`failed: ${failure}`);
  expect(text).toContain('not compared');
  expect(markdownReport([], [{ title: 'Goals', comparisons }])).toContain(
    `* ${freshWrite.name}: not compared. ${failure}`,
  );
  expect(jsonReport(comparisons, {}).workloads[0]).toMatchObject({
    checks: null,
    failures: [failure],
  });
});
