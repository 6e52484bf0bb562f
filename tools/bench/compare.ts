/**
 * Comparison: medians of a session, and varve's ratios to the peers. Pure.
 *
 * Refuses instead of flattering: where varve or any peer failed in any round, a workload has no ratios.
 */
import type { Measurement } from './fio.ts';
import type { ServerKind } from './servers.ts';
import type { Result } from './session.ts';
import type { Workload } from './workloads.ts';

export interface Row {
  readonly server: ServerKind;
  readonly median: Measurement;
}

/** varve ÷ the best peer of a role; undefined where the session had no such peer. */
export interface Ratios {
  readonly iopsToThin: number | undefined;
  readonly iopsToRaw: number | undefined;
  readonly iopsToCeiling: number | undefined;
  readonly cpuToThin: number | undefined;
  readonly p99ToBest: number | undefined;
}

export interface Comparison {
  readonly workload: Workload;
  readonly rows: readonly Row[];
  readonly failures: readonly string[];
  /** Undefined when something failed or varve did not take part. */
  readonly ratios: Ratios | undefined;
}

export function compare(results: readonly Result[]): Comparison[] {
  const workloads = [...new Set(results.map((result) => result.workload))];
  return workloads.map((workload) => {
    const own = results.filter((result) => result.workload === workload);
    const failures = own.flatMap(({ server, round, outcome }) =>
      typeof outcome === 'string' ? [`${server.name}, round ${round + 1}: ${outcome}`] : [],
    );
    const rows = rowsOf(own);
    const ratios = failures.length === 0 ? ratiosOf(rows) : undefined;
    return { workload, rows, failures, ratios };
  });
}

function rowsOf(results: readonly Result[]): Row[] {
  const servers = [...new Set(results.map((result) => result.server))];
  return servers.flatMap((server) => {
    const measured = results.flatMap(({ server: of, outcome }) =>
      of === server && typeof outcome !== 'string' ? [outcome] : [],
    );
    return measured.length === 0 ? [] : [{ server, median: medianOf(measured) }];
  });
}

function ratiosOf(rows: readonly Row[]): Ratios | undefined {
  const varve = rows.find(({ server }) => server.role === 'varve')?.median;
  if (varve === undefined) return undefined;
  const peers = (role: ServerKind['role']) =>
    rows.filter(({ server }) => server.role === role).map(({ median }) => median);
  const thin = peers('thin');
  const raw = peers('raw');
  return {
    iopsToThin: ratio(
      varve.iops,
      thin.map(({ iops }) => iops),
      Math.max,
    ),
    iopsToRaw: ratio(
      varve.iops,
      raw.map(({ iops }) => iops),
      Math.max,
    ),
    iopsToCeiling: ratio(
      varve.iops,
      peers('ceiling').map(({ iops }) => iops),
      Math.max,
    ),
    cpuToThin: ratio(
      varve.cpuUsPerIo,
      thin.map(({ cpuUsPerIo }) => cpuUsPerIo),
      Math.min,
    ),
    p99ToBest: ratio(
      varve.p99Us,
      [...thin, ...raw].map(({ p99Us }) => p99Us),
      Math.min,
    ),
  };
}

function ratio(own: number, peers: readonly number[], best: (...values: number[]) => number) {
  return peers.length === 0 ? undefined : own / best(...peers);
}

/** The median of every field. */
export function medianOf(measured: readonly Measurement[]): Measurement {
  const of = (field: keyof Measurement) => median(measured.map((one) => one[field]));
  return {
    iops: of('iops'),
    bytesPerSecond: of('bytesPerSecond'),
    p50Us: of('p50Us'),
    p99Us: of('p99Us'),
    cpuUsPerIo: of('cpuUsPerIo'),
  };
}

/** The middle value; of an even number of values the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}
