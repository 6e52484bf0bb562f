// Goal: kill -9 while snapshots are taken, deleted, merged, cloned and flattened loses nothing acknowledged, brings no name
//   back and takes none away.
// Method: stamped clients write on a ROW and on a COW volume while an operator works on their snapshots; most kills come
//   moments after a deletion was answered, when layers merge. Every snapshot is hashed when first seen, and must show
//   the same after every restart. Replay with SEED=n. KILLS=n kills more often.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Service } from '../../tools/lib/service.ts';
import { expectWhole, modes, serveBothModes } from './both-modes.ts';
import { chooseSeed, randomFrom } from './seeded.ts';
import { contentOf } from './snapshot-content.ts';
import { StampedClient } from './stamped-client.ts';

const kills = Number(process.env.KILLS ?? 8);
const blocksPerClient = 8192;
const snapshotsMax = 6;

interface Clone {
  readonly name: string;
  readonly source: Known;
}

interface Known {
  readonly volume: string;
  readonly name: string;
  /** Asked for, and not answered before the kill: it may be there or not. */
  uncertain: boolean;
  there: boolean;
  content?: string;
}

let service: Service;
let clients: readonly StampedClient[];
let disks: readonly string[];

beforeAll(async () => {
  service = await Service.start();
  disks = await serveBothModes(service, '16MiB');
  clients = modes.map((volume, index) => {
    const range = { volume: index + 1, firstBlock: 0, blockCount: blocksPerClient };
    return new StampedClient(service.folder, { uri: service.uri(volume), ...range });
  });
});
afterAll(() => service?.dispose());

/** Works on snapshots through REST until the service is gone; what it was doing then is uncertain. */
class Operator {
  readonly #random: (low: number, high: number) => number;
  #known: Known[] = [];
  #clones: Clone[] = [];
  #deletions = 0;
  #serial = 0;
  #killed = false;

  constructor(random: (low: number, high: number) => number) {
    this.#random = random;
  }

  /** Waits until so many more deletions were answered. */
  async hasDeleted(count: number): Promise<void> {
    const goal = this.#deletions + count;
    await expect
      .poll(() => this.#deletions, { timeout: 60_000, interval: 1 })
      .toBeGreaterThanOrEqual(goal);
  }

  /** What comes now fails because the service was killed. */
  expectKill(): void {
    this.#killed = true;
  }

  async work(): Promise<void> {
    this.#killed = false;
    try {
      for (;;) await this.#step();
    } catch (error) {
      if (!this.#killed) throw error;
    }
  }

  async #step(): Promise<void> {
    if (this.#random(0, 10) === 0) return this.#flattenClone();
    const deletable = this.#known.filter(({ uncertain }) => !uncertain);
    if (deletable.length < snapshotsMax) return this.#create();
    return this.#delete(deletable[this.#random(0, deletable.length)] as Known);
  }

  async #create(): Promise<void> {
    const name = `s${++this.#serial}`;
    const taken: Known[] = modes.map((volume) => ({
      volume,
      name,
      uncertain: true,
      there: false,
    }));
    this.#known.push(...taken);
    const names = taken.map(({ volume }) => `${volume}@${name}`);
    await service.rest('POST', '/v1/snapshots', { names });
    for (const each of taken) each.uncertain = false;
    // So that the next one has something of its own.
    await delay(this.#random(20, 200));
  }

  async #delete(gone: Known): Promise<void> {
    gone.uncertain = true;
    const query = `keep_clones=true&bookmark=${this.#random(0, 3) === 0}`;
    await service.rest('DELETE', `/v1/snapshots/${gone.volume}@${gone.name}?${query}`);
    this.#known = this.#known.filter((each) => each !== gone);
    this.#deletions++;
  }

  async #flattenClone(): Promise<void> {
    const source = this.#known.find(({ uncertain }) => !uncertain);
    if (source === undefined) return;
    const name = `clone${++this.#serial}`;
    const actions = `/v1/volumes/${name}/actions`;
    await service.rest('POST', `${actions}/clone`, { source: `${source.volume}@${source.name}` });
    this.#clones.push({ name, source });
    await service.rest('POST', `${actions}/flatten`);
  }

  /** Compares what is there with what must be. @returns a sentence for each difference */
  async judge(): Promise<string[]> {
    const { items = [] } = await service.rest('GET', '/v1/snapshots?limit=1000');
    const there = new Set(
      items.filter(({ type }) => type === 'snapshot').map((item) => `${item.volume}@${item.name}`),
    );
    const wrong: string[] = [];
    for (const each of this.#known) {
      const where = `${each.volume}@${each.name}`;
      each.there = there.delete(where);
      if (!each.there && !each.uncertain) wrong.push(`${where} is gone`);
      if (!each.there) continue;
      const content = await contentOf(service, each.volume, each.name);
      if (content !== (each.content ?? content)) wrong.push(`${where} shows something else`);
      each.content = content;
      each.uncertain = false;
    }
    this.#known = this.#known.filter((each) => each.there);
    for (const { name, source } of this.#clones.splice(0)) {
      const content = await contentOf(service, name);
      if (content !== (source.content ?? content)) wrong.push(`${name} is no clone`);
      await service.rest('DELETE', `/v1/volumes/${name}`);
    }
    return [...wrong, ...[...there].map((name) => `${name} is back`)];
  }
}

test(`${kills} kills among snapshots and merges lose nothing and bring nothing back`, {
  timeout: 60_000 + kills * 30_000,
}, async () => {
  const seed = chooseSeed();
  const random = randomFrom(seed);
  const operator = new Operator(random);
  for (let round = 0; round < kills; round++) {
    clients.forEach((client, index) => {
      client.start(seed + 100 * round + index);
    });
    const working = operator.work();
    await Promise.race([working, operator.hasDeleted(random(2, 6))]);
    await delay(random(0, 20));
    operator.expectKill();
    await service.kill9();
    await Promise.all([working, ...clients.map((client) => client.ended())]);
    await service.restart();
    const verdicts = await Promise.all(clients.map((client) => client.verify()));
    const where = `SEED=${seed} round ${round}`;
    expect(
      verdicts.map(({ wrong }) => wrong),
      where,
    ).toEqual([[], []]);
    expect(await operator.judge(), where).toEqual([]);
  }
  await expectWhole(service, disks);
});
