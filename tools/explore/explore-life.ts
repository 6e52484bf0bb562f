/**
 * One seeded life on recorded disks, cut at many moments in many ways, each state judged once.
 *
 * A state is what the disks hold and what the host remembers. It is judged again when it is met at a moment with other promises, and
 * counted once. Most are judged through a recovery that they share with others (shared-recovery.ts); one in so many is opened by itself
 * besides, and has to show the same.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../src/base/units.ts';
import { type Coverage, countAll, noCoverage } from './coverage.ts';
import { seedGroups } from './cut-seeds.ts';
import { keepEvidence } from './evidence.ts';
import { type KeptMemory, keepMemory } from './kept-memory.ts';
import { misshown, step } from './life.ts';
import { Random } from './random.ts';
import { type Cut, type CutState, RecordingPlane, recordedUri } from './recording-plane.ts';
import { type JudgedState, StateJudge } from './state-judge.ts';
import { noTally, type Tally } from './tally.ts';
import { World, type WorldDisks } from './world.ts';

const diskBytes = 8 * MiB;
const stepsPerLife = 60;
const stepsPerMemory = 3;
/** The newest so many may have survived: most of the older ones are behind the journal's tail, and of no use. */
const memoriesPerCut = 6;
/** Disks that may join. */
const sparesPerLife = 2;
/** So many of the moments are salvaged, too. */
const salvageOneIn = 4;
/** So many of the states that share a recovery are opened by themselves as well. */
const aloneOneIn = 100;
/** So many cuts in a row that bring nothing new say that there is nothing more. */
const repeatedMax = 4;

export interface Violation {
  readonly seed: number;
  readonly moment: number;
  readonly cutSeed: number;
  readonly sentences: readonly string[];
}

/** What a life has shown. */
export interface LifeReport {
  readonly seed: number;
  readonly tally: Tally;
  readonly coverage: Coverage;
  readonly violations: Violation[];
}

export interface LifeOptions {
  readonly seed: number;
  /** For what hosts keep. */
  readonly folder: string;
  readonly cuts: number;
  /** At one moment; see cut-seeds.ts. */
  readonly restsPerHead: number;
  /** False: every state is opened by itself. */
  readonly sharing: boolean;
  /** Only this one: replays a case. */
  readonly only?: Cut;
}

/** Stops at the first broken promise. */
export async function exploreLife(options: LifeOptions): Promise<LifeReport> {
  const { seed, folder } = options;
  const report: LifeReport = {
    seed,
    tally: noTally(),
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
  #cutsLeft: number;
  /** Keys of states. */
  readonly #counted = new Set<string>();
  readonly #judged = new Set<string>();

  constructor(options: LifeOptions, home: string, report: LifeReport) {
    this.#options = options;
    this.#home = home;
    this.#report = report;
    this.#random = new Random(options.seed);
    this.#cutsLeft = options.cuts;
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
    const judge = new StateJudge(this.#plane, world, {
      folder: this.#home,
      sharing: this.#options.sharing,
    });
    for (const moment of this.#moments(world, begun, ended)) {
      await this.#judgeAt(moment, { judge, world });
    }
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
        this.#cutsLeft = 0;
      }
      const kept = join(this.#home, `kept-${count}`);
      this.#memories.push(keepMemory(World.stateDir(this.#home), kept, moment));
    }
  }

  /** Half of them hit one of the operations, whichever is rare; as many as there are cuts left. */
  *#moments({ timeline }: World, begun: number, ended: number): Generator<number> {
    const random = this.#random;
    while (this.#cutsLeft > 0) {
      const chosen = random.chance(2) ? timeline.momentIn(random, begun, ended) : undefined;
      yield this.#options.only?.moment ?? chosen ?? begun + random.below(ended - begun);
    }
  }

  async #judgeAt(moment: number, by: Judging): Promise<void> {
    const { only, restsPerHead } = this.#options;
    const groups = only === undefined ? seedGroups(this.#random, restsPerHead) : [[only.seed]];
    for (const seeds of groups) await this.#judgeGroup(moment, seeds, by);
  }

  async #judgeGroup(moment: number, seeds: readonly number[], by: Judging): Promise<void> {
    let repeated = 0;
    for (const seed of seeds) {
      if (this.#cutsLeft === 0 || repeated === repeatedMax) return;
      this.#cutsLeft -= 1;
      const cut = { moment, seed };
      const state = await this.#plane.cut(cut);
      try {
        repeated = (await this.#judge(cut, state, by)) ? 0 : repeated + 1;
      } finally {
        state.dispose();
      }
    }
  }

  /** @returns whether it had not been judged already */
  async #judge(cut: Cut, state: CutState, { judge, world }: Judging): Promise<boolean> {
    const { moment, seed: cutSeed } = cut;
    const { timeline } = world;
    const fate = fateAt(moment);
    const memory = this.#memoryFor(moment, fate);
    const isNew = this.#isNew(`${state.digest} ${memory?.moment}`, timeline.promisesBy(moment));
    if (!isNew) return false;
    const salvage = fate.salvage;
    const alone = this.#random.chance(aloneOneIn) || this.#options.only !== undefined;
    const judged = await judge.judge({ state, moment, memory, salvage, alone });
    const { sentences, recordKinds } = judged;
    const { coverage, violations } = this.#report;
    countAll(coverage.operations, timeline.underWayAt(moment));
    countAll(coverage.records, recordKinds);
    this.#count(judged);
    if (sentences.length === 0) return true;
    // Cut again: the judge has changed it.
    const before = await this.#plane.cut(cut);
    const kept = `the state is kept in ${await keepEvidence(before.disks, memory)}`;
    before.dispose();
    const { seed } = this.#options;
    violations.push({ seed, moment, cutSeed, sentences: [...sentences, kept] });
    this.#cutsLeft = 0;
    return true;
  }

  #count({ remembered, salvaged, alone, isFirst }: JudgedState): void {
    const { tally } = this.#report;
    if (remembered) tally.remembered += 1;
    if (salvaged) tally.salvaged += 1;
    if (alone) tally.alone += 1;
    if (isFirst) tally.recoveries += 1;
  }

  /** @returns whether the state is to be judged */
  #isNew(state: string, promises: number): boolean {
    const { tally } = this.#report;
    const judged = `${state} ${promises}`;
    if (this.#judged.has(judged)) {
      tally.repeated += 1;
      return false;
    }
    this.#judged.add(judged);
    this.#counted.add(state);
    tally.states = this.#counted.size;
    return true;
  }

  #memoryFor(moment: number, { remembers, memory }: Fate): KeptMemory | undefined {
    const older = this.#memories.filter((kept) => kept.moment <= moment).slice(-memoriesPerCut);
    return remembers ? older[memory % older.length] : undefined;
  }
}

interface Judging {
  readonly judge: StateJudge;
  readonly world: World;
}

/** What else a cut at a moment is: the same each time, so that all states of the moment can be alike. */
interface Fate {
  /** Every other one hits a host that remembers. */
  readonly remembers: boolean;
  /** Which of its memories survived. */
  readonly memory: number;
  readonly salvage: boolean;
}

function fateAt(moment: number): Fate {
  const random = new Random(moment);
  return {
    remembers: random.chance(2),
    memory: random.below(memoriesPerCut),
    salvage: random.chance(salvageOneIn),
  };
}

function named(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => recordedUri(`${name}${at}`));
}
