/**
 * npm run simulate -- [--seeds N] [--from SEED] [--steps N] [--crashes N] [--workers W]: simulated lives; exits 1 with the seed and how to
 * replay it when a promise was broken.
 * npm run simulate -- --seeds 1 --from SEED --trace FILE: one life again, each step of it in words.
 *
 * Ctrl-C ends it with where to go on.
 */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { wholeNumber } from '../lib/options.ts';
import { type Simulation, simulate } from './simulate.ts';
import type { LifeReport } from './simulate-life.ts';

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly steps: number;
  readonly crashes: number;
  readonly workers: number;
  readonly trace?: string;
}

const { seeds, from, steps, crashes, workers, trace } = new Command('simulate')
  .description('lives of the control plane in which one seed decides every order and every fault')
  .option('--seeds <n>', 'how many lives', wholeNumber, 1000)
  .option('--from <seed>', 'seed of the first life', wholeNumber, Date.now() % 1_000_000)
  .option('--steps <n>', 'of a life', wholeNumber, 12)
  .option('--crashes <n>', 'of a life', wholeNumber, 6)
  .option('--workers <n>', 'lives side by side', wholeNumber, availableParallelism())
  .option('--trace <file>', 'each step in words: of one life')
  .parse()
  .opts<Options>();

const started = Date.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

const simulation = await simulate({
  firstSeed: from,
  seeds,
  steps,
  crashes,
  workers: trace === undefined ? workers : 1,
  onLife: showProgress,
  signal: interrupt.signal,
  ...(trace === undefined ? {} : { traceFile: trace }),
});
process.stderr.write('\n');
for (const { seed, sentences } of simulation.broken) {
  console.log(`broken: seed ${seed}`);
  for (const sentence of sentences) console.log(`  ${sentence}`);
  console.log(`replay: npm run simulate -- --seeds 1 --from ${seed} ${howItLived()} --trace FILE`);
}
console.log(summary(simulation));
if (interrupt.signal.aborted) {
  const { nextSeed } = simulation;
  const left = from + seeds - nextSeed;
  console.log(`go on with: npm run simulate -- --seeds ${left} --from ${nextSeed} ${howItLived()}`);
}
process.exit(simulation.broken.length === 0 ? 0 : 1);

function howItLived(): string {
  return `--steps ${steps} --crashes ${crashes}`;
}

function secondsSinceStart(): string {
  return ((Date.now() - started) / 1000).toFixed(0);
}

function showProgress(_life: LifeReport, { lives, nextSeed }: Simulation): void {
  const judged = sum(lives, (life) => life.crashes);
  process.stderr.write(
    `\r${lives.length} lives, ${judged} crashes, ${secondsSinceStart()} s, next seed ${nextSeed}   `,
  );
}

function summary({ lives, broken }: Simulation): string {
  const counts = [
    `${lives.length} lives from seed ${from} in ${secondsSinceStart()} s`,
    `${sum(lives, (life) => life.steps)} steps`,
    `${sum(lives, (life) => life.faultsMet)} faults in ${lives.filter(({ faultsMet }) => faultsMet > 0).length} lives`,
    `${sum(lives, (life) => life.crashes)} crashes judged`,
    `${broken.length} broken`,
  ];
  const met = new Set(lives.flatMap(({ underWay }) => underWay));
  return `crashes met: ${[...met].sort().join(', ')}\n\n${counts.join(', ')}`;
}

function sum(lives: readonly LifeReport[], count: (life: LifeReport) => number): number {
  return lives.reduce((total, life) => total + count(life), 0);
}
