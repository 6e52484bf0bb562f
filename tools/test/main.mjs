/**
 * `npm test`: set-up, static checks, native tests (plain, asan, tsan), the addon under asan, a minute of fuzzing, vitest (unit, then end to end).
 *
 *   npm test                        everything; about 50 minutes on two cores
 *   npm test -- native vitest       only these pieces: checks, native, asan, tsan, addon, fuzz, vitest
 *
 * All pieces run even when an early one fails. The end names what failed; the last line alone is `N passed, N failed`; the exit
 * status is 0 only when something ran and nothing failed.
 */
import { orExplain, setUp } from '../setup/main.mjs';
import { runChecks } from './checks.mjs';
import { runFuzz } from './fuzz.mjs';
import { runNative } from './native.mjs';
import { runSanitizedAddon } from './sanitized-addon.mjs';
import { sum } from './tally.mjs';
import { runVitest } from './vitest.mjs';

const pieces = {
  checks: runChecks,
  native: () => runNative('plain'),
  asan: () => runNative('asan'),
  tsan: () => runNative('tsan'),
  addon: runSanitizedAddon,
  fuzz: runFuzz,
  vitest: () => runVitest([]),
};

const given = process.argv.slice(2);
const unknown = given.filter((name) => !(name in pieces));
if (unknown.length > 0) {
  process.stderr.write(`error: no such piece: ${unknown.join(', ')}\n`);
  process.stderr.write(`  try:   ${Object.keys(pieces).join(', ')}\n`);
  process.exit(2);
}

orExplain(() => setUp({ test: true }));
const wanted = given.length > 0 ? given : Object.keys(pieces);
const total = sum(wanted.map((name) => pieces[name]()));
for (const name of total.names) process.stdout.write(`failed: ${name}\n`);
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
