/**
 * A log for fio to replay: one 4 KiB write into every cluster of a span, in random order.
 *
 * fio's own random patterns either visit a cluster many times (aligned to 4 KiB) or forget where they were (aligned to
 * clusters), and what a write costs after a snapshot is paid by the first one to a cluster only.
 */
import { writeFileSync } from 'node:fs';
import { clusterBytes } from './chain-disks.ts';

const blockBytes = 4096;

/** Writes the log to `path`; the same for the same span. */
export function writeReplayLog(path: string, spanMiB: number): void {
  const random = seededRandom(1);
  const order = shuffled((spanMiB * 1024 * 1024) / clusterBytes, random);
  const blocks = clusterBytes / blockBytes;
  const writes = order.map((cluster) => {
    const offset = cluster * clusterBytes + random(blocks) * blockBytes;
    return `nbd write ${offset} ${blockBytes}`;
  });
  // `nbd` is what fio's engine calls its only file.
  const lines = ['fio version 2 iolog', 'nbd add', 'nbd open', ...writes, 'nbd close'];
  writeFileSync(path, `${lines.join('\n')}\n`);
}

/** 0 to count - 1 in random order. */
function shuffled(count: number, random: (below: number) => number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = random(last + 1);
    [order[last], order[other]] = [order[other] as number, order[last] as number];
  }
  return order;
}

/** xorshift32: every round of every kind gets the same requests. */
function seededRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
