/** Static checks: format and lint (biome), types of sources, tests and tools (tsc). Each failing one is a failure. */
import { nothing, oneFailure, succeeds, sum } from './tally.mjs';

export function runChecks() {
  const biome = succeeds('biome', 'node_modules/.bin/biome', ['check', '--error-on-warnings']);
  const types = succeeds('types', 'node_modules/.bin/tsc', ['-p', 'tsconfig.test.json']);
  return sum([biome ? nothing : oneFailure('biome'), types ? nothing : oneFailure('types')]);
}
