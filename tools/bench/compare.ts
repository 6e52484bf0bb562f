/**
 * Comparison: medians of a session with their spread, and varve's ratios to the peers. Pure.
 *
 * Refuses instead of flattering: where varve or any peer failed, or lost data, in any round, a workload has no ratios.
 */
import type { Measurement } from './fio.ts';
import type { ServerKind } from './servers.ts';
import type { Result } from './session.ts';
import { type Check, workloadChecks } from './verdict.ts';

export interface Row {
  readonly server: string;
  readonly role: ServerKind['role'];
  readonly median: Measurement;
  /** The rounds' least and most. */
  readonly least: Measurement;
  readonly most: Measurement;
}

export interface Comparison {
  readonly name: string;
  readonly rows: readonly Row[];
  /** Who failed, when and how. */
  readonly failures: readonly string[];
  /** Undefined when something failed or varve did not take part. */
  readonly checks: readonly Check[] | undefined;
}

export function compare(results: readonly Result[]): Comparison[] {
  const workloads = [...new Set(results.map((result) => result.workload))];
  return workloads.map((workload) => {
    const own = results.filter((result) => result.workload === workload);
    const failures = own.flatMap(({ server, round, outcome }) =>
      typeof outcome === 'string' ? [`${server.name}, round ${round + 1}: ${outcome}`] : [],
    );
    const rows = rowsOf(own);
    const varve = rows.find(({ role }) => role === 'varve')?.median;
    const isFair = failures.length === 0 && varve !== undefined;
    const checks = isFair ? workloadChecks(varve, rows, workload.goal) : undefined;
    return { name: workload.name, rows, failures, checks };
  });
}

function rowsOf(results: readonly Result[]): Row[] {
  const servers = [...new Set(results.map((result) => result.server))];
  return servers.flatMap((server) => {
    const measured = results.flatMap(({ server: of, outcome }) =>
      of === server && typeof outcome !== 'string' ? [outcome] : [],
    );
    return measured.length === 0 ? [] : [rowOf(server.name, server.role, measured)];
  });
}

/** @param measured one per round, at least one */
export function rowOf(server: string, role: Row['role'], measured: readonly Measurement[]): Row {
  return {
    server,
    role,
    median: medianOf(measured),
    least: everyField(measured, (values) => Math.min(...values)),
    most: everyField(measured, (values) => Math.max(...values)),
  };
}

/** The median of every field. */
export function medianOf(measured: readonly Measurement[]): Measurement {
  return everyField(measured, median);
}

function everyField(
  measured: readonly Measurement[],
  choose: (values: readonly number[]) => number,
): Measurement {
  const of = (field: keyof Measurement) => choose(measured.map((one) => one[field]));
  return {
    iops: of('iops'),
    bytesPerSecond: of('bytesPerSecond'),
    p50Us: of('p50Us'),
    p99Us: of('p99Us'),
    cpuUsPerIo: of('cpuUsPerIo'),
    memoryPeakMiB: of('memoryPeakMiB'),
  };
}

/** The middle value; of an even number of values the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}
