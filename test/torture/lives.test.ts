// Goal: a run of kills ends when it should, adds up what its lives survived, and a life that broke a promise is told with how to do it again.
// Method: lives that do nothing, and end as the test says.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { Service } from '../../tools/lib/service.ts';
import { type Life, type LifeOptions, type Plan, runLives } from '../../tools/torture/lives.ts';
import { emptyTally, textReport } from '../../tools/torture/report.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** What a killed service leaves: a folder, a log and nothing that runs. */
function leftService(): Service {
  const folder = mkdtempSync(join(tmpdir(), 'varve-lives-'));
  folders.push(folder);
  writeFileSync(join(folder, 'disk0.img'), 'what was found');
  return { folder, log: 'its last words', kill9: async () => {} } as Service;
}

function plan(end: (seed: number) => string[] | Error, more: Partial<Plan> = {}): Plan {
  const begin = async ({ seed, kills, onRound }: LifeOptions): Promise<Life> => {
    const tally = emptyTally();
    const live = async () => {
      tally.kills += kills;
      onRound();
      const found = end(seed);
      if (found instanceof Error) throw found;
      return found;
    };
    return { service: leftService(), tally, live, dispose: async () => {} };
  };
  const shape = { firstSeed: 7, kills: 60, killsPerLife: 25, workers: 2 };
  const signal = new AbortController().signal;
  return { begin, ...shape, signal, onProgress: () => {}, ...more };
}

test('lives go on, each with a seed of its own, until so many kills are survived', async () => {
  const seeds: number[] = [];
  const progress: number[] = [];
  const found = (seed: number) => {
    seeds.push(seed);
    return [];
  };
  const onProgress: Plan['onProgress'] = ({ kills }) => progress.push(kills);
  const { tally, violations } = await runLives(plan(found, { onProgress, workers: 1 }));
  expect(seeds).toEqual([7, 8, 9]);
  expect(progress).toEqual([25, 50, 60]);
  expect(tally.kills).toBe(60);
  expect(violations).toEqual([]);
  expect(textReport(tally, violations, { seconds: 1, repeat: String })).toMatch(
    /60 kills: nothing was lost/,
  );
});

test.each([
  ['finds something wrong', () => ['block 3 is gone'], /block 3 is gone/],
  ['fails', () => new Error('the service did not start'), /the service did not start/],
] as const)('a life that %s is told, kept, and is the last', async (_how, end, sentence) => {
  const { tally, violations } = await runLives(
    plan((seed) => (seed === 8 ? end() : []), { workers: 1 }),
  );
  const [violation] = violations;
  folders.push(violation?.evidence as string);
  expect(violations).toMatchObject([{ seed: 8, afterKills: 25 }]);
  expect(tally.kills).toBe(50);
  const text = textReport(tally, violations, { seconds: 1, repeat: (seed) => `do ${seed} again` });
  expect(text).toMatch(sentence);
  expect(text).toMatch(/do 8 again/);
  expect(text).toMatch(/1 life broke a promise/);
});

test('a life that does not even begin is told', async () => {
  const begin = () => Promise.reject(new Error('no pool'));
  const { violations } = await runLives(plan(() => [], { begin, workers: 1 }));
  expect(violations).toMatchObject([{ seed: 7, sentences: [expect.stringMatching(/no pool/)] }]);
});

test('an interrupted run begins no further life', async () => {
  const interrupt = new AbortController();
  const end = () => {
    interrupt.abort();
    return [];
  };
  const { tally } = await runLives(plan(end, { signal: interrupt.signal, workers: 1 }));
  expect(tally.kills).toBe(25);
});
