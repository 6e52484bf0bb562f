/**
 * Handing exports over: what is served moves to another pool under the clients, who notice a pause and nothing else.
 *
 *   pause → (the content is in both pools, and the other one's now) → moved → resume → release
 *     └────────────── it is not ──────────────▶ resume                    nobody can tell ──▶ giveUp
 *
 * Between `pause` and `resume` clients stay connected and their requests wait; none is under way. Block data and requests stay in the data plane.
 * Elsewhere: when the content is in both (src/migration/pool-move), how requests wait (native/nbd/session.h).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { allEnded } from '../base/all-ended.ts';
import { messageOf, StorageError } from '../base/errors.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { type Entry, isOfVolume } from './entry.ts';
import type { OpenedSource, Served, Serving } from './serving.ts';
import type { VolumeExportRecord } from './types.ts';

/** Requests that take longer have something wrong with them; guests are not to wait for it. */
const pauseMsMax = 10_000;

interface Paused {
  entry: Entry<VolumeExportRecord>;
  readonly served: Served;
}

export type HandOverPlane = Pick<DataPlane, 'pauseExport' | 'resumeExport' | 'removeExport'>;

export class HandOver {
  readonly #dataPlane: HandOverPlane;
  readonly #serving: Serving;
  readonly #entries: Map<string, Entry>;
  /** Of the volumes, those that are not served among them. */
  #entriesMeant: readonly Entry<VolumeExportRecord>[] = [];
  #paused: Paused[] = [];
  #movedTo: string | undefined;
  /** What is served no more, once nothing reaches it. */
  readonly #old: OpenedSource[] = [];

  constructor(dataPlane: HandOverPlane, serving: Serving, entries: Map<string, Entry>) {
    this.#dataPlane = dataPlane;
    this.#serving = serving;
    this.#entries = entries;
  }

  /**
   * From now on requests of the volumes' exports wait, of their snapshots' too, and none is under way.
   *
   * @returns what those exports serve
   * @throws StorageError volume/busy requests under way do not end; they go on then
   */
  async pause(pool: string, volumes: ReadonlySet<number>): Promise<readonly VolumeExportRecord[]> {
    this.#entriesMeant = [...this.#entries.values()]
      .filter(isOfVolume)
      .filter((entry) => entry.pool === pool && volumes.has(entry.record.volumeId));
    this.#paused = this.#entriesMeant.flatMap((entry) =>
      entry.served === null ? [] : [{ entry, served: entry.served }],
    );
    try {
      await this.#quiet();
    } catch (error) {
      await this.resume();
      throw error;
    }
    return this.#paused.map(({ entry }) => entry.record);
  }

  async #quiet(): Promise<void> {
    const names = this.#paused.map(({ entry }) => entry.record.name);
    const quiet = allEnded(names.map((name) => this.#dataPlane.pauseExport(name)));
    const late = new AbortController();
    const deadline = delay(pauseMsMax, 'late', { signal: late.signal }).catch(() => 'in time');
    const outcome = await Promise.race([quiet, deadline]);
    late.abort();
    if (outcome !== 'late') return;
    const message = `requests under way have not ended in ${pauseMsMax} ms`;
    throw new StorageError('volume/busy', message);
  }

  /** The exports are another pool's from now on, as their records there say; no request goes on yet. */
  moved(pool: string, recordOf: (record: VolumeExportRecord) => VolumeExportRecord): void {
    for (const old of this.#entriesMeant) {
      const entry = { ...old, record: recordOf(old.record), pool };
      this.#entries.set(entry.record.name, entry);
      const paused = this.#paused.find((each) => each.entry === old);
      if (paused !== undefined) paused.entry = entry;
    }
    this.#movedTo = pool;
  }

  /** Requests go on, by the other pool when the exports have moved. One that cannot be served there is marked as failed. */
  async resume(): Promise<void> {
    const pool = this.#movedTo;
    await Promise.all(
      this.#paused.map((each) =>
        pool === undefined ? this.#goOn(each, null) : this.#goOnIn(pool, each),
      ),
    );
    this.#paused = [];
  }

  /** What was served before is closed. */
  async release(): Promise<void> {
    await allEnded(this.#old.splice(0).map((source) => source.close()));
  }

  /**
   * Nobody can tell where the volumes are: clients lose their connections, without an answer to what waits, and may come again. The exports are
   * known again when the pool that has them is opened.
   */
  async giveUp(): Promise<void> {
    for (const { record } of this.#entriesMeant) this.#entries.delete(record.name);
    for (const { entry, served } of this.#paused.splice(0)) {
      await this.#dataPlane.removeExport(entry.record.name, { abort: true });
      await this.#serving.end(served);
    }
  }

  async #goOnIn(pool: string, paused: Paused): Promise<void> {
    const { entry, served } = paused;
    try {
      const source = await this.#serving.reopen(pool, entry.record, served.source);
      await this.#goOn(paused, source);
    } catch (error) {
      entry.failure = messageOf(error);
      entry.served = null;
      await this.#dataPlane.removeExport(entry.record.name, { abort: true });
      await this.#serving.end(served);
    }
  }

  async #goOn({ entry, served }: Paused, source: OpenedSource | null): Promise<void> {
    const { name } = entry.record;
    if (source === null || source.kind !== 'volume')
      return this.#dataPlane.resumeExport(name, null);
    await this.#dataPlane.resumeExport(name, source.plane);
    entry.served = { ...served, source };
    this.#old.push(served.source);
  }
}
