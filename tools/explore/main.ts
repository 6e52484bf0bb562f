/**
 * npm run explore [-- --states N --seed S] [--moment M --cut-seed C]: power cuts, judged; exits 1 when a promise was broken.
 */
import { parseArgs } from 'node:util';
import { explore } from './explore.ts';

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '100000' },
    seed: { type: 'string' },
    moment: { type: 'string' },
    'cut-seed': { type: 'string' },
  },
});

const firstSeed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const only =
  values.moment === undefined || values['cut-seed'] === undefined
    ? undefined
    : { moment: Number(values.moment), cutSeed: Number(values['cut-seed']) };
const started = Date.now();
const exploration = await explore({
  firstSeed,
  states: Number(values.states),
  ...(only === undefined ? {} : { only }),
  onLife: ({ states }, seed) => {
    const rate = Math.round(states / ((Date.now() - started) / 1000));
    process.stderr.write(`\r${states} states, ${rate}/s, seed ${seed}   `);
  },
});
process.stderr.write('\n');
for (const { seed, moment, cutSeed, sentences } of exploration.violations) {
  console.log(`broken: --seed ${seed} --moment ${moment} --cut-seed ${cutSeed}`);
  for (const sentence of sentences) console.log(`  ${sentence}`);
}
console.log(
  `${exploration.states} states from seed ${firstSeed}, ${exploration.remembered} with the index of before, ${exploration.violations.length} broken`,
);
process.exit(exploration.violations.length === 0 ? 0 : 1);
