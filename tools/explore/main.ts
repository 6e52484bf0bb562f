/**
 * npm run explore -- [--states N] [--from SEED] [--workers W]: power cuts, judged; exits 1 when a promise was broken.
 * npm run explore -- --from SEED --moment M --cut-seed C: replays one case, as far as the same seed leads to the same moment.
 *
 * Ctrl-C ends it with where to go on.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { describeCoverage } from './coverage.ts';
import { type Exploration, explore } from './explore.ts';

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '1000000' },
    from: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
    moment: { type: 'string' },
    'cut-seed': { type: 'string' },
  },
});

const firstSeed = Number(values.from ?? Math.floor(Math.random() * 1_000_000));
const states = Number(values.states);
const only =
  values.moment === undefined || values['cut-seed'] === undefined
    ? undefined
    : { moment: Number(values.moment), seed: Number(values['cut-seed']) };
const started = Date.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

const exploration = await explore({
  firstSeed,
  states,
  workers: Number(values.workers),
  signal: interrupt.signal,
  onLife: showProgress,
  ...(only === undefined ? {} : { only }),
});
process.stderr.write('\n');
for (const { seed, moment, cutSeed, sentences } of exploration.violations) {
  console.log(`broken: --from ${seed} --moment ${moment} --cut-seed ${cutSeed}`);
  for (const sentence of sentences) console.log(`  ${sentence}`);
}
console.log(`${describeCoverage(exploration.coverage)}\n`);
console.log(summary(exploration));
if (interrupt.signal.aborted) {
  const missing = states - exploration.states;
  console.log(`go on with: npm run explore -- --states ${missing} --from ${exploration.nextSeed}`);
}
process.exit(exploration.violations.length === 0 ? 0 : 1);

function secondsSinceStart(): number {
  return (Date.now() - started) / 1000;
}

function showProgress({ states: count, lives, nextSeed }: Exploration): void {
  const rate = (count / secondsSinceStart()).toFixed(0);
  process.stderr.write(`\r${count} states of ${lives} lives, ${rate}/s, next seed ${nextSeed}   `);
}

function summary(exploration: Exploration): string {
  const { lives, states: count, remembered, salvaged, repeated, violations } = exploration;
  const what = `${count} distinct states of ${lives} lives from seed ${firstSeed} in ${secondsSinceStart().toFixed(0)} s`;
  return `${what}: ${remembered} with the index of before, ${salvaged} salvaged too, ${repeated} met again, ${violations.length} broken`;
}
