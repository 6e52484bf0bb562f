// Goal: whatever is done to a family between and during its moves from pool to pool, undone or not, each volume and snapshot shows exactly its bytes,
//   everything is in one pool, and nothing is left in either when all is deleted. Redirect and copy on write alike.
// Method: random sequences of commands against byte arrays, on two real pools; writes fall into the moves. Replay one case: SEED=7 (fast-check
//   prints seed and path); RUNS=n does more.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { used } from './family.ts';
import { TwoPools } from './two-pools.ts';

const clusterBytes = 16 * KiB;
const subBlock = clusterBytes / 16;
const sizeBytes = 16 * clusterBytes;
const numRuns = Number(process.env.RUNS ?? 12);
const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED);

const pick = fc.nat({ max: 1000 });
const write = fc.record({
  op: fc.constantFrom('write' as const, 'trim' as const),
  pick,
  at: fc.integer({ min: 0, max: sizeBytes / subBlock - 1 }),
  blocks: fc.integer({ min: 1, max: 40 }),
  fill: fc.integer({ min: 1, max: 255 }),
});
const simple = <T extends string>(op: T) => fc.record({ op: fc.constant(op), pick });
const move = fc.record({
  op: fc.constant('move' as const),
  pick,
  keep: fc.boolean(),
  meanwhile: fc.array(write, { maxLength: 3 }),
});
const command = fc.oneof(
  { weight: 10, arbitrary: write },
  { weight: 4, arbitrary: simple('snapshot') },
  { weight: 2, arbitrary: simple('clone') },
  { weight: 3, arbitrary: simple('delete') },
  { weight: 1, arbitrary: simple('revert') },
  { weight: 1, arbitrary: simple('flatten') },
  { weight: 5, arbitrary: move },
  { weight: 2, arbitrary: simple('undo') },
  { weight: 1, arbitrary: simple('finish') },
  { weight: 1, arbitrary: simple('restart') },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;
type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

interface Volume {
  readonly name: string;
  bytes: Buffer;
  snapshots: { readonly name: string; readonly bytes: Buffer }[];
}

class Run {
  readonly #both: TwoPools;
  readonly #volumes: Volume[] = [];
  #serial = 0;

  constructor(both: TwoPools) {
    this.#both = both;
  }

  async create(snapshotMode: 'row' | 'cow'): Promise<void> {
    const name = this.#name('v');
    await this.#both.fixture.volumes.create({ name, sizeBytes, snapshotMode, pool: 'a' });
    this.#volumes.push({ name, bytes: Buffer.alloc(sizeBytes), snapshots: [] });
  }

  async run(step: Command): Promise<void> {
    const { snapshots } = this.#both.fixture;
    const volume = this.#volume(step.pick);
    const snapshot = volume.snapshots[step.pick % Math.max(1, volume.snapshots.length)];
    const { name } = volume;
    switch (step.op) {
      case 'write':
      case 'trim':
        return this.#change(step);
      case 'snapshot': {
        const taken = this.#name('s');
        await snapshots.create({ names: [{ volume: name, snapshot: taken }] });
        volume.snapshots.push({ name: taken, bytes: Buffer.from(volume.bytes) });
        return;
      }
      case 'clone':
        if (snapshot !== undefined && this.#volumes.length < 4) await this.#clone(name, snapshot);
        return;
      case 'delete':
        if (snapshot === undefined) return;
        volume.snapshots = volume.snapshots.filter((each) => each !== snapshot);
        await snapshots.delete([{ volume: name, snapshot: snapshot.name }], {
          keepClones: true,
          bookmark: step.pick % 3 === 0,
        });
        return;
      case 'revert':
        if (snapshot === undefined) return;
        await snapshots.revert(name, snapshot.name, { discard: true });
        volume.bytes = Buffer.from(snapshot.bytes);
        return;
      case 'flatten':
        await snapshots.flatten(name, () => {}, new AbortController().signal);
        return;
      case 'move':
        return this.#move(name, step);
      case 'undo':
        return this.#undo(name);
      case 'finish':
        await this.#both.moves.finish(name);
        return;
      case 'restart':
        return this.#both.restart();
    }
  }

  async expectAll(): Promise<void> {
    for (const { name, bytes, snapshots } of this.#volumes) {
      expect((await this.#both.content(name)).equals(bytes), name).toBe(true);
      for (const { name: snapshot, bytes: frozen } of snapshots) {
        const shown = await this.#both.snapshotContent(name, snapshot);
        expect(shown.equals(frozen), `${name}@${snapshot}`).toBe(true);
      }
    }
    expect(await this.#both.findings()).toEqual([]);
  }

  async deleteAll(): Promise<void> {
    const { volumes } = this.#both.fixture;
    for (const { name } of this.#volumes) {
      await this.#both.moves.finish(name);
      await volumes.delete(name, { withSnapshots: true, keepClones: true });
    }
    await this.#both.settled();
    for (const pool of [this.#both.a, this.#both.b]) {
      expect(used(pool)).toBe(0);
      expect(pool.records('layer/')).toEqual([]);
      expect([
        ...pool.records('move/'),
        ...pool.records('kept/'),
        ...pool.records('arrival/'),
      ]).toEqual([]);
    }
  }

  async #move(name: string, { keep, meanwhile }: Extract<Command, { op: 'move' }>): Promise<void> {
    const { pool } = this.#both.fixture.volumes.get(name);
    // What another pool keeps of it would not fit any more.
    await this.#both.moves.finish(name);
    const left = [...meanwhile];
    await this.#both.move(name, pool === 'a' ? 'b' : 'a', {
      keepSeconds: keep ? 3600 : 0,
      whileRunning: async () => {
        const next = left.shift();
        if (next !== undefined) await this.#change(next);
      },
    });
  }

  async #undo(name: string): Promise<void> {
    const plan = await this.#both.moves.planUndo(name).catch(() => undefined);
    if (plan !== undefined) await this.#both.move(name, plan.to, { undo: true });
  }

  async #change({ op, pick: which, at, blocks, fill }: Write): Promise<void> {
    const volume = this.#volume(which);
    const offset = at * subBlock;
    const length = Math.min(blocks * subBlock, sizeBytes - offset);
    const opened = await this.#both.fixture.volumes.open(volume.name);
    if (op === 'write') await opened.plane.write(offset, Buffer.alloc(length, fill));
    else await opened.plane.trim(offset, length);
    volume.bytes.fill(op === 'write' ? fill : 0, offset, offset + length);
    await opened.close();
  }

  async #clone(volume: string, snapshot: { name: string; bytes: Buffer }): Promise<void> {
    const name = this.#name('v');
    await this.#both.fixture.snapshots.clone({ volume, snapshot: snapshot.name }, name);
    this.#volumes.push({ name, bytes: Buffer.from(snapshot.bytes), snapshots: [] });
  }

  #volume(which: number): Volume {
    return this.#volumes[which % this.#volumes.length] as Volume;
  }

  #name(kind: string): string {
    this.#serial += 1;
    return `${kind}${this.#serial}`;
  }
}

test.each(['row', 'cow'] as const)(
  'moves among everything else, in mode %s',
  { timeout: 600_000 },
  async (mode) => {
    const property = fc.asyncProperty(
      fc.array(command, { minLength: 8, maxLength: 30 }),
      async (steps) => {
        const both = await TwoPools.open({ clusterBytes, diskBytes: 32 * MiB });
        try {
          const run = new Run(both);
          await run.create(mode);
          for (const step of steps) await run.run(step);
          await run.expectAll();
          await run.deleteAll();
        } finally {
          await both.close();
        }
      },
    );
    await fc.assert(property, { numRuns, ...(seed === undefined ? {} : { seed }) });
  },
);
