/**
 * No cliff: what a guest notices of what goes on in the service beside it, as p99 during ÷ p99 before and after.
 *
 *   npm run bench:cliffs                     3 rounds; some half an hour
 *   npm run bench:cliffs -- --quick          1 short round: a smoke test, not a result
 *   npm run bench:cliffs -- --only merge     scenes whose name contains this
 *   npm run bench:cliffs -- --rounds 1       fewer, or more
 *   npm run bench:cliffs -- --json FILE      every round as JSON, too
 *
 * Exit status 1 when a scene failed; the others are measured nevertheless.
 */

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { cliffRows, type Noticed, type SceneOutcome } from './cliff-report.ts';
import { type Scene, scenes } from './cliff-scenes.ts';
import { type RoundOptions, roundsCommand } from './options.ts';
import { table } from './report.ts';

const scales = {
  full: { rounds: 3, runtimeSeconds: 5, spanMiB: 1024, mappedGiB: 512 },
  quick: { rounds: 1, runtimeSeconds: 1, spanMiB: 128, mappedGiB: 4 },
};

interface Options extends RoundOptions {
  readonly only: string;
}

const options = roundsCommand(
  'bench:cliffs',
  'what a guest notices of what goes on in the service beside it',
  'every round',
)
  .option('--only <text>', 'scenes whose name contains it', '')
  .parse()
  .opts<Options>();

const { rounds: usual, ...plan } = options.quick ? scales.quick : scales.full;
const count = options.rounds ?? usual;
const chosen = scenes.filter(({ name }) => name.includes(options.only));
const load = loadavg().map((each) => each.toFixed(1));
const rounds = new Map<Scene, Noticed[]>(chosen.map((scene) => [scene, []]));

// Scenes are interleaved within a round, so that slow drifts of the machine meet all of them.
for (let round = 0; round < count; round++) {
  for (const [scene, all] of rounds) {
    try {
      all.push(await scene.run(plan));
    } catch (error) {
      process.exitCode = 1;
      process.stderr.write(`${scene.name}, round ${round + 1}: ${(error as Error).message}\n`);
    }
  }
}
const outcomes: SceneOutcome[] = [...rounds].map(([{ name, limit }, all]) => {
  return { name, limit, rounds: all };
});
process.stdout.write(`load before: ${load.join(' ')}\n${table(cliffRows(outcomes))}`);
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify({ ...plan, load, outcomes }, null, 2)}\n`);
}
