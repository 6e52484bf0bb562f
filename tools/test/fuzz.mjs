/** A minute of fuzzing: each native target from its seeds; one that finds something is a failure. The others are vitest's (test/fuzz). */
import { buildNative, fuzzNative, nativeTargets } from '../fuzz/native.mjs';
import { oneFailure, sum } from './tally.mjs';

const secondsInAll = 50;
/** The connection has by far the most to be found in. */
const shares = { nbd: 0.6 };

export function runFuzz() {
  const targets = nativeTargets();
  if (!buildNative(targets)) return oneFailure('fuzz: build');
  const rest = targets.filter((target) => shares[target] === undefined);
  const left = 1 - Object.values(shares).reduce((total, share) => total + share, 0);
  return sum(
    targets.map((target) => {
      const seconds = Math.round(secondsInAll * (shares[target] ?? left / rest.length));
      return fuzzNative(target, `-max_total_time=${seconds}`, '-verbosity=0')
        ? { passed: 1, failed: 0, names: [] }
        : oneFailure(`fuzz ${target}`);
    }),
  );
}
