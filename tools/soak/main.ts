/**
 * `npm run soak`: the real service under everything at once, for so many minutes; exits 1 when anything was lost, refused, found wrong, or grew without end.
 *
 *   npm run soak -- --minutes 60             progress on stderr, a table at the end
 *   npm run soak -- --minutes 10 --seed S    the same choices again; when a thread gets its turn is the machine's
 *   npm run soak -- -o json                  figures, samples and verdict as one document
 *
 * Ctrl-C ends it after what goes on, with a verdict.
 */
import { Command, Option } from 'commander';
import { randomFrom } from '../../test/e2e/seeded.ts';
import { table } from '../bench/report.ts';
import { numberAboveZero } from '../lib/options.ts';
import { Soak } from './soak.ts';
import { type Check, type Figures, judge } from './verdict.ts';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly output: 'table' | 'json';
}

const { minutes, seed, output } = new Command('soak')
  .description('a service under load, faults and kills, watched')
  .option('--minutes <n>', 'how long', numberAboveZero, 60)
  .option('--seed <n>', 'what chooses', numberAboveZero, (Date.now() % 1_000_000) + 1)
  .addOption(new Option('-o, --output <format>').choices(['table', 'json']).default('table'))
  .parse()
  .opts<Options>();

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

process.stderr.write(`${minutes} minutes, seed ${seed}\n`);
const figures = await Soak.run({
  minutes,
  random: randomFrom(seed),
  signal: interrupt.signal,
  onStep: (step, seconds) => process.stderr.write(`${seconds.toFixed(0).padStart(6)} s  ${step}\n`),
});
const checks = judge(figures);
const ok = checks.every((check) => check.ok);
process.stdout.write(output === 'json' ? json(figures, checks) : text(figures, checks));
process.exit(ok ? 0 : 1);

function json(found: Figures, judged: readonly Check[]): string {
  return `${JSON.stringify({ ok, seed, minutes, checks: judged, ...found }, null, 2)}\n`;
}

function text({ violations, done }: Figures, judged: readonly Check[]): string {
  const counts = Object.entries(done).map(([what, count]) => [what, String(count)]);
  const verdicts = judged.map(
    ({ name, ok: holds, found }) => `  ${holds ? 'ok  ' : 'BAD '} ${name}: ${found}`,
  );
  const broken = violations.map((sentence) => `violation: ${sentence}\n`).join('');
  const end = ok
    ? 'sound'
    : `not sound; again: npm run soak -- --minutes ${minutes} --seed ${seed}`;
  return `${broken}${table(counts)}\n${verdicts.join('\n')}\n\n${end}\n`;
}
