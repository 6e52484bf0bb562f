// Goal: the benchmark's ratios are medians against the best peer of each role, and are refused after a failure.
// Method: made-up results with known medians.
import { expect, test } from 'vitest';
import { compare, median } from '../../tools/bench/compare.ts';
import type { Measurement } from '../../tools/bench/fio.ts';
import { textReport } from '../../tools/bench/report.ts';
import { serverKinds } from '../../tools/bench/servers.ts';
import type { Result } from '../../tools/bench/session.ts';
import { workloads } from '../../tools/bench/workloads.ts';

const [workload] = workloads;
if (workload === undefined) throw new Error('there are workloads');

function result(name: string, round: number, outcome: Partial<Measurement> | string): Result {
  const server = serverKinds.find((kind) => kind.name === name);
  if (server === undefined || workload === undefined) throw new Error(`there is a server ${name}`);
  const base = { iops: 1, bytesPerSecond: 1, p50Us: 1, p99Us: 1, cpuUsPerIo: 1 };
  return {
    workload,
    server,
    round,
    outcome: typeof outcome === 'string' ? outcome : { ...base, ...outcome },
  };
}

test('the median of an even number of values lies between the middle ones', () => {
  expect(median([5, 1, 9])).toBe(5);
  expect(median([4, 1, 9, 2])).toBe(3);
});

test('ratios compare medians with the best peer of each role', () => {
  const results = [
    ...[100, 900, 300].map((iops, round) =>
      result('varve', round, { iops, cpuUsPerIo: 5, p99Us: 8 }),
    ),
    result('qsd qcow2', 0, { iops: 100, cpuUsPerIo: 20, p99Us: 4 }),
    result('qemu-nbd qcow2', 0, { iops: 150, cpuUsPerIo: 10, p99Us: 40 }),
    result('qsd raw', 0, { iops: 600, p99Us: 16 }),
  ];
  expect(compare(results)[0]?.ratios).toEqual({
    iopsToThin: 2,
    iopsToRaw: 0.5,
    iopsToCeiling: undefined,
    cpuToThin: 0.5,
    p99ToBest: 2,
  });
});

test('a failed peer leaves no ratios, and the report says who failed', () => {
  const results = [
    result('varve', 0, { iops: 100 }),
    result('qsd qcow2', 0, { iops: 10 }),
    result('qsd qcow2', 1, 'Connection refused'),
  ];
  const [comparison] = compare(results);
  expect(comparison?.ratios).toBeUndefined();
  const report = textReport(compare(results));
  expect(report).toContain('failed: qsd qcow2, round 2: Connection refused');
  expect(report).toContain('not compared');
});
