/**
 * Verdicts: ratios of medians beside their goals. Pure.
 *
 * Each ratio is ours ÷ the best of those it is compared with: the most IOPS, the least latency and CPU time that any of them had.
 */
import type { Measurement } from './fio.ts';
import type { ServerKind } from './servers.ts';
import type { Goal } from './workloads.ts';

export interface Check {
  /** A table's column: what is divided by whose. */
  readonly of: string;
  readonly ratio: number;
  /** Undefined where nothing was promised. */
  readonly limit: number | undefined;
  readonly sense: 'at least' | 'at most';
}

export function isMissed({ ratio, limit, sense }: Check): boolean {
  if (limit === undefined) return false;
  return sense === 'at least' ? ratio < limit : ratio > limit;
}

type MedianOf = { readonly role: ServerKind['role']; readonly median: Measurement };

/** A workload's checks; those without anybody to compare with are left out. */
export function workloadChecks(
  varve: Measurement,
  rows: readonly MedianOf[],
  goal?: Goal,
): Check[] {
  const peers = (...roles: ServerKind['role'][]) =>
    rows.filter(({ role }) => roles.includes(role)).map(({ median }) => median);
  const thin = peers('thin');
  const raw = peers('raw');
  const build = peers('build');
  return [
    iopsCheck('IOPS ÷ other build', varve, build, undefined),
    costCheck('CPU ÷ other build', 'cpuUsPerIo', varve, build, undefined),
    costCheck('p50 ÷ other build', 'p50Us', varve, build, undefined),
    costCheck('p99 ÷ other build', 'p99Us', varve, build, undefined),
    iopsCheck('IOPS ÷ thin', varve, thin, goal?.thin),
    iopsCheck('IOPS ÷ raw', varve, raw, goal?.raw),
    iopsCheck('IOPS ÷ ceiling', varve, peers('ceiling'), goal?.ceiling),
    costCheck('CPU ÷ thin', 'cpuUsPerIo', varve, thin, goal?.cpu),
    costCheck('p50 ÷ thin', 'p50Us', varve, thin, goal?.p50Thin),
    costCheck('p50 ÷ raw', 'p50Us', varve, raw, goal?.p50Raw),
    // Wherever anything is promised: no worse than the best peer's.
    costCheck('p99 ÷ best', 'p99Us', varve, [...thin, ...raw], goal && 1),
  ].flat();
}

/** None without peers. */
export function iopsCheck(
  of: string,
  own: Measurement,
  peers: readonly Measurement[],
  limit: number | undefined,
): Check[] {
  if (peers.length === 0) return [];
  const best = Math.max(...peers.map(({ iops }) => iops));
  return [{ of, ratio: own.iops / best, limit, sense: 'at least' }];
}

/** None without peers. */
export function costCheck(
  of: string,
  field: 'cpuUsPerIo' | 'p50Us' | 'p99Us',
  own: Measurement,
  peers: readonly Measurement[],
  limit: number | undefined,
): Check[] {
  if (peers.length === 0) return [];
  const best = Math.min(...peers.map((peer) => peer[field]));
  return [{ of, ratio: own[field] / best, limit, sense: 'at most' }];
}
