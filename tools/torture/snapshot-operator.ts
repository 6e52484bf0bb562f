/**
 * An operator who works on the snapshots of some volumes through REST until the service is killed, and who knows afterwards what
 * must be there, what must not, and what every snapshot shows.
 *
 * What was asked for and not answered before a kill may have happened or not; the first look after the restart settles it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { contentOf } from '../../test/e2e/snapshot-content.ts';
import type { Service } from '../lib/service.ts';
import { until } from '../lib/until.ts';
import { quiet } from './operations.ts';
import type { Choice } from './restarts.ts';

const snapshotsMax = 6;
/** They go with the next look, and take space until then. */
const clonesMax = 6;
/** One is enough for a chain of backups; each that is kept costs the next merges a look. */
const bookmarksMax = 8;

interface Known {
  readonly volume: string;
  readonly name: string;
  /** Asked for, and not answered before the kill: it may be there or not. */
  uncertain: boolean;
  there: boolean;
  content?: string;
}

interface Clone {
  readonly name: string;
  readonly source: Known;
}

export class SnapshotOperator {
  readonly #service: Service;
  readonly #volumes: readonly string[];
  readonly #random: Choice;
  readonly #pauseMs: number;
  #known: Known[] = [];
  #clones: Clone[] = [];
  /** VOLUME@NAME, the oldest first. */
  #bookmarks: string[] = [];
  #created = 0;
  #deletions = 0;
  #serial = 0;
  #killed = false;

  /**
   * @param volumes of each snapshot group, one snapshot of each
   * @param options.pauseMs between two steps, for one who leaves time to what happens in the background
   */
  constructor(
    service: Service,
    volumes: readonly string[],
    random: Choice,
    { pauseMs = 0 }: { readonly pauseMs?: number } = {},
  ) {
    this.#service = service;
    this.#volumes = volumes;
    this.#random = random;
    this.#pauseMs = pauseMs;
  }

  /** Snapshots taken, and deletions answered, so far. */
  get counts(): { readonly created: number; readonly deleted: number } {
    return { created: this.#created, deleted: this.#deletions };
  }

  /** Waits until so many more deletions were answered. */
  async hasDeleted(count: number): Promise<void> {
    const goal = this.#deletions + count;
    const isReached = () => this.#deletions >= goal;
    await until(isReached, { what: `${count} deletions of snapshots`, intervalMs: 1 });
  }

  /** What comes now fails because the service is killed, or is left off. */
  expectKill(): void {
    this.#killed = true;
  }

  /** Works until `expectKill`. @throws Error the service refused something, or went away unexpectedly */
  async work(): Promise<void> {
    this.#killed = false;
    try {
      while (!this.#killed) {
        await this.#step();
        await delay(this.#pauseMs);
      }
    } catch (error) {
      if (!this.#killed) throw error;
    }
  }

  async #step(): Promise<void> {
    if (this.#random(0, 10) === 0 && this.#clones.length < clonesMax) return this.#flattenClone();
    const deletable = this.#known.filter(({ uncertain }) => !uncertain);
    if (deletable.length < snapshotsMax) return this.#create();
    return this.#delete(deletable[this.#random(0, deletable.length)] as Known);
  }

  async #create(): Promise<void> {
    const name = `s${++this.#serial}`;
    const taken: Known[] = this.#volumes.map((volume) => ({
      volume,
      name,
      uncertain: true,
      there: false,
    }));
    this.#known.push(...taken);
    const names = taken.map(({ volume }) => `${volume}@${name}`);
    await this.#service.rest('POST', '/v1/snapshots', { names });
    for (const each of taken) each.uncertain = false;
    this.#created += taken.length;
    // So that the next one has something of its own.
    await delay(this.#random(20, 200));
  }

  async #delete(gone: Known): Promise<void> {
    gone.uncertain = true;
    const bookmark = this.#random(0, 3) === 0;
    const where = `${gone.volume}@${gone.name}`;
    await this.#service.rest(
      'DELETE',
      `/v1/snapshots/${where}?keep_clones=true&bookmark=${bookmark}`,
    );
    this.#known = this.#known.filter((each) => each !== gone);
    this.#deletions++;
    if (bookmark) this.#bookmarks.push(where);
    if (this.#bookmarks.length <= bookmarksMax) return;
    await this.#service.rest('DELETE', `/v1/snapshots/${this.#bookmarks.shift()}`);
  }

  async #flattenClone(): Promise<void> {
    const source = this.#known.find(({ uncertain }) => !uncertain);
    if (source === undefined) return;
    const name = `clone${++this.#serial}`;
    const actions = `/v1/volumes/${name}/actions`;
    const body = { source: `${source.volume}@${source.name}` };
    this.#clones.push({ name, source });
    await this.#service.rest('POST', `${actions}/clone`, body);
    await this.#service.rest('POST', `${actions}/flatten`);
  }

  /**
   * Compares what is there with what must be; clones go. Call it when `work` has ended, after a restart for instance.
   *
   * @param options.contents also what each snapshot and clone shows, which takes the longest
   * @returns a sentence for each difference
   */
  async judge({ contents = true } = {}): Promise<string[]> {
    const there = await this.#listed();
    const wrong: string[] = [];
    for (const each of this.#known) {
      const where = `${each.volume}@${each.name}`;
      each.there = there.delete(where);
      if (!each.there && !each.uncertain) wrong.push(`${where} is gone`);
      if (!each.there) continue;
      each.uncertain = false;
      if (contents) wrong.push(...(await this.#compare(each)));
    }
    this.#known = this.#known.filter((each) => each.there);
    const volumes = await this.#volumesThere();
    for (const clone of this.#clones.splice(0)) {
      // The last one may have been asked for and not answered.
      if (!volumes.has(clone.name)) continue;
      // Its flattening goes on by itself.
      await quiet(this.#service, { volume: clone.name });
      if (contents) wrong.push(...(await this.#compareClone(clone)));
      await this.#service.rest('DELETE', `/v1/volumes/${clone.name}`);
    }
    return [...wrong, ...[...there].map((name) => `${name} is back`)];
  }

  /** Of the operator's volumes, as VOLUME@SNAPSHOT; bookmarks are none, and are told apart from now on. */
  async #listed(): Promise<Set<string>> {
    const { items = [] } = await this.#service.rest('GET', '/v1/snapshots?limit=1000');
    const ours = items.filter(({ volume }) => this.#volumes.includes(String(volume)));
    const named = (wanted: string) =>
      ours.filter(({ type }) => type === wanted).map(({ volume, name }) => `${volume}@${name}`);
    this.#bookmarks = named('bookmark');
    return new Set(named('snapshot'));
  }

  async #volumesThere(): Promise<Set<unknown>> {
    const { items = [] } = await this.#service.rest('GET', '/v1/volumes');
    return new Set(items.map(({ name }) => name));
  }

  async #compare(each: Known): Promise<string[]> {
    const content = await contentOf(this.#service, each.volume, each.name);
    const isSame = content === (each.content ?? content);
    each.content = content;
    return isSame ? [] : [`${each.volume}@${each.name} shows something else`];
  }

  async #compareClone({ name, source }: Clone): Promise<string[]> {
    const content = await contentOf(this.#service, name);
    return content === (source.content ?? content) ? [] : [`${name} is no clone`];
  }
}
