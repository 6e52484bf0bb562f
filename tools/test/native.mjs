/**
 * Native tests: googletest programs through native/Makefile, one variant (plain, asan, tsan) at a time.
 *
 * Counts come from googletest's own JSON reports, one file per program; a program without a report died. What a sanitizer found
 * is in no report: then the run as a whole is a failure.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { oneFailure, succeeds, sum } from './tally.mjs';

export function runNative(variant) {
  const reports = resolve(`build/reports/native-${variant}`);
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const make = ['-C', 'native', `VARIANT=${variant}`, '-j2'];
  if (!succeeds(`native ${variant}: build`, 'make', [...make, '--silent', 'all']))
    return oneFailure(`native ${variant}: build`);
  const passed = succeeds(`native ${variant}`, 'make', [...make, '--silent', 'test'], {
    GTEST_OUTPUT: `json:${reports}/`,
  });
  const told = sum(testPrograms().map((program) => tallyOf(reports, program)));
  return passed || told.failed > 0
    ? told
    : sum([told, oneFailure(`native ${variant}: a report or a signal, see above`)]);
}

function testPrograms() {
  return readdirSync('native/test')
    .filter((name) => name.endsWith('_test.cc'))
    .map((name) => name.slice(0, -'.cc'.length));
}

function tallyOf(reports, program) {
  const report = `${reports}/${program}.json`;
  if (!existsSync(report)) return oneFailure(`${basename(reports)}/${program} died`);
  const { tests, failures, errors, disabled } = JSON.parse(readFileSync(report, 'utf8'));
  const failed = failures + errors;
  return {
    passed: tests - failed - disabled,
    failed,
    names: failed > 0 ? [`${basename(reports)}/${program}`] : [],
  };
}
