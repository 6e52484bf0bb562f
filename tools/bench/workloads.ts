/**
 * The workloads and their goals (docs: the ratios we want to reach, varve ÷ peer).
 *
 * A `fresh` workload meets an empty volume and never touches a place twice; the others meet a volume
 * whose first `span` bytes were written before.
 */
export interface Goal {
  /** IOPS at least this × the best thin peer's, the best raw one's, the ceiling's. */
  readonly thin: number;
  readonly raw: number;
  readonly ceiling?: number;
  /** Server CPU per I/O at most this × the best thin peer's. */
  readonly cpu: number;
}

/** What fio does. */
export interface IoPattern {
  readonly fresh: boolean;
  readonly pattern: 'randread' | 'randwrite' | 'randrw' | 'read' | 'write';
  readonly blockSize: '4k' | '64k' | '1m';
  /** Requests in flight per connection. */
  readonly depth: number;
  readonly connections?: number;
  /** Flush after every so many writes. */
  readonly flushEvery?: number;
}

export interface Workload extends IoPattern {
  readonly name: string;
  readonly goal: Goal;
}

export const workloads: readonly Workload[] = [
  {
    name: 'fresh random write 4k qd32',
    fresh: true,
    pattern: 'randwrite',
    blockSize: '4k',
    depth: 32,
    goal: { thin: 2.5, raw: 1.0, cpu: 0.4 },
  },
  {
    name: 'fresh write 4k, flush every 8, qd8',
    fresh: true,
    pattern: 'randwrite',
    blockSize: '4k',
    depth: 8,
    flushEvery: 8,
    goal: { thin: 2.0, raw: 1.0, cpu: 0.6 },
  },
  {
    name: 'fresh sequential write 1m qd8',
    fresh: true,
    pattern: 'write',
    blockSize: '1m',
    depth: 8,
    goal: { thin: 2.0, raw: 1.0, cpu: 0.7 },
  },
  {
    name: 'random overwrite 4k qd32',
    fresh: false,
    pattern: 'randwrite',
    blockSize: '4k',
    depth: 32,
    goal: { thin: 1.5, raw: 1.1, cpu: 0.5 },
  },
  {
    name: 'overwrite 4k, flush every 8, qd8',
    fresh: false,
    pattern: 'randwrite',
    blockSize: '4k',
    depth: 8,
    flushEvery: 8,
    goal: { thin: 1.3, raw: 1.1, cpu: 0.7 },
  },
  {
    name: 'sequential overwrite 1m qd8',
    fresh: false,
    pattern: 'write',
    blockSize: '1m',
    depth: 8,
    goal: { thin: 1.3, raw: 1.0, cpu: 0.8 },
  },
  {
    name: 'random read 4k qd1',
    fresh: false,
    pattern: 'randread',
    blockSize: '4k',
    depth: 1,
    // The goal is a p50 of 0.8 of the best thin peer's and at most raw's: at depth 1 that is IOPS inverted.
    goal: { thin: 1.25, raw: 1.0, cpu: 0.8 },
  },
  {
    name: 'random read 4k qd32',
    fresh: false,
    pattern: 'randread',
    blockSize: '4k',
    depth: 32,
    goal: { thin: 1.5, raw: 1.2, ceiling: 0.95, cpu: 0.5 },
  },
  {
    name: 'random read 4k qd32, 4 connections',
    fresh: false,
    pattern: 'randread',
    blockSize: '4k',
    depth: 32,
    connections: 4,
    goal: { thin: 1.8, raw: 1.2, cpu: 0.5 },
  },
  {
    name: 'as QEMU: 70/30 random 4k qd16',
    fresh: false,
    pattern: 'randrw',
    blockSize: '4k',
    depth: 16,
    goal: { thin: 1.5, raw: 1.1, cpu: 0.5 },
  },
  {
    name: 'mixed 70/30 random 64k qd32',
    fresh: false,
    pattern: 'randrw',
    blockSize: '64k',
    depth: 32,
    goal: { thin: 1.5, raw: 1.1, cpu: 0.6 },
  },
  {
    name: 'sequential read 1m qd8',
    fresh: false,
    pattern: 'read',
    blockSize: '1m',
    depth: 8,
    goal: { thin: 1.5, raw: 1.1, cpu: 0.6 },
  },
];
