/** Vitest, all projects; counts come from its JSON report, a file that could not run is a failure. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { oneFailure, succeeds, sum } from './tally.mjs';

const report = 'build/reports/vitest.json';

/** @param title of the headline and of a failure */
export function runVitest(args, { title = 'vitest', env = {} } = {}) {
  rmSync(report, { force: true });
  mkdirSync('build/reports', { recursive: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const succeeded = succeeds(
    title,
    'node_modules/.bin/vitest',
    ['run', ...reporters, ...args],
    env,
  );
  if (!existsSync(report)) return oneFailure(`${title} gave no report`);
  const found = JSON.parse(readFileSync(report, 'utf8'));
  const broken = found.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length;
  const told = {
    passed: found.numPassedTests,
    failed: found.numFailedTests + broken,
    names: found.testResults
      .filter((file) => file.status === 'failed')
      .map((file) => relative('.', file.name)),
  };
  // Vitest also fails for errors outside of any test; they must not vanish from the count.
  return succeeded || told.failed > 0
    ? told
    : sum([told, oneFailure(`${title}: an error outside of any test`)]);
}
