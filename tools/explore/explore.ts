/**
 * The power-cut explorer: seeded lives on recorded disks, each cut at many moments in many ways, each state judged.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { addCoverage, type Coverage, noCoverage } from './coverage.ts';
import { Worker } from './crew.ts';
import type { LifeOptions, LifeReport, Violation } from './explore-life.ts';
import type { Cut } from './recording-plane.ts';
import { addTally, noTally, type Tally } from './tally.ts';

const program = new URL('./worker.ts', import.meta.url);
/** On tmpfs: thousands of small indexes come and go. */
const folderOfLives = '/dev/shm/varve-explore-';
/** A life takes as long as some hundreds of states that share recoveries; a short exploration has several lives all the same. */
function cutsPerLifeFor(states: number): number {
  return Math.min(6000, Math.max(50, Math.ceil(states / 8)));
}

/** The fewer cuts there are, the more of them go to other moments. */
function restsPerHeadFor(cutsPerLife: number): number {
  return Math.floor(cutsPerLife / 64);
}

/** Explores one life at a time. */
export type Explorer = Pick<Worker<LifeOptions, LifeReport>, 'live' | 'dismiss'>;

/** What has been explored, and where to go on. Plain data: it may lie in a file between two runs. */
export interface Exploration {
  /** Explored to their end; what the others have shown is not counted. */
  lives: number;
  readonly tally: Tally;
  /** Of lives that were begun and not explored to their end. */
  unfinished: number[];
  /** Of the first life that was not begun. */
  nextSeed: number;
  readonly coverage: Coverage;
  readonly violations: Violation[];
}

export interface ExploreOptions {
  /** Without `before`. */
  readonly firstSeed: number;
  /** Those of `before` among them. */
  readonly states: number;
  /** An earlier exploration, to go on with. No life of it is explored twice. */
  readonly before?: Exploration;
  readonly cutsPerLife?: number;
  /** Of the states of one moment so many share labels and rings (cut-seeds.ts); unless given, as many as a long life affords. */
  readonly restsPerHead?: number;
  /** Processes; as many as there are processors unless given. */
  readonly workers?: number;
  /** False: every state is opened by itself; most share a recovery with others otherwise. */
  readonly sharing?: boolean;
  /** Only this cut of the first life: replays one case. */
  readonly only?: Cut;
  /** Told of each life that is begun, and of each that is explored. */
  readonly onLife?: (exploration: Exploration) => void;
  /** Whoever explores lives; processes unless given. */
  readonly hire?: () => Explorer;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** Explores until `states` states were judged or one was found that breaks a promise. */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  const folder = mkdtempSync(folderOfLives);
  const plan = new Plan(options, folder);
  const count = options.only === undefined ? (options.workers ?? availableParallelism()) : 1;
  const { hire = () => new Worker(program) } = options;
  const workers: Explorer[] = Array.from({ length: count }, hire);
  const dismiss = () => Promise.all(workers.map((worker) => worker.dismiss()));
  options.signal?.addEventListener('abort', () => void dismiss(), { once: true });
  try {
    await Promise.all(workers.map((worker) => plan.work(worker)));
  } finally {
    await dismiss();
    rmSync(folder, { recursive: true, force: true });
  }
  return plan.exploration;
}

function nothingYet(firstSeed: number): Exploration {
  const nothing = { lives: 0, tally: noTally(), coverage: noCoverage(), violations: [] };
  return { ...nothing, unfinished: [], nextSeed: firstSeed };
}

/** Which lives are explored, by whom, and what they have shown. */
class Plan {
  readonly #options: ExploreOptions;
  readonly #folder: string;
  readonly #cutsPerLife: number;
  readonly exploration: Exploration;
  /** Lives that somebody is at. */
  readonly #underWay = new Map<number, LifeOptions>();
  /** Seeds of lives that were begun before, and of none that is under way. */
  readonly #cutOff: number[];

  constructor(options: ExploreOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    const { before, firstSeed, states } = options;
    this.#cutsPerLife = options.cutsPerLife ?? cutsPerLifeFor(states);
    this.exploration = before === undefined ? nothingYet(firstSeed) : structuredClone(before);
    this.#cutOff = [...this.exploration.unfinished];
  }

  async work(worker: Explorer): Promise<void> {
    for (let life = this.#next(); life !== undefined; life = this.#next()) {
      const { seed } = life;
      try {
        this.#add(await worker.live(life));
      } catch (error) {
        if (this.#options.signal?.aborted) return;
        const sentences = [`${error instanceof Error ? error.message : error}`];
        this.exploration.violations.push({ seed, moment: 0, cutSeed: 0, sentences });
        return;
      }
      this.#underWay.delete(seed);
      this.#tell();
    }
  }

  #tell(): void {
    this.exploration.unfinished = [...this.#underWay.keys(), ...this.#cutOff];
    this.#options.onLife?.(this.exploration);
  }

  /** @returns undefined when there is nothing to do, or what is under way will do */
  #next(): LifeOptions | undefined {
    const { states, only, signal } = this.#options;
    if (this.exploration.violations.length > 0 || signal?.aborted) return undefined;
    if (only !== undefined) return this.#replay(only);
    const coming = [...this.#underWay.values()].reduce((sum, { cuts }) => sum + cuts, 0);
    const missing = states - this.exploration.tally.states - coming;
    if (missing <= 0) return undefined;
    return this.#begin({ cuts: Math.min(this.#cutsPerLife, missing) });
  }

  #replay(only: Cut): LifeOptions | undefined {
    const isBegun = this.exploration.nextSeed !== this.#options.firstSeed;
    return isBegun ? undefined : this.#begin({ cuts: 1, only });
  }

  #begin(how: Pick<LifeOptions, 'cuts' | 'only'>): LifeOptions {
    const seed = this.#cutOff.shift() ?? this.exploration.nextSeed++;
    const { sharing = true, restsPerHead = restsPerHeadFor(this.#cutsPerLife) } = this.#options;
    const life = { seed, folder: this.#folder, sharing, restsPerHead, ...how };
    this.#underWay.set(seed, life);
    this.#tell();
    return life;
  }

  #add({ tally, coverage, violations }: LifeReport): void {
    const { exploration } = this;
    exploration.lives += 1;
    addTally(exploration.tally, tally);
    addCoverage(exploration.coverage, coverage);
    exploration.violations.push(...violations);
  }
}
