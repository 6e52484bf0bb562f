/**
 * A soak: a service under load for so many minutes, with faults and kills in the first part and one process that lives on in the second, where its memory
 * and descriptors are watched.
 *
 *   |-- disturbances and kills --|-- disturbances, no kill --| kill, verify, stop, check offline
 *
 * The first thing that is wrong ends it.
 */
import { findingsAfterStop } from '../torture/checks.ts';
import { keepEvidence } from '../torture/evidence.ts';
import { type Choice, Restarts } from '../torture/restarts.ts';
import { disturbances, type Scene } from './disturbances.ts';
import { Load } from './load.ts';
import { makeStage, type Stage } from './stage.ts';
import type { Figures, Sample } from './verdict.ts';
import { vitalsOf } from './vitals.ts';

const sampleMs = 1000;
/** The rest belongs to one process. */
const killsPart = 0.4;
/** Told when the pool is filled, which is done here on purpose. */
const expectedError = 'pool/full';
/** Of what happens while there are kills, every so manieth is one. */
const oneKillIn = 3;

export interface SoakOptions {
  readonly minutes: number;
  readonly random: Choice;
  readonly signal: AbortSignal;
  /** Told before each thing that happens. */
  readonly onStep: (step: string, seconds: number) => void;
}

export class Soak {
  readonly #options: SoakOptions;
  readonly #stage: Stage;
  readonly #load: Load;
  readonly #restarts: Restarts;
  readonly #samples: Sample[] = [];
  readonly #violations: string[] = [];
  readonly #done: Record<string, number> = {};
  readonly #started = performance.now();
  readonly #sampling = setInterval(() => this.#sample(), sampleMs);
  #lastEvent = 0;

  private constructor(stage: Stage, options: SoakOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#load = new Load(stage.service, options.random);
    this.#restarts = new Restarts(stage.service, options.random);
  }

  /** Runs one from its beginning to its end; leaves nothing behind. */
  static async run(options: SoakOptions): Promise<Figures> {
    const stage = await makeStage();
    const soak = new Soak(stage, options);
    try {
      await soak.#live();
    } catch (error) {
      soak.#violations.push((error as Error).stack ?? String(error));
    } finally {
      clearInterval(soak.#sampling);
      if (soak.#violations.length > 0) {
        soak.#violations.push(`kept in ${await keepEvidence(stage.service)}`);
      }
      await stage.dispose();
    }
    return soak.#figures();
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  async #live(): Promise<void> {
    const seconds = this.#options.minutes * 60;
    this.#load.begin();
    await this.#load.progress(100);
    while (this.#goesOn(seconds)) await this.#step(this.#seconds < seconds * killsPart);
    if (this.#violations.length > 0) return;
    this.#tell('the end');
    await this.#load.movements.settled();
    // The process that is killed now is the one to be judged.
    clearInterval(this.#sampling);
    await this.#load.endWith(() => this.#stage.service.kill9());
    await this.#serveAndVerify();
    this.#violations.push(...(await findingsAfterStop(this.#stage.service, this.#stage.disks)));
  }

  #goesOn(seconds: number): boolean {
    const { signal } = this.#options;
    return this.#seconds < seconds && this.#violations.length === 0 && !signal.aborted;
  }

  async #step(mayKill: boolean): Promise<void> {
    const { random } = this.#options;
    await this.#load.movements.keepGoing();
    if (mayKill && random(0, oneKillIn) === 0) await this.#kill();
    else await this.#disturb();
    this.#load.expectAlive();
    this.#violations.push(...(await this.#errorEvents()));
  }

  async #disturb(): Promise<void> {
    const { random } = this.#options;
    const names = Object.keys(disturbances);
    const name = names[random(0, names.length)] as string;
    this.#tell(name);
    const scene: Scene = { stage: this.#stage, load: this.#load, random };
    this.#violations.push(...(await (disturbances[name] as (typeof disturbances)[string])(scene)));
  }

  /** The service is killed under load and comes back; everything is compared, and the load goes on. */
  async #kill(): Promise<void> {
    this.#tell('kill');
    await this.#load.endWith(() => this.#stage.service.kill9());
    await this.#serveAndVerify();
    this.#load.begin();
    await this.#load.progress(50);
  }

  async #serveAndVerify(): Promise<void> {
    this.#count('start killed', await this.#restarts.serveAgain());
    this.#violations.push(...(await this.#load.verify()), ...(await this.#load.operator.judge()));
  }

  /** Since it was asked last; the service tells of no error here that a user would not be told of. */
  async #errorEvents(): Promise<string[]> {
    const query = `/v1/events?after=${this.#lastEvent}&limit=1000`;
    const { items = [] } = await this.#stage.service.rest('GET', query);
    this.#lastEvent = Number(items.at(-1)?.id ?? this.#lastEvent);
    const errors = items.filter(({ level, event }) => level === 'error' && event !== expectedError);
    return errors.map((event) => `event: ${JSON.stringify(event)}`);
  }

  #sample(): void {
    const sample = vitalsOf(this.#stage.service.pid, this.#seconds);
    if (sample !== undefined) this.#samples.push(sample);
  }

  #tell(step: string): void {
    this.#count(step, 1);
    this.#options.onStep(step, this.#seconds);
  }

  #count(what: string, times: number): void {
    this.#done[what] = (this.#done[what] ?? 0) + times;
  }

  #figures(): Figures {
    const { created, deleted } = this.#load.operator.counts;
    return {
      samples: this.#samples,
      startsMs: this.#restarts.startsMs,
      violations: this.#violations,
      done: {
        ...this.#done,
        'requests acknowledged': this.#load.acknowledged,
        'snapshots taken': created,
        'snapshots deleted': deleted,
        'movements ended': this.#load.movements.ended,
      },
    };
  }
}
