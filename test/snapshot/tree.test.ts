// Goal: whatever is done to volumes, snapshots, bookmarks and clones, each shows exactly the bytes it should, what a deletion was said to
//   free comes back, changed blocks cover every difference, no seal of a frozen cluster is
//   ever untrue, no scrub gives a false alarm, and the pool is sound at the end: for salvage, too. Redirect and copy on write alike.
// Method: random sequences of commands against byte arrays, on a real pool and data plane; restarts and kills of background work in between.
//   Replay one case: SEED=7 (fast-check prints seed and path).
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { drain } from '../../src/migration/drain.ts';
import { Salvage } from '../../src/pool/salvage/salvage.ts';
import type { OpenVolume } from '../../src/volume/volume-service.ts';
import { Fixture } from '../pool/fixture.ts';
import { unsealedClusters, untrueSeals } from '../scrub/seals.ts';
import { hiddenClusters } from './hidden-clusters.ts';

const clusterBytes = 16 * KiB;
const subBlock = clusterBytes / 16;
const sizeBytes = 24 * clusterBytes;
const numRuns = Number(process.env.RUNS ?? 60);
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED);

const range = fc.record({
  at: fc.integer({ min: 0, max: sizeBytes - 1 }),
  length: fc.oneof(
    fc.integer({ min: 1, max: 3 * subBlock }),
    fc.integer({ min: 1, max: 4 }).map((n) => n * clusterBytes),
  ),
  aligned: fc.boolean(),
});
const pick = fc.nat({ max: 1000 });

const command = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      pick,
      range,
      fill: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('trim' as const), pick, range }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('zero' as const), pick, range }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('snapshot' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('group' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('clone' as const), pick }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('revert' as const), pick, discard: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('delete' as const), pick, bookmark: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('drop' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flatten' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('rename' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('mode' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('attach' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('settle' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('diff' as const), pick, other: pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('fold' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('move' as const), pick }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('seal' as const) }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

interface Named {
  name: string;
  bytes: Uint8Array;
  /** Its data is gone. */
  bookmark: boolean;
}

interface Volume {
  name: string;
  bytes: Uint8Array;
  snapshots: Named[];
  /** It stays open, as for a guest: what changes below it, changes under a live page table. */
  attached: OpenVolume | undefined;
  /** Reverted or flattened: a bookmark that it no longer descends from may go. */
  hasLeft: boolean;
}

const diskCount = 2;

class Run {
  readonly #fixture: Fixture;
  volumes: Volume[] = [];
  #serial = 0;
  readonly #name: string;

  private constructor(fixture: Fixture, pool: string) {
    this.#fixture = fixture;
    this.#name = pool;
  }

  /** In a pool of its own, so that what one run leaves behind is not the next one's. */
  static async begin(fixture: Fixture, pool: string): Promise<Run> {
    const uris = Array.from(
      { length: diskCount },
      (_, n) => `file:${fixture.path(pool)}-${n}?size=${64 * MiB}`,
    );
    await fixture.pools.create(pool, uris, { clusterBytes });
    return new Run(fixture, pool);
  }

  async end(): Promise<void> {
    await this.#fixture.pools.delete(this.#name);
  }

  get #pool() {
    return this.#fixture.pools.get(this.#name);
  }

  async create(snapshotMode: 'row' | 'cow'): Promise<void> {
    const name = `${this.#name}-v${this.#serial++}`;
    await this.#fixture.volumes.create({ name, sizeBytes, snapshotMode, pool: this.#name });
    this.volumes.push({
      name,
      bytes: new Uint8Array(sizeBytes),
      snapshots: [],
      attached: undefined,
      hasLeft: false,
    });
  }

  async run(step: Command): Promise<void> {
    const volume = this.#volume('pick' in step ? step.pick : 0);
    if (volume === undefined) return;
    const { snapshots } = this.#fixture;
    switch (step.op) {
      case 'write':
      case 'trim':
      case 'zero':
        return this.#change(volume, step);
      case 'snapshot':
        return this.#snapshot([volume]);
      case 'group':
        return this.#snapshot(this.volumes);
      case 'clone':
        return this.#clone(volume, step.pick);
      case 'revert':
        return this.#revert(volume, step.pick, step.discard);
      case 'delete':
        return this.#delete(volume, step.pick, step.bookmark);
      case 'drop':
        return this.#drop(volume);
      case 'flatten':
        await snapshots.flatten(volume.name, () => {}, new AbortController().signal);
        volume.hasLeft = true;
        return;
      case 'rename': {
        const to = `${this.#name}-v${this.#serial++}`;
        await this.#fixture.volumes.rename(volume.name, to);
        volume.name = to;
        return;
      }
      case 'mode':
        await snapshots.setMode(volume.name, step.pick % 2 === 0 ? 'row' : 'cow');
        return;
      case 'attach':
        return volume.attached === undefined ? this.#attach(volume) : detach(volume);
      case 'settle':
        return snapshots.settled(this.#pool);
      case 'diff':
        return this.#diff(volume, step.pick, step.other);
      case 'restart':
        return this.#restart();
      case 'fold':
        return this.#pool.index.fold();
      case 'seal':
        return this.#fixture.scrubs.sealed(this.#pool);
      case 'move':
        return this.#moveAllFrom(step.pick % diskCount);
    }
  }

  /** Everything on one of the disks moves to the other. */
  async #moveAllFrom(disk: number): Promise<void> {
    const pool = this.#pool;
    const context = { pool, volumes: this.#fixture.volumes };
    await drain(context, disk, { before: async () => {}, report() {} });
    expect(pool.occupancy(disk)).toMatchObject({ owned: 0, occupied: 0 });
    await pool.placeDisk(disk, { class: null, cordoned: false });
  }

  async #attach(volume: Volume): Promise<void> {
    volume.attached = await this.#fixture.volumes.open(volume.name);
  }

  async #restart(): Promise<void> {
    const attached = this.volumes.filter((volume) => volume.attached !== undefined);
    for (const volume of attached) await detach(volume);
    await this.#fixture.restart();
    for (const volume of attached) await this.#attach(volume);
  }

  /** Every live and frozen image, byte by byte. */
  async expectAll(): Promise<void> {
    for (const { name, bytes, snapshots } of this.volumes) {
      const open = await this.#fixture.volumes.open(name);
      expect(await sameBytes(open.plane.read(0, sizeBytes), bytes), `volume ${name}`).toBe(true);
      await open.close();
      for (const snapshot of snapshots.filter(({ bookmark }) => !bookmark)) {
        const { id } = this.#fixture.snapshots.get(name, snapshot.name);
        const opened = await this.#fixture.snapshots.open(this.#name, id);
        const same = await sameBytes(opened.plane.read(0, sizeBytes), snapshot.bytes);
        expect(same, `snapshot ${name}@${snapshot.name}`).toBe(true);
        await opened.close();
      }
    }
  }

  /** Nothing that is sealed looks damaged, and whatever is frozen can be sealed. */
  async expectSealsTrue(): Promise<void> {
    expect(await untrueSeals(this.#pool)).toEqual([]);
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#fixture.scrubs.sealed(this.#pool);
    expect(await untrueSeals(this.#pool)).toEqual([]);
    expect(await unsealedClusters(this.#pool)).toEqual([]);
    const context = {
      report() {},
      whileRunning: async () => {},
      setPhase() {},
      from: undefined,
      remember() {},
      tellFindings: (findings: readonly unknown[]) => expect(findings).toEqual([]),
    };
    await this.#fixture.scrubs.scrub({ pool: this.#name }, context);
  }

  /** What salvage makes of the disks alone is the same, and nothing is missing. The pool is settled. */
  async expectSalvaged(): Promise<void> {
    await this.#pool.flush();
    const paths = Array.from(
      { length: diskCount },
      (_, n) => `${this.#fixture.path(this.#name)}-${n}`,
    );
    const salvage = await Salvage.open(paths);
    expect(salvage.overview.lostChanges).toEqual([]);
    const images = this.volumes.flatMap(({ name, bytes, snapshots }) => [
      { name, bytes },
      ...snapshots
        .filter(({ bookmark }) => !bookmark)
        .map((each) => ({ ...each, name: `${name}@${each.name}` })),
    ]);
    expect(salvage.overview.targets.map(({ name }) => name)).toEqual(
      images.map(({ name }) => name).sort(),
    );
    for (const { name, bytes } of images) {
      const image = Buffer.alloc(sizeBytes);
      const { missing } = await salvage.extract(salvage.target(name), async (offset, data) => {
        image.set(data, offset);
      });
      expect(missing, name).toEqual([]);
      expect(Buffer.compare(image, bytes), `salvaged ${name}`).toBe(0);
    }
    await salvage.close();
  }

  /** The counts of layers are what is used, each cluster shows something, and nothing is left when everything is deleted. */
  async expectSpaceExplained(): Promise<void> {
    // What a closed volume overwrote in place is looked at behind a restart.
    await this.#restart();
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    const layers = this.#pool.records<{ id: number }>('layer/');
    const owned = layers.reduce((sum, { id }) => sum + this.#pool.clustersOf(id), 0);
    expect(owned * clusterBytes).toBe(this.#dataBytes());
    expect(await hiddenClusters(this.#pool)).toBe(0);
    const report = await this.#fixture.pools.check(this.#name);
    expect(report.findings).toEqual([]);
  }

  async deleteAll(): Promise<void> {
    for (const volume of this.volumes) {
      const { name } = volume;
      await detach(volume);
      await this.#fixture.volumes.delete(name, { withSnapshots: true, keepClones: true });
    }
    this.volumes = [];
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    expect(this.#dataBytes()).toBe(0);
    expect(this.#pool.records('layer/')).toEqual([]);
  }

  /** What was released is counted as used until it is safe and punched out. */
  async #settleSpace(): Promise<void> {
    await this.#pool.flush();
    const layers = () =>
      this.#pool
        .records<{ id: number }>('layer/')
        .reduce((sum, { id }) => sum + this.#pool.clustersOf(id), 0);
    await expect
      .poll(() => this.#dataBytes() - layers() * clusterBytes, { interval: 2, timeout: 5000 })
      .toBe(0);
  }

  #dataBytes(): number {
    const { allocator } = this.#pool.index.state;
    return allocator.usedCount * clusterBytes;
  }

  #volume(pick: number): Volume | undefined {
    return this.volumes[pick % this.volumes.length];
  }

  async #change(
    volume: Volume,
    step: Extract<Command, { op: 'write' | 'trim' | 'zero' }>,
  ): Promise<void> {
    const unit = step.range.aligned ? subBlock : 1;
    const at = Math.floor(step.range.at / unit) * unit;
    const length = Math.min(Math.ceil(step.range.length / unit) * unit, sizeBytes - at);
    const open = await this.#fixture.volumes.open(volume.name);
    if (step.op === 'write') {
      const data = new Uint8Array(length).fill(step.fill);
      await open.plane.write(at, data);
      volume.bytes.set(data, at);
    } else if (step.op === 'zero') {
      await open.plane.zero(at, length);
      volume.bytes.fill(0, at, at + length);
    } else {
      await open.plane.trim(at, length);
      const first = Math.ceil(at / subBlock) * subBlock;
      const last = Math.floor((at + length) / subBlock) * subBlock;
      if (last > first) volume.bytes.fill(0, first, last);
    }
    await open.close();
  }

  async #snapshot(volumes: readonly Volume[]): Promise<void> {
    const snapshot = `s${this.#serial++}`;
    await this.#fixture.snapshots.create({
      names: volumes.map(({ name }) => ({ volume: name, snapshot })),
    });
    for (const volume of volumes) {
      volume.snapshots.push({ name: snapshot, bytes: volume.bytes.slice(), bookmark: false });
    }
  }

  #snapshotOf(volume: Volume, pick: number): Named | undefined {
    const alive = volume.snapshots.filter(({ bookmark }) => !bookmark);
    return alive[pick % Math.max(1, alive.length)];
  }

  async #clone(volume: Volume, pick: number): Promise<void> {
    const snapshot = this.#snapshotOf(volume, pick);
    if (snapshot === undefined || this.volumes.length > 4) return;
    const name = `${this.#name}-v${this.#serial++}`;
    await this.#fixture.snapshots.clone({ volume: volume.name, snapshot: snapshot.name }, name);
    this.volumes.push({
      name,
      bytes: snapshot.bytes.slice(),
      snapshots: [],
      attached: undefined,
      hasLeft: false,
    });
  }

  async #revert(volume: Volume, pick: number, discard: boolean): Promise<void> {
    const snapshot = this.#snapshotOf(volume, pick);
    if (snapshot === undefined) return;
    const { safety } = await this.#fixture.snapshots.revert(volume.name, snapshot.name, {
      discard,
    });
    if (safety !== null) {
      volume.snapshots.push({ name: safety, bytes: volume.bytes.slice(), bookmark: false });
    }
    volume.bytes = snapshot.bytes.slice();
    volume.hasLeft = true;
  }

  /** A bookmark of a branch that nobody reads any more goes with it. */
  async #forgetLostBookmarks(volume: Volume): Promise<void> {
    if (!volume.hasLeft) return;
    await this.#fixture.snapshots.settled(this.#pool);
    const there = new Set(
      this.#fixture.snapshots
        .list()
        .flatMap((each) => (each.volume === volume.name ? each.name : [])),
    );
    volume.snapshots = volume.snapshots.filter(
      ({ bookmark, name }) => !bookmark || there.has(name),
    );
  }

  /** What it is said to free comes back, exactly. */
  async #delete(volume: Volume, pick: number, bookmark: boolean): Promise<void> {
    await this.#forgetLostBookmarks(volume);
    const snapshot = volume.snapshots[pick % Math.max(1, volume.snapshots.length)];
    if (snapshot === undefined) return;
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    const before = this.#dataBytes();
    const names = [{ volume: volume.name, snapshot: snapshot.name }];
    const { freedBytes } = await this.#fixture.snapshots.delete(names, {
      bookmark,
      keepClones: true,
    });
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    expect(before - this.#dataBytes(), `freed by ${volume.name}@${snapshot.name}`).toBe(freedBytes);
    if (bookmark && !snapshot.bookmark) snapshot.bookmark = true;
    else volume.snapshots = volume.snapshots.filter((each) => each !== snapshot);
  }

  async #drop(volume: Volume): Promise<void> {
    if (this.volumes.length < 2) return;
    await detach(volume);
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    const before = this.#dataBytes();
    const { freedBytes } = await this.#fixture.volumes.delete(volume.name, {
      withSnapshots: true,
      keepClones: true,
    });
    await this.#fixture.snapshots.settled(this.#pool);
    await this.#settleSpace();
    expect(before - this.#dataBytes(), `freed by volume ${volume.name}`).toBe(freedBytes);
    this.volumes = this.volumes.filter((each) => each !== volume);
  }

  /** Whatever differs is among the changed extents. */
  async #diff(volume: Volume, pick: number, other: number): Promise<void> {
    await this.#forgetLostBookmarks(volume);
    const from = volume.snapshots[pick % Math.max(1, volume.snapshots.length)];
    if (from === undefined) return;
    const to = other % 2 === 0 ? undefined : this.#snapshotOf(volume, other);
    const now = to?.bytes ?? volume.bytes;
    const diff = await this.#fixture.snapshots.diff(volume.name, from.name, to?.name);
    const changed = new Uint8Array(sizeBytes);
    for (const { offset, length } of diff.extents) {
      expect([offset % subBlock, length % subBlock]).toEqual([0, 0]);
      changed.fill(1, offset, offset + length);
    }
    const missed = now.findIndex((byte, at) => byte !== from.bytes[at] && changed[at] === 0);
    expect(missed, `a change of ${volume.name} since ${from.name} is missed`).toBe(-1);
  }
}

async function detach(volume: Volume): Promise<void> {
  await volume.attached?.close();
  volume.attached = undefined;
}

async function sameBytes(read: Promise<Uint8Array>, expected: Uint8Array): Promise<boolean> {
  return Buffer.compare(await read, expected) === 0;
}

let pools = 0;

describe('a tree of volumes, snapshots and clones', () => {
  let fixture: Fixture;

  beforeAll(async () => {
    fixture = await Fixture.open({ flushWindowMs: 50 });
  });

  afterAll(async () => {
    await fixture.close();
  });

  test('a discard of what a bookmark lost to its volume is told as a change, also after a restart', async () => {
    const pool = `p${pools++}`;
    await Run.begin(fixture, pool);
    const name = `${pool}-v`;
    await fixture.volumes.create({ name, sizeBytes, pool });
    const data = new Uint8Array(clusterBytes).fill(1);
    const change = async (what: 'write' | 'zero') => {
      const { plane, close } = await fixture.volumes.open(name);
      if (what === 'write') await plane.write(0, data);
      else await plane.zero(subBlock, subBlock);
      await plane.flush();
      await close();
    };
    await change('write');
    await fixture.snapshots.create({ names: [{ volume: name, snapshot: 's' }] });
    await change('write');
    await fixture.snapshots.delete([{ volume: name, snapshot: 's' }], { bookmark: true });
    await fixture.snapshots.settled(fixture.pools.get(pool));
    await fixture.restart();
    await change('zero');
    const { extents } = await fixture.snapshots.diff(name, 's');
    expect(extents).toEqual([{ offset: 0, length: clusterBytes }]);
    await fixture.volumes.delete(name, { withSnapshots: true });
  });

  test.each(['row', 'cow'] as const)(
    '%s: shows what the model says',
    async (mode) => {
      await fc.assert(
        fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (steps) => {
          const run = await Run.begin(fixture, `p${pools++}`);
          await run.create(mode);
          await run.create(mode);
          for (const step of steps) await run.run(step);
          await run.expectAll();
          await run.expectSealsTrue();
          await run.expectSpaceExplained();
          await run.expectAll();
          await run.expectSealsTrue();
          await run.expectSalvaged();
          await run.deleteAll();
          await run.end();
        }),
        {
          numRuns,
          endOnFailure: process.env.SHRINK === undefined,
          ...(seed === undefined ? {} : { seed }),
        },
      );
    },
    600_000,
  );
});
