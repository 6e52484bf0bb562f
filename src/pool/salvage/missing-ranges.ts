/**
 * Collects what is missing of a volume, in ascending order; neighbours with one reason are one range.
 */
import type { MissingRange } from './types.ts';

export class MissingRanges {
  readonly #ranges: MissingRange[] = [];

  add(range: MissingRange): void {
    const last = this.#ranges.at(-1);
    const joins =
      last !== undefined &&
      last.offset + last.length === range.offset &&
      last.reason === range.reason &&
      last.detail === range.detail;
    if (joins) this.#ranges.splice(-1, 1, { ...last, length: last.length + range.length });
    else this.#ranges.push(range);
  }

  all(): readonly MissingRange[] {
    return this.#ranges;
  }
}
