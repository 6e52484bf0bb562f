/**
 * One measurement: fio's nbd engine against a server, and the CPU time that the server spent meanwhile.
 */
import { run } from '../lib/command.ts';
import { Daemon } from '../lib/daemon.ts';
import { cpuSeconds } from './cpu.ts';
import { forgetPeak, peakMiB } from './process-memory.ts';
import { onFirstProcessor } from './processor.ts';
import type { RunningServer } from './servers.ts';
import type { IoPattern } from './workloads.ts';

export interface Measurement {
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Completion latency. */
  readonly p50Us: number;
  readonly p99Us: number;
  /** User and system time of the server process, all its threads. */
  readonly cpuUsPerIo: number;
  /** The server's resident memory at its highest. */
  readonly memoryPeakMiB: number;
}

export interface Extent {
  /** The part of the volume that requests go to. */
  readonly spanMiB: number;
  readonly runtimeSeconds: number;
}

/** @throws Error fio failed or measured nothing */
export async function measure(
  server: RunningServer,
  workload: IoPattern,
  extent: Extent,
): Promise<Measurement> {
  const once = () =>
    measureJob(server, patternArguments(workload, extent), extent.runtimeSeconds + 120);
  return workload.oneProcessor ? onFirstProcessor(server.pid, once) : once();
}

/**
 * Replays `log` (replay-log.ts) as fast as the server answers, at depth 32; every request is done once.
 *
 * @throws Error fio failed or measured nothing
 */
export async function measureReplay(
  server: RunningServer,
  log: string,
  spanMiB: number,
): Promise<Measurement> {
  const replay = [`--read_iolog=${log}`, '--replay_no_stall=1', '--rw=randwrite', '--bs=4k'];
  return measureJob(server, [...replay, '--iodepth=32', `--size=${spanMiB}M`], 600);
}

/** Reads 4 KiB at the beginning of every `strideMiB` of the volume, one after the other. @throws Error fio failed */
export async function measureStride(
  server: RunningServer,
  strideMiB: number,
  sizeMiB: number,
): Promise<Measurement> {
  const skipKiB = strideMiB * 1024 - 4;
  const stride = [`--rw=read:${skipKiB}k`, '--bs=4k', '--iodepth=1', `--size=${sizeMiB}M`];
  // Single requests: what they take from the call on, be they answered before fio looks for answers.
  stride.push('--lat_percentiles=1', '--clat_percentiles=0');
  // fio would come round once more: what it skips counts for nothing.
  return measureJob(server, [...stride, `--number_ios=${Math.ceil(sizeMiB / strideMiB)}`], 600);
}

/**
 * What the requests met while `work` went on: it begins when fio does I/O, which ends with it.
 *
 * @throws Error fio failed or measured nothing; what `work` throws
 */
export async function measureBeside<T>(
  server: RunningServer,
  workload: IoPattern,
  spanMiB: number,
  work: () => Promise<T>,
): Promise<{ measured: Measurement; result: T }> {
  const job = patternArguments(workload, { spanMiB, runtimeSeconds: besideSecondsMax });
  const measured = meter(server.pid);
  const fio = new Daemon('fio', fioArguments(server, job));
  let report = '';
  fio.stdout.on('data', (chunk: Buffer) => {
    report += chunk.toString();
  });
  try {
    await fio.until(() => cpuSeconds(fio.pid) >= fioAtWorkCpuSeconds);
    const result = await work();
    await fio.end('SIGINT');
    return { measured: measured(report), result };
  } finally {
    await fio.end('SIGKILL');
  }
}

/** Longer than anything that is measured beside. */
const besideSecondsMax = 900;
/** More than its start takes. */
const fioAtWorkCpuSeconds = 0.3;

/** `work` while another fio, which starts beside it and ends with it, keeps the server busy. @param rate requests per second at most */
export async function withLoad<T>(
  server: RunningServer,
  workload: IoPattern,
  { spanMiB, rate }: { readonly spanMiB: number; readonly rate?: number },
  work: () => Promise<T>,
): Promise<T> {
  const job = patternArguments(workload, { spanMiB, runtimeSeconds: besideSecondsMax });
  if (rate !== undefined) job.push(`--rate_iops=${rate}`);
  const fio = new Daemon('fio', fioArguments(server, job)).drainOutput();
  try {
    return await work();
  } finally {
    await fio.end('SIGKILL');
  }
}

async function measureJob(
  server: RunningServer,
  jobArguments: readonly string[],
  timeoutSeconds: number,
): Promise<Measurement> {
  const measured = meter(server.pid);
  const report = await run('fio', fioArguments(server, jobArguments), {
    timeoutMs: timeoutSeconds * 1000,
  });
  return measured(report);
}

/** One job for each of the server's volumes, reported as one. */
function fioArguments({ uri, others = [] }: RunningServer, job: readonly string[]): string[] {
  const volumes = [uri, ...others].flatMap((each, at) => [
    ...[`--name=bench${at}`, '--ioengine=nbd', `--uri=${each}`, '--thread'],
    ...['--group_reporting', '--unified_rw_reporting=1', ...job],
  ]);
  return ['--output-format=json', ...volumes];
}

/** Begins to measure a process. @returns what ends it: fio's report becomes a measurement */
function meter(pid: number): (report: string) => Measurement {
  forgetPeak(pid);
  const cpuBefore = cpuSeconds(pid);
  return (report) => measurementOf(report, cpuSeconds(pid) - cpuBefore, peakMiB(pid));
}

function measurementOf(report: string, cpu: number, memoryPeakMiB: number): Measurement {
  const [job] = JSON.parse(report.slice(report.indexOf('{'))).jobs as [FioJob];
  const { mixed } = job;
  const { percentile } = mixed.clat_ns.percentile === undefined ? mixed.lat_ns : mixed.clat_ns;
  if (percentile === undefined) throw new Error('fio has no percentiles');
  if (job.error !== 0 || mixed.total_ios === 0) throw new Error(`fio error ${job.error}`);
  return {
    iops: mixed.iops,
    bytesPerSecond: mixed.bw_bytes,
    p50Us: percentile['50.000000'] / 1000,
    p99Us: percentile['99.000000'] / 1000,
    cpuUsPerIo: (cpu * 1e6) / mixed.total_ios,
    memoryPeakMiB,
  };
}

/** Writes the first `spanMiB` of every volume once, so that later workloads find data everywhere. */
export async function fill({ uri, others = [] }: RunningServer, spanMiB: number): Promise<void> {
  for (const each of [uri, ...others]) {
    const job = ['--name=fill', '--ioengine=nbd', `--uri=${each}`, `--size=${spanMiB}M`];
    await run('fio', [...job, '--rw=write', '--bs=1m', '--iodepth=8', '--end_fsync=1'], {
      timeoutMs: 300_000,
    });
  }
}

interface FioJob {
  readonly error: number;
  readonly mixed: {
    readonly total_ios: number;
    readonly iops: number;
    readonly bw_bytes: number;
    readonly clat_ns: FioLatency;
    readonly lat_ns: FioLatency;
  };
}

/** One of the two has percentiles. */
interface FioLatency {
  readonly percentile?: { readonly '50.000000': number; readonly '99.000000': number };
}

function patternArguments(workload: IoPattern, extent: Extent): string[] {
  const { pattern, blockSize, depth, connections = 1, flushEvery, fresh } = workload;
  // Fresh space is used up, by each connection its own, not come round to again: the run ends early when the span is full.
  const share = Math.floor(extent.spanMiB / connections);
  const place = fresh
    ? [`--size=${share}M`, `--offset_increment=${share}M`]
    : [`--size=${extent.spanMiB}M`, '--time_based', '--norandommap'];
  return [
    '--rwmixread=70',
    ...[`--rw=${pattern}`, `--bs=${blockSize}`, `--iodepth=${depth}`, `--numjobs=${connections}`],
    ...[...place, `--runtime=${Math.round(1000 * extent.runtimeSeconds)}ms`],
    ...(flushEvery === undefined ? [] : [`--fsync=${flushEvery}`]),
    ...(workload.oneProcessor ? ['--cpus_allowed=0'] : []),
  ];
}
