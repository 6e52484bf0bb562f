/**
 * `npm run torture`: the real service, killed with -9 again and again under load; exits 1 when anything was lost.
 *
 *   npm run torture -- --kills 1000 --from SEED      NBD clients, snapshots and movements, in lives of 25 kills each
 *   npm run torture -- --kills 100 --guest           a QEMU guest that verifies what it writes, attached once, through all kills
 *   npm run torture -- --kills 25 --from SEED        one life again: what broke says its seed
 *
 * The same seed makes the same choices; when a thread gets its turn is the machine's choice. Ctrl-C ends it after the rounds under way.
 */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { wholeNumber } from '../lib/options.ts';
import { beginGuestLife } from './guest-life.ts';
import { beginLife } from './life.ts';
import { type Plan, runLives } from './lives.ts';
import { progressLine, textReport } from './report.ts';

interface Options {
  readonly kills: number;
  readonly from: number;
  readonly workers: number;
  readonly guest: boolean;
}

const killsPerLife = 25;

const { kills, from, workers, guest } = new Command('torture')
  .description('kill -9 of the real service under load, verified after each')
  .option('--kills <n>', 'how many', wholeNumber, 1000)
  .option('--from <seed>', 'seed of the first life', wholeNumber, Date.now() % 1_000_000)
  .option('--workers <n>', 'lives side by side', wholeNumber, availableParallelism())
  .option('--guest', 'one QEMU guest through all kills in place of NBD clients', false)
  .parse()
  .opts<Options>();

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());

const started = performance.now();
const kind: Pick<Plan, 'begin' | 'killsPerLife' | 'workers'> = guest
  ? { begin: beginGuestLife, killsPerLife: kills, workers: 1 }
  : { begin: beginLife, killsPerLife, workers };
process.stderr.write(`${kills} kills from seed ${from}\n`);
const { tally, violations } = await runLives({
  ...kind,
  kills,
  firstSeed: from,
  signal: interrupt.signal,
  onProgress: (sum) => process.stderr.write(`\r${progressLine(sum, kills)}   `),
});
process.stderr.write('\n');
const seconds = (performance.now() - started) / 1000;
process.stdout.write(textReport(tally, violations, { seconds, repeat }));
process.exit(violations.length === 0 ? 0 : 1);

function repeat(seed: number): string {
  const count = guest ? `${kills} --guest` : `${killsPerLife}`;
  return `npm run torture -- --kills ${count} --from ${seed}`;
}
