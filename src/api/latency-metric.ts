/**
 * The latencies of guests as a Prometheus histogram: the data plane has counted, here its buckets are made fewer and cumulative.
 *
 * prom-client's own Histogram counts by itself and takes no counts of others; what the registry asks of a metric is little.
 */
import type { Metric, MetricValueWithName } from 'prom-client';
import type { Latency } from '../dataplane/data-plane.ts';
import { countOf } from '../pool/latency-histogram.ts';
import type { PoolActivity } from '../pool/types.ts';

const name = 'varve_pool_request_seconds';
/** Of the data plane's buckets every so many are one: doubling, as it has eight of them per power of two. */
const bucketsJoined = 8;
const requestKinds = ['read', 'write', 'flush'] as const;

export function latencyMetric(read: () => readonly PoolActivity[]): Metric<string> {
  const metric = { name, get: async () => described(read()) };
  return metric as unknown as Metric<string>;
}

function described(pools: readonly PoolActivity[]) {
  const values = pools.flatMap(({ pool, latencies, latencyBounds }) =>
    requestKinds.flatMap((kind) => valuesOf({ pool, kind }, latencies[kind], latencyBounds)),
  );
  const help = 'What guests waited for: reads, writes, and flushes with writes of FUA';
  return { name, help, type: 'histogram', aggregator: 'sum', values };
}

function valuesOf(
  labels: { readonly pool: string; readonly kind: string },
  { counts, seconds }: Latency,
  bounds: Float64Array,
): MetricValueWithName<string>[] {
  const value = (suffix: string, amount: number, more = {}) => ({
    metricName: `${name}_${suffix}`,
    labels: { ...labels, ...more },
    value: amount,
  });
  const total = countOf(counts);
  const buckets = cumulative(counts, bounds).map(([bound, count]) =>
    value('bucket', count, { le: Number(bound.toPrecision(4)) }),
  );
  return [
    ...buckets,
    value('bucket', total, { le: '+Inf' }),
    value('sum', seconds),
    value('count', total),
  ];
}

function cumulative(counts: Float64Array, bounds: Float64Array): [bound: number, count: number][] {
  const joined: [number, number][] = [];
  let sum = 0;
  counts.forEach((count, at) => {
    sum += count;
    // What is in the last bucket may have taken longer than its bound.
    if ((at + 1) % bucketsJoined === 0 && at + 1 < counts.length)
      joined.push([bounds[at] as number, sum]);
  });
  return joined;
}
