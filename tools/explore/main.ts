/**
 * npm run explore -- [--states N] [--from SEED] [--workers W]: power cuts, judged; exits 1 when a promise was broken.
 * npm run explore -- [--states N] --resume FILE: keeps count in a file, and goes on from there the next time, until there are N states in all.
 * npm run explore -- --alone …: opens every state by itself; otherwise most share a recovery with others.
 * npm run explore -- --from SEED --moment M --cut-seed C: replays one case, as far as the same seed leads to the same moment.
 *
 * Ctrl-C ends it with where to go on.
 */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { wholeNumber } from '../lib/options.ts';
import { describeCoverage } from './coverage.ts';
import { type Exploration, explore } from './explore.ts';
import { readProgress, writeProgress } from './progress.ts';

interface Options {
  readonly states: number;
  readonly from: number;
  readonly workers: number;
  readonly resume?: string;
  readonly moment?: number;
  readonly cutSeed?: number;
  readonly alone: boolean;
}

const { states, from, workers, resume, moment, cutSeed, alone } = new Command('explore')
  .description('power cuts of seeded lives, judged')
  .option('--states <n>', 'distinct ones', wholeNumber, 1_000_000)
  .option('--from <seed>', 'seed of the first life', wholeNumber, Date.now() % 1_000_000)
  .option('--workers <n>', 'lives side by side', wholeNumber, availableParallelism())
  .option('--resume <file>', 'keeps count there, and goes on from there')
  .option('--moment <n>', 'with --cut-seed: this cut alone', wholeNumber)
  .option('--cut-seed <n>', 'with --moment: this cut alone', wholeNumber)
  .option('--alone', 'every state is opened by itself', false)
  .parse()
  .opts<Options>();

const before = resume === undefined ? undefined : readProgress(resume);
const firstSeed = before?.firstSeed ?? from;
const only = moment === undefined || cutSeed === undefined ? undefined : { moment, seed: cutSeed };
const started = Date.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

const exploration = await explore({
  firstSeed,
  states,
  workers,
  signal: interrupt.signal,
  onLife: note,
  sharing: !alone,
  ...(before === undefined ? {} : { before: before.exploration }),
  ...(only === undefined ? {} : { only }),
});
note(exploration);
process.stderr.write('\n');
for (const violation of exploration.violations) {
  const { seed, sentences } = violation;
  const cut = `--moment ${violation.moment} --cut-seed ${violation.cutSeed}`;
  console.log(`broken: --from ${seed} ${cut}`);
  for (const sentence of sentences) console.log(`  ${sentence}`);
}
console.log(`${describeCoverage(exploration.coverage)}\n`);
console.log(summary(exploration));
if (interrupt.signal.aborted) console.log(`go on with: npm run explore -- ${whereToGoOn()}`);
process.exit(exploration.violations.length === 0 ? 0 : 1);

/** Of this run and those before. */
function seconds(): number {
  return (before?.seconds ?? 0) + (Date.now() - started) / 1000;
}

function note(now: Exploration): void {
  if (resume !== undefined) {
    writeProgress(resume, { firstSeed, seconds: seconds(), exploration: now });
  }
  const { tally, lives, nextSeed } = now;
  const count = tally.states;
  const rate = (count / seconds()).toFixed(0);
  process.stderr.write(`\r${count} states of ${lives} lives, ${rate}/s, next seed ${nextSeed}   `);
}

/** Without a file, lives that were cut off are left out: to begin with them would be to repeat those that ended meanwhile. */
function whereToGoOn(): string {
  if (resume !== undefined) return `--states ${states} --resume ${resume}`;
  return `--states ${states - exploration.tally.states} --from ${exploration.nextSeed}`;
}

function summary({ lives, tally, violations }: Exploration): string {
  const { states: count, alone, recoveries, remembered, salvaged, repeated } = tally;
  return [
    `${count} distinct states of ${lives} lives from seed ${firstSeed} in ${seconds().toFixed(0)} s: ${violations.length} broken`,
    `  ${alone} opened by themselves, the others judged through ${recoveries} recoveries that they share`,
    `  ${remembered} with the index of before, ${salvaged} salvaged too, ${repeated} met again`,
  ].join('\n');
}
