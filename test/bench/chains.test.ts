// Goal: the chain benchmark writes to every cluster exactly once, and its table compares like with like.
// Method: read the log back; made-up figures with known medians and ratios.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clusterBytes } from '../../tools/bench/chain-disks.ts';
import { chainTable, medianFigures } from '../../tools/bench/chain-report.ts';
import type { Figures } from '../../tools/bench/chain-session.ts';
import type { Measurement } from '../../tools/bench/fio.ts';
import { writeReplayLog } from '../../tools/bench/replay-log.ts';

function figures(iops: number, seconds: number): Figures {
  const rest = { bytesPerSecond: 1, p50Us: 1, p99Us: 1, cpuUsPerIo: 1, memoryPeakMiB: 1 };
  return new Map<string, Measurement | number>([
    ['depth 0', { iops: 100, ...rest }],
    ['depth 10', { iops, ...rest }],
    ['snapshot', seconds],
  ]);
}

test('a replay log writes once into every cluster, not in order', () => {
  const folder = mkdtempSync(join(tmpdir(), 'varve-log-'));
  try {
    writeReplayLog(join(folder, 'log'), 4);
    const log = readFileSync(join(folder, 'log'), 'utf8');
    const offsets = [...log.matchAll(/^nbd write (\d+) 4096$/gm)].map((match) => Number(match[1]));
    const clusters = offsets.map((offset) => Math.floor(offset / clusterBytes));
    const ascending = [...clusters].sort((a, b) => a - b);
    expect(ascending).toEqual(Array.from({ length: 64 }, (_, index) => index));
    expect(clusters).not.toEqual(ascending);
    expect(offsets.every((offset) => offset % 4096 === 0)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('rounds become their medians, measurements and seconds alike', () => {
  const median = medianFigures([figures(10, 3), figures(90, 1), figures(30, 2)]);
  expect(median.get('depth 10')).toMatchObject({ iops: 30 });
  expect(median.get('snapshot')).toBe(2);
});

test('a line is compared with its own first one and with varve at the same depth', () => {
  const kinds = new Map([
    ['varve', figures(90, 0.01)],
    ['qcow2', figures(20, 0.3)],
  ]);
  const line = chainTable(kinds, 'varve')
    .split('\n')
    .find((text) => text.includes('qcow2: depth 10'));
  expect(line?.split(/\s{2,}/).slice(2, 5)).toEqual(['20', '0.20', '4.50']);
});
