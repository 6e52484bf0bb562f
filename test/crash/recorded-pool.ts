/**
 * A pool on recorded disks and a volume that is written while something happens to the pool, so that every moment of it can be cut.
 *
 * Data lies on the first disk alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { Pools } from '../../src/pool/pools.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { VolumeService } from '../../src/volume/volume-service.ts';
import { judge } from '../../tools/explore/afterlife.ts';
import { VolumeModel } from '../../tools/explore/durability-model.ts';
import { beginning, type Promised, type VolumeLife } from '../../tools/explore/promises.ts';
import { type RecordingPlane, recordedUri } from '../../tools/explore/recording-plane.ts';
import { sectorBytes, stamp } from '../../tools/explore/sectors.ts';
import { quietLog } from '../pool/fixture.ts';

const diskBytes = 8 * MiB;
const clusterBytes = 16 * KiB;
const sizeBytes = MiB;

/** Moments of a recording, the second not included. */
export type Span = readonly [from: number, to: number];

export interface RecordedPoolOptions<P extends RecordingPlane> {
  /** Named `a`, `b` … */
  readonly diskCount: number;
  /** The first so many are the pool's. */
  readonly memberCount: number;
  readonly planeOf: (sizes: ReadonlyMap<string, number>) => P;
}

export class RecordedPool<P extends RecordingPlane> {
  readonly events: EventInput[] = [];
  pools!: Pools;
  pool!: Pool;
  #volumes!: VolumeService;
  readonly #life: VolumeLife;
  #serial = 0;

  private constructor(
    readonly folder: string,
    readonly disks: readonly string[],
    readonly plane: P,
  ) {
    this.#life = {
      name: 'v',
      model: new VolumeModel(1, sizeBytes),
      ...beginning(plane.moment()),
    };
  }

  static async create<P extends RecordingPlane>(options: RecordedPoolOptions<P>) {
    const folder = mkdtempSync(join(tmpdir(), 'varve-recorded-'));
    const names = ['a', 'b', 'c', 'd'].slice(0, options.diskCount);
    const disks = names.map(recordedUri);
    const plane = options.planeOf(new Map(disks.map((disk) => [disk, diskBytes])));
    const recorded = new RecordedPool(folder, disks, plane);
    await recorded.#start(options.memberCount);
    return recorded;
  }

  async #start(memberCount: number): Promise<void> {
    const { folder, plane, disks } = this;
    const emit = (event: EventInput) => this.events.push(event);
    const common = { clock: systemClock, emit };
    const stateDir = join(folder, 'state');
    const options = { flushWindowMs: 1000 };
    this.pools = await Pools.open({
      stateDir,
      dataPlane: plane,
      log: quietLog,
      options,
      ...common,
    });
    await this.pools.create('life', disks.slice(0, memberCount), { clusterBytes });
    this.pool = this.pools.get('life');
    for (let number = 1; number < memberCount; number++) {
      await this.pool.placeDisk(number, { class: null, cordoned: true });
    }
    this.#volumes = new VolumeService({ pools: this.pools, ...common });
    await this.#volumes.create({ name: 'v', sizeBytes });
    this.#life.created = plane.moment();
  }

  get promised(): Promised {
    return { lives: [this.#life], snapshotLives: [] };
  }

  /** Behind the cuts. */
  async dispose(): Promise<void> {
    await this.plane.dispose();
    this.plane.stop();
    rmSync(this.folder, { recursive: true });
  }

  /** A cluster of the volume gets new content, durably. */
  async write(): Promise<void> {
    this.#serial += 1;
    const { model } = this.#life;
    const at = (this.#serial * 3 * clusterBytes) % sizeBytes;
    const data = new Uint8Array(clusterBytes);
    stamp(data, 1, at / sectorBytes, this.#serial);
    const volume = await this.#volumes.open('v');
    const change = model.begin(at, clusterBytes, this.#serial, this.plane.moment());
    await volume.plane.write(at, data, { fua: true });
    model.acknowledged(change);
    model.flushed([change], this.plane.moment());
    await volume.close();
  }

  /** The moments of `work`, beside which clusters are written, each durable before the next: every one makes more moments to cut at. */
  async whileWriting(writes: number, work: () => Promise<unknown>): Promise<Span> {
    const begun = this.plane.moment();
    const volume = await this.#volumes.open('v');
    const working = work();
    for (let n = 0; n < writes; n++) await this.write();
    await working;
    await volume.close();
    return [begun, this.plane.moment()];
  }

  /** Cuts every moment of the span, keeping all that was submitted and nothing that was not synced. @returns a sentence for each promise broken */
  async cutAll([from, to]: Span): Promise<string[]> {
    const broken: string[] = [];
    if (to - from <= 20) broken.push(`only ${to - from} moments: there is little to cut`);
    for (let moment = from; moment < to; moment++) {
      for (const kept of [0, 1]) broken.push(...(await this.#cut(moment, kept)));
    }
    return broken;
  }

  async #cut(moment: number, kept: number): Promise<string[]> {
    const state = await this.plane.cut({ moment, seed: kept });
    const remains = { moment, disks: state.disks, memory: undefined, salvage: true };
    const { sentences } = await judge(this.plane, remains, this.promised, this.folder);
    state.dispose();
    return sentences.map((sentence) => `moment ${moment}, kept ${kept}: ${sentence}`);
  }
}
