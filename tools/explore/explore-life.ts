/**
 * One seeded life on recorded disks, cut at many moments in many ways, each state judged once.
 *
 * A state is what the disks hold and what the host remembers. It is judged again when it is met at a moment with other promises, and
 * counted once.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../src/base/units.ts';
import { judge } from './afterlife.ts';
import { type Coverage, countAll, noCoverage } from './coverage.ts';
import { keepEvidence } from './evidence.ts';
import { type KeptMemory, keepMemory } from './kept-memory.ts';
import { misshown, step } from './life.ts';
import { Random } from './random.ts';
import { type Cut, type CutState, RecordingPlane, recordedUri } from './recording-plane.ts';
import { World, type WorldDisks } from './world.ts';

const diskBytes = 8 * MiB;
const stepsPerLife = 60;
const stepsPerMemory = 3;
/** The newest so many may have survived: most of the older ones are behind the journal's tail, and of no use. */
const memoriesPerCut = 6;
/** Disks that may join. */
const sparesPerLife = 2;
/** So many of the states are salvaged, too. */
const salvageOneIn = 4;
/** States judged side by side: each waits for disks and threads now and then. */
const judgesPerLife = 3;

export interface Violation {
  readonly seed: number;
  readonly moment: number;
  readonly cutSeed: number;
  readonly sentences: readonly string[];
}

/** What a life has shown. */
export interface LifeReport {
  readonly seed: number;
  /** Distinct ones that were judged. */
  states: number;
  /** Of them, opened with an index that was there before the cut. */
  remembered: number;
  /** Of them, salvaged before they were opened. */
  salvaged: number;
  /** Cuts that left a state that had been judged already. */
  repeated: number;
  readonly coverage: Coverage;
  readonly violations: Violation[];
}

export interface LifeOptions {
  readonly seed: number;
  /** For what hosts keep. */
  readonly folder: string;
  readonly cuts: number;
  /** Only this one: replays a case. */
  readonly only?: Cut;
}

/** Stops at the first broken promise. */
export async function exploreLife(options: LifeOptions): Promise<LifeReport> {
  const { seed, folder } = options;
  const report: LifeReport = {
    seed,
    states: 0,
    remembered: 0,
    salvaged: 0,
    repeated: 0,
    coverage: noCoverage(),
    violations: [],
  };
  const home = join(folder, `life-${seed}`);
  mkdirSync(home);
  try {
    await new Exploration(options, home, report).run();
  } catch (error) {
    const sentences = [`the life ended: ${error instanceof Error ? error.stack : error}`];
    report.violations.push({ seed, moment: 0, cutSeed: 0, sentences });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  return report;
}

class Exploration {
  readonly #options: LifeOptions;
  readonly #home: string;
  readonly #report: LifeReport;
  readonly #random: Random;
  readonly #disks: WorldDisks;
  readonly #plane: RecordingPlane;
  readonly #memories: KeptMemory[] = [];
  /** Keys of states. */
  readonly #counted = new Set<string>();
  readonly #judged = new Set<string>();

  constructor(options: LifeOptions, home: string, report: LifeReport) {
    this.#options = options;
    this.#home = home;
    this.#report = report;
    this.#random = new Random(options.seed);
    this.#disks = {
      first: named('disk', 1 + this.#random.below(3)),
      other: named('other', this.#random.chance(3) ? 1 : 0),
      spares: named('spare', sparesPerLife),
    };
    const all = Object.values(this.#disks).flat();
    this.#plane = new RecordingPlane(new Map(all.map((disk) => [disk, diskBytes])));
  }

  async run(): Promise<void> {
    const world = await World.begin(this.#plane, this.#random, this.#home, this.#disks);
    const begun = this.#plane.moment();
    await this.#live(world);
    const ended = this.#plane.moment();
    await world.end();
    const cuts = this.#cuts(world, begun, ended);
    await Promise.all(Array.from({ length: judgesPerLife }, () => this.#judgeAll(cuts, world)));
    await this.#plane.dispose();
    this.#plane.stop();
  }

  async #live(world: World): Promise<void> {
    const { seed } = this.#options;
    for (let count = 0; count < stepsPerLife; count++) {
      await step(world);
      if (count % stepsPerMemory !== 0) continue;
      const sentences = await misshown(world);
      const moment = this.#plane.moment();
      if (sentences.length > 0) {
        this.#report.violations.push({ seed, moment, cutSeed: 0, sentences });
      }
      const kept = join(this.#home, `kept-${count}`);
      this.#memories.push(keepMemory(World.stateDir(this.#home), kept, moment));
    }
  }

  /** One in five is an extreme: everything kept, or nothing un-synced. Half of all hit one of the operations, whichever is rare. */
  *#cuts({ timeline }: World, begun: number, ended: number): Generator<Cut> {
    const { only, cuts } = this.#options;
    if (only !== undefined) {
      yield only;
      return;
    }
    const random = this.#random;
    for (let cut = 0; cut < cuts; cut++) {
      const seed = random.chance(5) ? random.below(2) : 2 + random.below(1 << 30);
      const chosen = random.chance(2) ? timeline.momentIn(random, begun, ended) : undefined;
      yield { moment: chosen ?? begun + random.below(ended - begun), seed };
    }
  }

  async #judgeAll(cuts: Generator<Cut>, world: World): Promise<void> {
    for (const cut of cuts) {
      if (this.#report.violations.length > 0) return;
      const state = await this.#plane.cut(cut);
      try {
        await this.#judge(cut, state, world);
      } finally {
        await state.dispose();
      }
    }
  }

  async #judge(cut: Cut, state: CutState, world: World): Promise<void> {
    const { moment, seed: cutSeed } = cut;
    const memory = this.#memoryFor(cut);
    const { timeline } = world;
    if (!this.#isNew(`${state.digest} ${memory?.moment}`, timeline.promisesBy(moment))) return;
    const salvage = Math.floor((moment + cutSeed) / 2) % salvageOneIn === 0;
    const remains = { moment, disks: state.disks, memory, salvage };
    const verdict = await judge(this.#plane, remains, world, this.#home);
    const { sentences, remembered, salvaged, recordKinds } = verdict;
    const { coverage, violations } = this.#report;
    countAll(coverage.operations, timeline.underWayAt(moment));
    countAll(coverage.records, recordKinds);
    if (remembered) this.#report.remembered += 1;
    if (salvaged) this.#report.salvaged += 1;
    if (sentences.length === 0) return;
    // Cut again: the judge has changed it.
    const before = await this.#plane.cut(cut);
    const kept = `the state is kept in ${await keepEvidence(before.disks, memory)}`;
    await before.dispose();
    const { seed } = this.#options;
    violations.push({ seed, moment, cutSeed, sentences: [...sentences, kept] });
  }

  /** @returns whether the state is to be judged */
  #isNew(state: string, promises: number): boolean {
    const judged = `${state} ${promises}`;
    if (this.#judged.has(judged)) {
      this.#report.repeated += 1;
      return false;
    }
    this.#judged.add(judged);
    this.#counted.add(state);
    this.#report.states = this.#counted.size;
    return true;
  }

  /** Every other cut hits a host that remembers; which of its memories survived is the cut's to choose. */
  #memoryFor({ moment, seed }: Cut): KeptMemory | undefined {
    const older = this.#memories.filter((memory) => memory.moment <= moment).slice(-memoriesPerCut);
    const choice = seed + moment;
    return choice % 2 === 0 ? undefined : older[Math.floor(choice / 2) % older.length];
  }
}

function named(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => recordedUri(`${name}${at}`));
}
