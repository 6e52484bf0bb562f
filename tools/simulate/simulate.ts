/**
 * The simulation: seeded lives, one after the other in each of some processes, until all are lived or one has broken a promise.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { Worker } from '../explore/crew.ts';
import type { LifeOptions, LifeReport } from './simulate-life.ts';

type Simulator = Worker<LifeOptions, LifeReport>;

const program = new URL('./worker.ts', import.meta.url);
/** Files are read and written by one thread, in order (rest.ts). */
const env = { UV_THREADPOOL_SIZE: '1' };
/** On tmpfs: small indexes come and go. */
const folderOfLives = '/dev/shm/varve-simulate-';

export interface SimulateOptions extends Omit<LifeOptions, 'seed' | 'folder'> {
  readonly firstSeed: number;
  readonly seeds: number;
  /** Processes; one if there is a trace. */
  readonly workers: number;
  readonly onLife?: (report: LifeReport, simulation: Simulation) => void;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

export interface BrokenLife {
  readonly seed: number;
  readonly sentences: readonly string[];
}

export interface Simulation {
  /** In the order of their ends. */
  readonly lives: LifeReport[];
  /** Those that broke a promise, and those over which a process died. */
  readonly broken: BrokenLife[];
  /** Of the first life that was not begun. */
  nextSeed: number;
}

export async function simulate(options: SimulateOptions): Promise<Simulation> {
  const folder = mkdtempSync(folderOfLives);
  const crew = new Crew(options, folder);
  try {
    await Promise.all(Array.from({ length: options.workers }, () => crew.work()));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return crew.simulation;
}

class Crew {
  readonly #options: SimulateOptions;
  readonly #folder: string;
  readonly simulation: Simulation;

  constructor(options: SimulateOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.simulation = { lives: [], broken: [], nextSeed: options.firstSeed };
  }

  async work(): Promise<void> {
    const worker: Simulator = new Worker(program, env);
    const dismiss = () => void worker.dismiss();
    this.#options.signal?.addEventListener('abort', dismiss, { once: true });
    try {
      while (!this.#isOver) await this.#live(worker, this.simulation.nextSeed++);
    } finally {
      await worker.dismiss();
    }
  }

  get #isOver(): boolean {
    const { firstSeed, seeds, signal } = this.#options;
    const { nextSeed, broken } = this.simulation;
    return nextSeed >= firstSeed + seeds || broken.length > 0 || signal?.aborted === true;
  }

  async #live(worker: Simulator, seed: number): Promise<void> {
    const { steps, crashes, traceFile, signal } = this.#options;
    const trace = traceFile === undefined ? {} : { traceFile };
    const { lives, broken } = this.simulation;
    try {
      const report = await worker.live({ seed, folder: this.#folder, steps, crashes, ...trace });
      lives.push(report);
      if (report.sentences.length > 0) broken.push(report);
      this.#options.onLife?.(report, this.simulation);
    } catch (error) {
      if (signal?.aborted) return;
      broken.push({ seed, sentences: [`${error instanceof Error ? error.message : error}`] });
    }
  }
}
