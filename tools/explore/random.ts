/**
 * Seeded random numbers: the same seed gives the same life.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 0x9e37_79b9 + 1) >>> 0;
  }

  /** A whole number in [0, below). */
  below(below: number): number {
    // xorshift32: short, and good enough to choose by.
    let x = this.#state || 1;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % below;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[this.below(from.length || 1)];
  }
}
