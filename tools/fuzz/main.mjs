/**
 * Fuzzing, as long as wanted.
 *
 *   npm run fuzz                                 every target, 10 million executions of each native one
 *   npm run fuzz -- nbd --seconds 600            one, for a time
 *   npm run fuzz -- nbd scsi --runs 1000000      some, by executions
 *   npm run fuzz -- parsers --runs 100000        those of what TypeScript reads (test/fuzz, backup streams; fast-check)
 *
 * Exit status: 0 nothing found, 1 something was, 2 usage.
 */
import { orExplain, setUp } from '../setup/main.mjs';
import { runVitest } from '../test/vitest.mjs';
import { buildNative, fuzzNative, nativeTargets } from './native.mjs';

const parsers = 'parsers';
const runsDefault = 10_000_000;
/** Of each property of fast-check, where a run costs thousands of times more. */
const propertyRunsDefault = 20_000;

function refuse(message) {
  process.stderr.write(`error: ${message}\n`);
  process.stderr.write(
    `  try:   ${[...nativeTargets(), parsers].join(', ')}; --runs N, --seconds N\n`,
  );
  process.exit(2);
}

function parseArguments(given) {
  const wanted = { targets: [], limit: undefined };
  for (let at = 0; at < given.length; at++) {
    const [word, value] = [given[at], Number(given[at + 1])];
    if (word === '--runs' || word === '--seconds') {
      if (!Number.isInteger(value) || value <= 0) refuse(`${word} needs a number`);
      wanted.limit = { kind: word, value };
      at += 1;
    } else wanted.targets.push(word);
  }
  const known = [...nativeTargets(), parsers];
  const unknown = wanted.targets.filter((target) => !known.includes(target));
  if (unknown.length > 0) refuse(`no such target: ${unknown.join(', ')}`);
  return { limit: wanted.limit, targets: wanted.targets.length > 0 ? wanted.targets : known };
}

function nativeLimit(limit) {
  if (limit?.kind === '--seconds') return `-max_total_time=${limit.value}`;
  return `-runs=${limit?.value ?? runsDefault}`;
}

function fuzzParsers(limit) {
  const runs = limit?.kind === '--runs' ? limit.value : propertyRunsDefault;
  process.env.FUZZ_RUNS = String(runs);
  return (
    runVitest([
      '--project',
      'unit',
      'test/fuzz',
      'test/backup/stream.test.ts',
      '--testTimeout=86400000',
    ]).failed === 0
  );
}

const { targets, limit } = parseArguments(process.argv.slice(2));
orExplain(() => setUp({ test: true }));
const native = targets.filter((target) => target !== parsers);
let isClean = native.length === 0 || buildNative(native);
if (isClean)
  for (const target of native) isClean = fuzzNative(target, nativeLimit(limit)) && isClean;
if (targets.includes(parsers)) isClean = fuzzParsers(limit) && isClean;
process.exitCode = isClean ? 0 : 1;
