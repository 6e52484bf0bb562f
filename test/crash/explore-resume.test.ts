// Goal: an exploration that is interrupted says where to go on, and going on there counts no life twice and leaves none out.
// Method: lives that end when the test says so, and the command itself with a signal.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { noCoverage } from '../../tools/explore/coverage.ts';
import { type Exploration, type Explorer, explore } from '../../tools/explore/explore.ts';
import type { LifeOptions, LifeReport } from '../../tools/explore/explore-life.ts';
import { readProgress, writeProgress } from '../../tools/explore/progress.ts';
import { noTally } from '../../tools/explore/tally.ts';
import { until } from '../../tools/lib/until.ts';

const cutsPerLife = 10;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-resume-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function reportOf({ seed, cuts }: LifeOptions): LifeReport {
  return { seed, tally: { ...noTally(), states: cuts }, coverage: noCoverage(), violations: [] };
}

/** Lives of which some never end. */
class Explorers {
  readonly seeds: number[] = [];
  readonly #isEndless: (seed: number) => boolean;

  constructor(isEndless: (seed: number) => boolean) {
    this.#isEndless = isEndless;
  }

  readonly hire = (): Explorer => {
    const dismissal = new AbortController();
    return {
      live: async (life) => {
        this.seeds.push(life.seed);
        return this.#isEndless(life.seed) ? untilDismissed(dismissal.signal) : reportOf(life);
      },
      dismiss: async () => dismissal.abort(),
    };
  };
}

async function untilDismissed(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw new Error('dismissed');
}

async function interruptedWhile(isReached: (now: Exploration) => boolean, hire: () => Explorer) {
  const interrupt = new AbortController();
  return explore({
    firstSeed: 5,
    states: 1000,
    cutsPerLife,
    workers: 2,
    hire,
    signal: interrupt.signal,
    onLife: (now) => isReached(now) && interrupt.abort(),
  });
}

test('what was cut off comes first, and nothing that had ended comes again', async () => {
  const first = new Explorers((seed) => seed === 5 || seed === 8);
  const stopped = await interruptedWhile(({ nextSeed }) => nextSeed === 9, first.hire);
  expect(stopped).toMatchObject({
    lives: 2,
    tally: { states: 20 },
    unfinished: [5, 8],
    nextSeed: 9,
  });

  const path = join(folder, 'progress');
  writeProgress(path, { firstSeed: 5, seconds: 1, exploration: stopped });
  const before = readProgress(path)?.exploration as Exploration;
  const second = new Explorers(() => false);
  const options = { firstSeed: 0, before, states: 65, cutsPerLife, workers: 2 };
  const ended = await explore({ ...options, hire: second.hire });
  expect(second.seeds).toEqual([5, 8, 9, 10, 11]);
  expect(ended).toMatchObject({ lives: 7, tally: { states: 65 }, unfinished: [], nextSeed: 12 });
});

test('Ctrl-C says how to go on', async () => {
  const path = join(folder, 'progress');
  const args = ['--states', '1000', '--from', '5', '--workers', '1', '--resume', path];
  const command = ['--import', 'tsx', 'tools/explore/main.ts', ...args];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'ignore'] });
  const exit = once(child, 'exit');
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  await until(() => existsSync(path) || child.exitCode !== null, { what: 'a first life' });
  child.kill('SIGINT');
  expect(await exit).toEqual([0, null]);
  expect(output).toContain(`go on with: npm run explore -- --states 1000 --resume ${path}\n`);
  expect(readProgress(path)).toMatchObject({
    firstSeed: 5,
    exploration: { lives: 0, unfinished: [5], nextSeed: 6 },
  });
});
