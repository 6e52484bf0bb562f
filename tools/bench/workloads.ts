/**
 * The workloads and their goals: the ratios that we want to reach, varve ÷ peer.
 *
 * A `fresh` workload meets an empty volume and never touches a place twice; the others meet a volume
 * whose first `span` bytes were written before.
 */
export interface Goal {
  /** IOPS at least this × the best thin peer's, the best raw one's, the ceiling's. */
  readonly thin?: number;
  readonly raw?: number;
  readonly ceiling?: number;
  /** Half of the requests within this × what the best thin, or raw, peer's are within. */
  readonly p50Thin?: number;
  readonly p50Raw?: number;
  /** Server CPU per I/O at most this × the best thin peer's. */
  readonly cpu?: number;
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
  /** Client and server share processor 0: nobody waits until an idle processor has been woken, which takes a virtual machine tens of µs. */
  readonly oneProcessor?: boolean;
}

export interface Workload extends IoPattern {
  readonly name: string;
  /** Undefined where nothing was promised. */
  readonly goal: Goal | undefined;
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
    goal: { p50Thin: 0.8, p50Raw: 1.0, cpu: 0.8 },
  },
  {
    name: 'random read 4k qd1, one processor',
    fresh: false,
    pattern: 'randread',
    blockSize: '4k',
    depth: 1,
    oneProcessor: true,
    goal: { p50Thin: 0.8, p50Raw: 1.0, cpu: 0.8 },
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

const read4k: IoPattern = { fresh: false, pattern: 'randread', blockSize: '4k', depth: 32 };
const asQemu: IoPattern = { fresh: false, pattern: 'randrw', blockSize: '4k', depth: 16 };
const fresh4k: IoPattern = { fresh: true, pattern: 'randwrite', blockSize: '4k', depth: 32 };

/** By connections: how servers scale, and what a crowd of clients costs. */
export const crowds: readonly Workload[] = [1, 4, 16].flatMap((connections) => {
  const name = `${connections} connection${connections === 1 ? '' : 's'}`;
  return [
    { ...read4k, name: `random read 4k qd32, ${name}`, connections, goal: undefined },
    { ...asQemu, name: `as QEMU: 70/30 random 4k qd16, ${name}`, connections, goal: undefined },
    { ...fresh4k, name: `fresh random write 4k qd32, ${name}`, connections, goal: undefined },
  ];
});

/** Some of all sorts, without goals, for the settings beside the plain one. */
export const sampler: readonly Workload[] = workloads
  .filter(({ connections = 1, blockSize }) => connections === 1 && blockSize !== '64k')
  .map((workload) => ({ ...workload, goal: undefined }));
