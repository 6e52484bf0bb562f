/**
 * The power-cut explorer: seeded lives on recorded disks, each cut at many moments in many ways, each state judged.
 */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../src/base/units.ts';
import { judge } from './afterlife.ts';
import { type KeptMemory, keepMemory } from './kept-memory.ts';
import { Life } from './life.ts';
import { Random } from './random.ts';
import { RecordingPlane } from './recording-plane.ts';

const diskBytes = 8 * MiB;
const stepsPerLife = 60;
const stepsPerMemory = 3;
/** Disks that may join. */
const sparesPerLife = 2;
export const cutsPerLife = 50;

export interface Violation {
  readonly seed: number;
  readonly moment: number;
  readonly cutSeed: number;
  readonly sentences: readonly string[];
}

export interface Exploration {
  states: number;
  /** Of them, opened with an index that was there before the cut. */
  remembered: number;
  readonly violations: Violation[];
}

export interface ExploreOptions {
  readonly firstSeed: number;
  readonly states: number;
  /** Only this moment and cut seed: replays one case. */
  readonly only?: { readonly moment: number; readonly cutSeed: number };
  readonly onLife?: (exploration: Exploration, seed: number) => void;
}

/** Explores until `states` states were judged or one was found that breaks a promise. */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  const exploration: Exploration = { states: 0, remembered: 0, violations: [] };
  // On tmpfs when there is one: thousands of small pools come and go.
  const folder = mkdtempSync('/dev/shm/varve-explore-');
  try {
    for (let seed = options.firstSeed; exploration.states < options.states; seed++) {
      await exploreLife(seed, options, exploration, folder).catch((error) => {
        const sentences = [`the life ended: ${error instanceof Error ? error.stack : error}`];
        exploration.violations.push({ seed, moment: 0, cutSeed: 0, sentences });
      });
      options.onLife?.(exploration, seed);
      if (exploration.violations.length > 0 || options.only !== undefined) break;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return exploration;
}

async function exploreLife(
  seed: number,
  options: ExploreOptions,
  exploration: Exploration,
  folder: string,
): Promise<void> {
  const random = new Random(seed);
  const home = join(folder, `life-${seed}`);
  const firstCount = 1 + random.below(3);
  const disks = Array.from({ length: firstCount + sparesPerLife }, (_, at) =>
    join(home, `disk${at}`),
  );
  mkdirSync(home);
  for (const disk of disks) {
    writeFileSync(disk, '');
    truncateSync(disk, diskBytes);
  }
  const plane = new RecordingPlane(new Map(disks.map((disk) => [disk, diskBytes])));
  const life = await Life.begin(plane, random, home, {
    first: disks.slice(0, firstCount),
    spares: disks.slice(firstCount),
  });
  const begun = plane.moment();
  const memories: KeptMemory[] = [];
  for (let step = 0; step < stepsPerLife; step++) {
    await life.step();
    if (step % stepsPerMemory !== 0) continue;
    const sentences = await life.misshown();
    const moment = plane.moment();
    if (sentences.length > 0) exploration.violations.push({ seed, moment, cutSeed: 0, sentences });
    const kept = join(home, `kept-${step}`);
    memories.push(keepMemory(Life.stateDir(home), kept, plane.moment()));
  }
  const ended = plane.moment();
  await life.end();

  for (let cut = 0; cut < cutsPerLife && exploration.states < options.states; cut++) {
    // The first two ways of each life are the extremes: everything kept, nothing un-synced kept.
    const cutSeed = options.only?.cutSeed ?? (cut < 10 ? cut % 2 : 2 + random.below(1 << 30));
    const moment = options.only?.moment ?? begun + random.below(ended - begun);
    const left = disks.map((_, at) => join(home, `left${at}`));
    for (const [at, disk] of disks.entries()) {
      await plane.cut(disk, moment, cutSeed < 2 ? cutSeed : cutSeed + at, left[at] as string);
    }
    const memory = memoryFor(cutSeed, memories, moment);
    const verdict = await judge(plane, { moment, disks: left, memory }, life, home);
    const { sentences } = verdict;
    exploration.states += 1;
    if (verdict.remembered) exploration.remembered += 1;
    if (sentences.length > 0) exploration.violations.push({ seed, moment, cutSeed, sentences });
    if (sentences.length > 0 || options.only !== undefined) break;
  }
  await plane.dispose();
  plane.stop();
  rmSync(home, { recursive: true });
}

/** Every other cut hits a host that remembers; which of its memories survived is the cut's to choose. */
function memoryFor(
  cutSeed: number,
  memories: readonly KeptMemory[],
  moment: number,
): KeptMemory | undefined {
  const older = memories.filter((memory) => memory.moment <= moment);
  const choice = cutSeed + moment;
  return choice % 2 === 0 ? undefined : older[Math.floor(choice / 2) % older.length];
}
