/**
 * Latency histograms: what is read off the counts that the data plane keeps. Pure; the counts belong to ascending bounds (Addon.latencyBounds).
 */

/** How many requests there were. */
export function countOf(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** What was counted since `earlier`. */
export function since(counts: Float64Array, earlier: Float64Array): Float64Array {
  return counts.map((count, at) => count - (earlier[at] as number));
}

/** The counts together; those of `older` weigh `weight` as much. */
export function blended(counts: Float64Array, older: Float64Array, weight: number): Float64Array {
  return counts.map((count, at) => count + weight * (older[at] as number));
}

/** That share of the requests took less than so many seconds: the bound of a bucket. 0 when there were none. */
export function quantile(counts: Float64Array, bounds: Float64Array, share: number): number {
  let left = share * countOf(counts);
  if (left === 0) return 0;
  const bucket = counts.findIndex((count) => {
    left -= count;
    return left <= 0;
  });
  return bounds[bucket] ?? (bounds.at(-1) as number);
}
