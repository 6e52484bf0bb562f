/**
 * Native fuzzers: libFuzzer programs of native/test/*_fuzz.cc with ASan and UBSan, built by clang.
 *
 * Each begins from the seeds kept in native/test/corpus/TARGET, which it never changes; what it finds on the way is kept in build/fuzz/TARGET, so
 * that a later run goes on from there. An input that fails is left in build/fuzz and named by the fuzzer.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { succeeds } from '../test/tally.mjs';

export function nativeTargets() {
  return readdirSync('native/test')
    .filter((name) => name.endsWith('_fuzz.cc'))
    .map((name) => name.slice(0, -'_fuzz.cc'.length))
    .sort();
}

/** Builds the targets. @returns whether all were built */
export function buildNative(targets) {
  const programs = targets.map((target) => `../build/native/fuzz/${target}_fuzz`);
  const make = ['-C', 'native', '-j2', '--silent', 'VARIANT=fuzz', 'CXX=clang++-14'];
  return succeeds('fuzz: build', 'make', [...make, 'DIRS=base io nbd', ...programs]);
}

/**
 * Runs one target.
 *
 * @param limits libFuzzer's own options: `-runs=N` or `-max_total_time=N`, `-verbosity=0`
 * @returns whether nothing was found
 */
export function fuzzNative(target, ...limits) {
  const found = `build/fuzz/${target}`;
  mkdirSync(found, { recursive: true });
  const options = [...limits, '-max_len=8192', '-timeout=20', '-rss_limit_mb=2048'];
  const artifacts = `-artifact_prefix=build/fuzz/${target}-`;
  const corpora = [found, `native/test/corpus/${target}`];
  const args = [...options, '-print_final_stats=1', artifacts, ...corpora];
  return succeeds(`fuzz ${target}`, `build/native/fuzz/${target}_fuzz`, args, {
    UBSAN_OPTIONS: 'print_stacktrace=1',
  });
}
