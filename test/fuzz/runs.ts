/**
 * How often a property is tried: a few times as part of the tests, FUZZ_RUNS times in the long form (`npm run fuzz -- parsers`).
 *
 * fast-check prints seed and path of a failure; FUZZ_SEED replays it.
 */
export function runs(few: number): { numRuns: number; seed?: number } {
  const { FUZZ_RUNS, FUZZ_SEED } = process.env;
  const numRuns = FUZZ_RUNS === undefined ? few : Number(FUZZ_RUNS);
  return FUZZ_SEED === undefined ? { numRuns } : { numRuns, seed: Number(FUZZ_SEED) };
}
