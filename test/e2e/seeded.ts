/** Random numbers that a test can repeat: mulberry32, 32 bits of state, good enough to vary moments and sizes. */

/** SEED from the environment, or a fresh one; print it with every failure. */
export function chooseSeed(): number {
  const given = process.env.SEED;
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
}

/** A function that returns whole numbers from `low` up to, not including, `high`. */
export function randomFrom(seed: number): (low: number, high: number) => number {
  let state = seed | 0;
  return (low, high) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return low + Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * (high - low));
  };
}
