/**
 * npm run simulate -- [--seeds N] [--from SEED] [--steps N] [--crashes N] [--workers W]: simulated lives; exits 1 with the seed and how to
 * replay it when a promise was broken.
 * npm run simulate -- --seeds 1 --from SEED --trace FILE: one life again, each step of it in words.
 *
 * Ctrl-C ends it with where to go on.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Simulation, simulate } from './simulate.ts';
import type { LifeReport } from './simulate-life.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string' },
    steps: { type: 'string', default: '12' },
    crashes: { type: 'string', default: '6' },
    workers: { type: 'string', default: String(availableParallelism()) },
    trace: { type: 'string' },
  },
});

const firstSeed = Number(values.from ?? Math.floor(Math.random() * 1_000_000));
const seeds = Number(values.seeds);
const started = Date.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

const simulation = await simulate({
  firstSeed,
  seeds,
  steps: Number(values.steps),
  crashes: Number(values.crashes),
  workers: values.trace === undefined ? Number(values.workers) : 1,
  onLife: showProgress,
  signal: interrupt.signal,
  ...(values.trace === undefined ? {} : { traceFile: values.trace }),
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
  const left = firstSeed + seeds - nextSeed;
  console.log(`go on with: npm run simulate -- --seeds ${left} --from ${nextSeed} ${howItLived()}`);
}
process.exit(simulation.broken.length === 0 ? 0 : 1);

function howItLived(): string {
  return `--steps ${values.steps} --crashes ${values.crashes}`;
}

function secondsSinceStart(): string {
  return ((Date.now() - started) / 1000).toFixed(0);
}

function showProgress(_life: LifeReport, { lives, nextSeed }: Simulation): void {
  const crashes = sum(lives, (life) => life.crashes);
  process.stderr.write(
    `\r${lives.length} lives, ${crashes} crashes, ${secondsSinceStart()} s, next seed ${nextSeed}   `,
  );
}

function summary({ lives, broken }: Simulation): string {
  const counts = [
    `${lives.length} lives from seed ${firstSeed} in ${secondsSinceStart()} s`,
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
