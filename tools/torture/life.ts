/**
 * One seeded life of a service that is killed again and again under load.
 *
 *   clients write, an operator works on snapshots, data moves ──▶ kill -9 ──▶ start (killed as well, now and then) ──▶ everything is compared
 *
 * Nothing acknowledged may be missing, flushed or not; snapshots are there or gone as was answered and show what they showed; the pool is whole.
 */
import { StampedClient } from '../../test/e2e/stamped-client.ts';
import type { Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';
import { findingsAfterStop, findingsOnline } from './checks.ts';
import type { Life, LifeOptions } from './lives.ts';
import { Movements } from './movements.ts';
import { emptyTally, type Tally } from './report.ts';
import { Restarts } from './restarts.ts';
import { makeScene, type Scene, volumes } from './scene.ts';
import { SnapshotOperator } from './snapshot-operator.ts';

const blocksPerClient = 2048;
/** Reading every snapshot whole takes longer than everything else of a round. */
const roundsPerReading = 5;
const roundsPerCheck = 10;

/** Begins one on a scene that the seed chooses. */
export async function beginLife(options: LifeOptions): Promise<Life> {
  return new LifeUnderLoad(await makeScene(options.random), options);
}

class LifeUnderLoad implements Life {
  readonly tally: Tally = emptyTally();
  readonly #scene: Scene;
  readonly #options: LifeOptions;
  readonly #clients: readonly StampedClient[];
  readonly #operator: SnapshotOperator;
  readonly #movements: Movements;
  readonly #restarts: Restarts;
  #rounds = 0;

  constructor(scene: Scene, options: LifeOptions) {
    const { service } = scene;
    const { random } = options;
    this.#scene = scene;
    this.#options = options;
    // Two on the first volume: what is promised holds across connections.
    const served: readonly string[] = ['row', ...volumes];
    this.#clients = served.map((volume, index) => {
      const range = { firstBlock: index * blocksPerClient, blockCount: blocksPerClient };
      const uri = service.uri(volume);
      return new StampedClient(service.folder, {
        uri,
        volume: served.lastIndexOf(volume),
        ...range,
      });
    });
    this.#operator = new SnapshotOperator(service, ['row', 'cow'], random);
    this.#movements = new Movements(service, { pool: 'main', volumes: ['cow', 'third'] }, random);
    this.#restarts = new Restarts(service, random);
  }

  get service(): Service {
    return this.#scene.service;
  }

  async live(): Promise<string[]> {
    while (this.tally.kills < this.#options.kills && !this.#options.signal.aborted) {
      const wrong = await this.#round();
      this.#count();
      if (wrong.length > 0) return wrong;
      this.#options.onRound();
    }
    await this.#movements.settled();
    const wrong = await this.#judge({ contents: true });
    wrong.push(...(await findingsAfterStop(this.service, this.#scene.disks)));
    this.#count();
    return wrong;
  }

  dispose(): Promise<void> {
    return this.service.dispose();
  }

  async #round(): Promise<string[]> {
    await this.#loadAndKill();
    this.tally.kills++;
    this.tally.acknowledged += this.#acknowledged();
    const killedStarts = await this.#restarts.serveAgain();
    this.tally.kills += killedStarts;
    this.tally.killsWhileStarting += killedStarts;
    this.#rounds++;
    const wrong = await this.#judge({ contents: this.#rounds % roundsPerReading === 0 });
    if (this.#rounds % roundsPerCheck === 0) {
      wrong.push(...(await findingsOnline(this.service)));
      this.tally.checks++;
    }
    return wrong;
  }

  /** Everybody works until the service is gone. */
  async #loadAndKill(): Promise<void> {
    const { seed, random } = this.#options;
    this.#clients.forEach((client, index) => {
      client.start(seed + 100 * this.#rounds + index);
    });
    const work = random(50, 4000);
    const isBusy = random(0, 3) > 0;
    const deletions = random(1, 4);
    if (random(0, 2) === 0) await this.#movements.keepGoing();
    const working = isBusy ? this.#operator.work() : Promise.resolve();
    const loaded = Promise.all([
      until(() => this.#acknowledged() > work, { what: `${work} requests` }),
      isBusy ? this.#operator.hasDeleted(deletions) : undefined,
    ]);
    // A refused request of the operator must not wait for deletions that never come.
    await Promise.race([loaded, working.then(() => loaded)]);
    this.#operator.expectKill();
    await this.service.kill9();
    // All of them, before the first that found something wrong ends the life: the others' models are evidence.
    const ends = await Promise.allSettled(this.#clients.map((client) => client.ended()));
    await Promise.all([working, ...ends.map(unwrap)]);
  }

  #acknowledged(): number {
    return this.#clients.reduce((sum, client) => sum + client.acknowledged, 0);
  }

  async #judge(options: { readonly contents: boolean }): Promise<string[]> {
    const verdicts = await Promise.all(this.#clients.map((client) => client.verify()));
    const wrong = verdicts.flatMap((verdict) => verdict.wrong.map((each) => JSON.stringify(each)));
    this.tally.blocksVerified += verdicts.reduce((sum, { blocks }) => sum + blocks, 0);
    return [...wrong, ...(await this.#operator.judge(options))];
  }

  #count(): void {
    const { created, deleted } = this.#operator.counts;
    this.tally.snapshots = created;
    this.tally.deletions = deleted;
    this.tally.movements = this.#movements.ended;
    this.tally.startsMs.splice(0, Infinity, ...this.#restarts.startsMs);
  }
}

function unwrap(end: PromiseSettledResult<void>): void {
  if (end.status === 'rejected') throw end.reason;
}
