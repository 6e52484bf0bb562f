/**
 * Lives of kills, several side by side, each with a seed of its own, until so many kills have been survived.
 *
 * A life that breaks a promise ends there and its folder is kept; the others go on to their ends, and no new one begins.
 */
import { randomFrom } from '../../test/e2e/seeded.ts';
import type { Service } from '../lib/service.ts';
import { keepEvidence } from './evidence.ts';
import { add, emptyTally, type Tally, type Violation } from './report.ts';
import type { Choice } from './restarts.ts';

export interface LifeOptions {
  readonly seed: number;
  /** So many, and those of the last round's starts beyond them. */
  readonly kills: number;
  readonly random: Choice;
  readonly signal: AbortSignal;
  /** After each round that was found right. */
  readonly onRound: () => void;
}

export interface Life {
  readonly service: Service;
  readonly tally: Tally;
  /** Lives to its end or until `signal`. @returns what was found wrong, nothing if all is well */
  live(): Promise<string[]>;
  dispose(): Promise<void>;
}

export interface Plan {
  readonly begin: (options: LifeOptions) => Promise<Life>;
  readonly firstSeed: number;
  readonly kills: number;
  readonly killsPerLife: number;
  readonly workers: number;
  readonly signal: AbortSignal;
  readonly onProgress: (tally: Tally) => void;
}

export interface Outcome {
  readonly tally: Tally;
  readonly violations: readonly Violation[];
}

export async function runLives(plan: Plan): Promise<Outcome> {
  const { firstSeed, kills, killsPerLife } = plan;
  const violations: Violation[] = [];
  const tallies: Tally[] = [];
  let begun = 0;
  const isOver = () => plan.signal.aborted || violations.length > 0;
  const work = async (): Promise<void> => {
    while (!isOver() && begun * killsPerLife < kills) {
      const index = begun++;
      const options = {
        seed: firstSeed + index,
        kills: Math.min(killsPerLife, kills - index * killsPerLife),
        signal: plan.signal,
        onRound: () => plan.onProgress(sumOf(tallies)),
      };
      const violation = await oneLife(plan, options, tallies);
      if (violation !== undefined) violations.push(violation);
    }
  };
  await Promise.all(Array.from({ length: plan.workers }, work));
  return { tally: sumOf(tallies), violations };
}

async function oneLife(
  plan: Plan,
  options: Omit<LifeOptions, 'random'>,
  tallies: Tally[],
): Promise<Violation | undefined> {
  const { seed } = options;
  const whole = { ...options, random: randomFrom(seed) };
  const life = await plan.begin(whole).catch((error: Error) => error);
  if (life instanceof Error) return { seed, afterKills: 0, sentences: [describe(life)] };
  tallies.push(life.tally);
  try {
    const sentences = await life.live().catch((error: Error) => [describe(error)]);
    if (sentences.length === 0) return undefined;
    const evidence = await keepEvidence(life.service);
    return { seed, afterKills: life.tally.kills, sentences, evidence };
  } finally {
    await life.dispose();
  }
}

function describe(error: Error): string {
  return error.stack ?? error.message;
}

function sumOf(tallies: readonly Tally[]): Tally {
  const sum = emptyTally();
  for (const tally of tallies) add(sum, tally);
  return sum;
}
