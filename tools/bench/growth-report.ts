/** Figures of maps of several sizes as one table: a line per figure, a column per size, and the law. Pure. */
import type { Figures } from './chain-session.ts';
import { growthLaw } from './growth-law.ts';

/** @param figures named `SIZE GiB mapped: WHAT`, as growingMaps gives them; a header first */
export function growthTable(figures: Figures, sizesGiB: readonly number[]): string[][] {
  const names = new Set([...figures.keys()].map((name) => name.replace(/^\d+ GiB mapped: /, '')));
  const lines = [...names].map((name) => {
    const points = sizesGiB.flatMap((size) => {
      const value = figures.get(`${size} GiB mapped: ${name}`);
      return typeof value === 'number' ? [{ size, value }] : [];
    });
    const cells = sizesGiB.map((size) => {
      const point = points.find((each) => each.size === size);
      return point === undefined ? '-' : point.value.toPrecision(3);
    });
    return [name, ...cells, growthLaw(points)];
  });
  return [['', ...sizesGiB.map((size) => `${size} GiB`), 'grows'], ...lines];
}
