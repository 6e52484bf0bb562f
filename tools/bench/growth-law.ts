/** How a figure grows with the size of what it was measured on. Pure. */

/** An exponent within this of 0 or 1 is taken for it: single figures of a busy machine differ by a quarter. */
const tolerance = 0.15;

/**
 * The law by which `value` follows `size`: `flat`, `linear`, or `size^0.45`. From a line through the logarithms of all points.
 *
 * @param points at least two different sizes; values above 0, else there is no law to name
 */
export function growthLaw(points: readonly { size: number; value: number }[]): string {
  const logs = points
    .filter(({ value }) => value > 0)
    .map(({ size, value }) => ({ x: Math.log(size), y: Math.log(value) }));
  if (logs.length < 2) return '-';
  const exponent = slope(logs);
  if (Math.abs(exponent) <= tolerance) return 'flat';
  if (Math.abs(exponent - 1) <= tolerance) return 'linear';
  return `size^${exponent.toFixed(2)}`;
}

/** Of the line with the least squared distance. */
function slope(points: readonly { x: number; y: number }[]): number {
  const mean = (values: readonly number[]) =>
    values.reduce((sum, each) => sum + each, 0) / values.length;
  const x = mean(points.map((point) => point.x));
  const y = mean(points.map((point) => point.y));
  const along = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0);
  const wide = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  return along / wide;
}
