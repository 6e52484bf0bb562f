// Goal: whatever is done to a volume between its backups, and wherever a stream is cut, each snapshot arrives as it was, and both pools are sound.
// Method: random writes, trims, snapshots, deletions, reverts, restarts and cuts against byte arrays; what is backed up is received in another pool.
//   Replay one case: FUZZ_SEED=n. More: FUZZ_RUNS=n.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KiB } from '../../src/base/units.ts';
import { runs } from '../fuzz/runs.ts';
import { used } from '../migration/family.ts';
import { clusterBytes, TwoEnds } from './two-ends.ts';

const blockBytes = clusterBytes / 16;
const blocks = 64;
/** No multiple of a cluster: the last one is there in part. */
const sizeBytes = blocks * clusterBytes - 2 * KiB;

const change = fc.record({
  op: fc.constantFrom('write' as const, 'trim' as const),
  at: fc.nat({ max: sizeBytes / blockBytes - 1 }),
  count: fc.integer({ min: 1, max: 200 }),
  fill: fc.nat({ max: 255 }),
});
const backup = fc.record({
  op: fc.constant('backup' as const),
  /** Where it is cut first, as a share; null: nowhere. */
  cut: fc.option(fc.double({ min: 0, max: 0.999, noNaN: true })),
  /** What becomes of the base at home. */
  base: fc.constantFrom('kept', 'bookmark'),
});
const command = fc.oneof(
  { weight: 8, arbitrary: change },
  { weight: 5, arbitrary: backup },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('revert' as const, 'restart') }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

class Run {
  readonly #ends: TwoEnds;
  #model = Buffer.alloc(sizeBytes);
  readonly #sent: { readonly name: string; readonly bytes: Buffer; isBookmark: boolean }[] = [];

  constructor(ends: TwoEnds) {
    this.#ends = ends;
  }

  async run(step: Command): Promise<void> {
    if (step.op === 'restart') await this.#ends.restart();
    else if (step.op === 'revert') await this.#revert();
    else if (step.op === 'backup') await this.#backup(step as Extract<Command, { cut: unknown }>);
    else await this.#change(step as Extract<Command, { fill: number }>);
  }

  /** Every snapshot that was sent, and the state that the last one left. */
  async check(): Promise<void> {
    const { both } = this.#ends;
    for (const { name, bytes } of this.#sent) {
      expect((await both.snapshotContent('w', name)).equals(bytes), name).toBe(true);
    }
    const last = this.#sent.at(-1);
    if (last !== undefined) expect((await both.content('w')).equals(last.bytes)).toBe(true);
    expect(await both.findings()).toEqual([]);
  }

  /** Nothing stays when all of it is deleted. */
  async deleteAll(): Promise<void> {
    const { fixture, both } = this.#ends;
    for (const { name } of fixture.volumes.list()) {
      await fixture.volumes.delete(name, { withSnapshots: true });
    }
    await both.settled();
    expect([used(both.a), used(both.b)]).toEqual([0, 0]);
  }

  async #change({ op, at, count, fill }: Extract<Command, { fill: number }>): Promise<void> {
    const offset = at * blockBytes;
    const length = Math.min(count * blockBytes, sizeBytes - offset);
    const { plane, close } = await this.#ends.fixture.volumes.open('v');
    if (op === 'write') await plane.write(offset, Buffer.alloc(length, fill));
    else await plane.zero(offset, length);
    await close();
    this.#model.fill(op === 'write' ? fill : 0, offset, offset + length);
  }

  async #revert(): Promise<void> {
    const last = this.#sent.findLast(({ isBookmark }) => !isBookmark);
    if (last === undefined || last !== this.#sent.at(-1)) return;
    await this.#ends.fixture.snapshots.revert('v', last.name, { discard: true });
    this.#model = Buffer.from(last.bytes);
  }

  async #backup({ cut, base }: Extract<Command, { cut: unknown }>): Promise<void> {
    const last = this.#sent.at(-1);
    const name = `s${this.#sent.length}`;
    await this.#ends.snapshot('v', name);
    const stream = await this.#ends.send('v', name, last?.name);
    if (cut !== null) {
      const short = stream.subarray(0, Math.floor(cut * stream.length));
      const receiving = this.#ends.receive(short, 'w');
      await expect(receiving).rejects.toMatchObject({ code: 'backup/cut' });
      await this.#expectAsBefore();
    }
    expect(await this.#ends.receive(stream, 'w')).toBe(true);
    this.#sent.push({ name, bytes: Buffer.from(this.#model), isBookmark: false });
    if (last !== undefined && base === 'bookmark') await this.#forget(last);
  }

  async #expectAsBefore(): Promise<void> {
    const last = this.#sent.at(-1);
    if (last === undefined) expect(this.#ends.volumesThere()).not.toContain('w');
    else expect((await this.#ends.both.content('w')).equals(last.bytes)).toBe(true);
  }

  async #forget(sent: { readonly name: string; isBookmark: boolean }): Promise<void> {
    const names = [{ volume: 'v', snapshot: sent.name }];
    await this.#ends.fixture.snapshots.delete(names, { bookmark: true });
    sent.isBookmark = true;
  }
}

test('each snapshot arrives as it was', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('row' as const, 'cow' as const),
      fc.array(command, { minLength: 12, maxLength: 25, size: 'max' }),
      async (snapshotMode, steps) => {
        const ends = await TwoEnds.open();
        try {
          await ends.fixture.volumes.create({ name: 'v', sizeBytes, snapshotMode, pool: 'a' });
          const run = new Run(ends);
          for (const step of steps) await run.run(step);
          await run.check();
          await run.deleteAll();
        } finally {
          await ends.close();
        }
      },
    ),
    runs(6),
  );
});
