/**
 * One seed: a life of the explorer's steps (tools/explore/life.ts) in a simulated process, with faults of its disks, and crashes at steps of it, each
 * reopened and judged by what had been promised by then.
 *
 * Simulated are time, threads of the data plane, disks, the order in which everything ends, and ids. Real, but not to be told by its time
 * (rest.ts): LevelDB and files of the state folder.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../src/base/units.ts';
import { judge } from '../explore/afterlife.ts';
import { misshown, step } from '../explore/life.ts';
import { Random } from '../explore/random.ts';
import { recordedUri } from '../explore/recording-plane.ts';
import { World, type WorldDisks } from '../explore/world.ts';
import { type CrashPoint, CrashPoints } from './crash-points.ts';
import { type FaultKind, Faults } from './faults.ts';
import { giveBackRandomness, takeOverRandomness } from './host-random.ts';
import { HostTime } from './host-time.ts';
import { Rest } from './rest.ts';
import { FrozenError, Scheduler } from './scheduler.ts';
import { SimulatedPlane } from './simulated-plane.ts';
import { Trace } from './trace.ts';

const diskBytes = 8 * MiB;
const sparesPerLife = 2;
const stepsPerLook = 3;

export interface LifeOptions {
  readonly seed: number;
  /** For what hosts keep. */
  readonly folder: string;
  /** Commands and batches of requests. */
  readonly steps: number;
  /** Judged. */
  readonly crashes: number;
  /** Gets each step of the scheduler, in words. */
  readonly traceFile?: string;
}

export interface LifeReport {
  readonly seed: number;
  readonly faults: FaultKind;
  /** Operations of disks that went wrong. */
  readonly faultsMet: number;
  /** Crashes that were reopened and judged. */
  readonly crashes: number;
  /** Of the scheduler. */
  readonly steps: number;
  /** Of everything that happened, in order. */
  readonly digest: string;
  /** Operations that a crash met. */
  readonly underWay: readonly string[];
  /** One for each broken promise. */
  readonly sentences: readonly string[];
  /** What happened before the first of them. */
  readonly newest: readonly string[];
  /** The process is not to be used any more. */
  readonly isStuck: boolean;
}

/** @param options of a process that does nothing else; UV_THREADPOOL_SIZE is 1 */
export async function simulateLife(options: LifeOptions): Promise<LifeReport> {
  const home = join(options.folder, `life-${options.seed}`);
  mkdirSync(home);
  const time = new HostTime();
  const rest = await Rest.measure();
  time.takeOver();
  const life = new Life(options, home, { time, rest });
  try {
    return await life.run();
  } finally {
    time.giveBack();
    giveBackRandomness();
    rmSync(home, { recursive: true, force: true });
  }
}

class Life {
  readonly #options: LifeOptions;
  readonly #home: string;
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #trace: Trace;
  readonly #disks: WorldDisks;
  readonly #plane: SimulatedPlane;
  readonly #scheduler: Scheduler;
  readonly #points: CrashPoints;
  readonly #sentences: string[] = [];
  readonly #underWay = new Set<string>();
  #judged = 0;
  #newest: readonly string[] = [];
  #isStuck = false;
  /** A command was told an error of a disk. */
  #wasTold = false;

  constructor(options: LifeOptions, home: string, host: { time: HostTime; rest: Rest }) {
    const { seed } = options;
    this.#options = options;
    this.#home = home;
    // Each draws from its own, so that what one of them chooses more often changes nothing for the others.
    const draw = (use: number) => new Random(8 * seed + use);
    this.#random = draw(0);
    takeOverRandomness(draw(1));
    this.#faults = new Faults(draw(2));
    this.#trace = new Trace(options.traceFile);
    this.#disks = {
      first: named('disk', 1 + this.#random.below(3)),
      other: named('other', this.#random.chance(3) ? 1 : 0),
      spares: named('spare', sparesPerLife),
    };
    const all = Object.values(this.#disks).flat();
    this.#plane = new SimulatedPlane(new Map(all.map((disk) => [disk, diskBytes])));
    const [faults, trace, plane] = [this.#faults, this.#trace, this.#plane];
    this.#scheduler = new Scheduler({ ...host, plane, faults, trace, random: draw(3) });
    this.#points = new CrashPoints(draw(4), { max: options.crashes, folder: home });
  }

  async run(): Promise<LifeReport> {
    try {
      await this.#live();
    } catch (error) {
      this.#isStuck ||= error instanceof FrozenError;
      this.#broken(`the life ended: ${error instanceof Error ? error.stack : error}`);
    }
    const { seed } = this.#options;
    return {
      seed,
      faults: this.#faults.kind,
      faultsMet: this.#faults.met,
      crashes: this.#judged,
      steps: this.#trace.steps,
      digest: this.#trace.digest,
      underWay: [...this.#underWay],
      sentences: this.#sentences,
      newest: this.#newest,
      isStuck: this.#isStuck,
    };
  }

  async #live(): Promise<void> {
    const world = await this.#begin();
    if (world === undefined) return this.#stop();
    this.#scheduler.onRest = () => this.#offerCrash();
    await this.#step(world);
    this.#faults.active = false;
    await this.#end(world);
    this.#scheduler.onRest = () => {};
    for (const point of this.#points.all) {
      if (this.#sentences.length > 0) break;
      await this.#judge(world, point);
    }
    await this.#stop();
  }

  async #begin(): Promise<World | undefined> {
    const { patienceSeconds } = this.#faults;
    return this.#told(() =>
      this.#scheduler.run(() =>
        World.begin(this.#plane, this.#random, this.#home, this.#disks, patienceSeconds),
      ),
    );
  }

  async #step(world: World): Promise<void> {
    for (let count = 0; count < this.#options.steps && !this.#wasTold; count++) {
      await this.#told(() => this.#scheduler.run(() => step(world)));
      if (this.#wasTold || count % stepsPerLook !== 0) continue;
      const wrong = await this.#told(() => this.#scheduler.run(() => misshown(world)));
      for (const sentence of wrong ?? []) this.#broken(sentence);
    }
  }

  /** Runs `work`, which may be told an error only when its fault allows that. @returns undefined: it was told one */
  async #told<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!this.#faults.allow(error)) throw error;
      this.#wasTold = true;
      return undefined;
    }
  }

  /** Everything is closed, whatever happened. */
  async #end(world: World): Promise<void> {
    const closes = [
      ...world.live.map(
        ({ open }) =>
          () =>
            open.close(),
      ),
      async () => world.moves.close(),
      () => world.snapshots.close(),
      () => world.pools.close(),
    ];
    for (const close of closes) await this.#told(() => this.#scheduler.run(close));
  }

  async #stop(): Promise<void> {
    await this.#scheduler.run(() => this.#plane.dispose());
    this.#plane.stop();
  }

  #offerCrash(): void {
    const { steps: at } = this.#trace;
    const moment = this.#plane.moment();
    this.#points.offer({ step: at, moment, stateDir: World.stateDir(this.#home) });
  }

  async #judge(world: World, point: CrashPoint): Promise<void> {
    const { moment, cutSeed: seed, memory, step: at } = point;
    const { sentences } = await this.#scheduler.run(async () => {
      const { disks, dispose } = await this.#plane.cut({ moment, seed });
      const remains = { moment, disks, memory, salvage: false };
      const verdict = await judge(this.#plane, remains, world, this.#home);
      dispose();
      return verdict;
    });
    this.#judged += 1;
    for (const operation of world.timeline.underWayAt(moment)) this.#underWay.add(operation);
    const where = `crash at step ${at}, ${memory === undefined ? 'another host' : 'the same host'}`;
    for (const sentence of sentences) this.#broken(`${where}: ${sentence}`);
  }

  #broken(sentence: string): void {
    if (this.#sentences.length === 0) this.#newest = [...this.#trace.newest];
    this.#sentences.push(sentence);
  }
}

function named(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => recordedUri(`${name}${at}`));
}
