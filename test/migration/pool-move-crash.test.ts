// Goal: whatever moment a service dies at while a family moves to another pool, or back, both pools opened again have it once, whole, and the
//   move can be done to its end.
// Method: before and after every batch of either pool the disks are copied as they are; a service without any state opens each pair of copies.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import type { Pool } from '../../src/pool/pool.ts';
import { clusterBytes, expectFamily, used, writeFamily } from './family.ts';
import { TwoPools } from './two-pools.ts';

const copy = promisify(execFile);

let both: TwoPools;
let isOpen = false;
let folder: string;
beforeEach(async () => {
  both = await TwoPools.open({ clusterBytes, diskBytes: 32 * MiB });
  isOpen = true;
  folder = await mkdtemp(join(tmpdir(), 'varve-copies-'));
});
afterEach(async () => {
  await close();
  await rm(folder, { recursive: true, force: true });
});

/** There is one data plane in a process: what the copies show comes after it. */
async function close(): Promise<void> {
  if (isOpen) await both.close();
  isOpen = false;
}

/** Copies of both disks, one pair for every moment between two batches, in order. */
class Moments {
  readonly pairs: (readonly string[])[] = [];

  async take(): Promise<void> {
    const pair = ['a', 'b'].map((pool) => join(folder, `${pool}-${this.pairs.length}`));
    this.pairs.push(pair);
    for (const [at, pool] of ['a', 'b'].entries()) {
      await copy('cp', ['--sparse=always', both.fixture.path(`disk-${pool}`), pair[at] as string]);
    }
  }

  /** From now on every batch of the pool is a moment. */
  watch(pool: Pool): void {
    const commit = pool.commit.bind(pool);
    pool.commit = async (ops) => {
      const sequence = await commit(ops);
      await this.take();
      return sequence;
    };
  }
}

/** The pool that has the family; it has all of it, and the other one nothing. */
function homeOf(opened: TwoPools): string {
  const homes = opened.fixture.volumes.list().map(({ name, pool }) => ({ name, pool }));
  expect(homes.map(({ name }) => name)).toEqual(['clone', 'v']);
  expect(new Set(homes.map(({ pool }) => pool)).size).toBe(1);
  return homes[0]?.pool as string;
}

test.each(['there', 'back'] as const)(
  'a death at any batch of a move %s',
  { timeout: 300_000 },
  async (way) => {
    const expected = await writeFamily(both, 'row');
    const before = used(both.a);
    if (way === 'back') await both.move('v', 'b', { keepSeconds: 3600 });
    const moments = new Moments();
    await moments.take();
    moments.watch(both.a);
    moments.watch(both.b);
    if (way === 'back') await both.move('v', 'a', { undo: true });
    else await both.move('v', 'b', { keepSeconds: 3600 });
    await close();
    const target = way === 'back' ? 'a' : 'b';
    const homes: string[] = [];
    for (const [at, pair] of moments.pairs.entries()) {
      const opened = await TwoPools.takeOver(pair);
      try {
        homes.push(homeOf(opened));
        await expectFamily(opened, expected);
        // The operation goes on.
        await opened.move('v', target, { undo: way === 'back' });
        expect(homeOf(opened), `moment ${at}`).toBe(target);
        await opened.moves.finish('v');
        await opened.settled();
        await expectFamily(opened, expected);
        expect([used(opened.a), used(opened.b)], `moment ${at}`).toEqual(
          target === 'a' ? [before, 0] : [0, before],
        );
      } finally {
        await opened.close();
      }
    }
    // It was in one, and from one moment on in the other.
    const source = target === 'a' ? 'b' : 'a';
    const switchedAt = homes.indexOf(target);
    expect(switchedAt).toBeGreaterThan(0);
    expect(homes).toEqual(homes.map((_, at) => (at < switchedAt ? source : target)));
  },
);

test('a pool that does not know alone whose the volumes are serves none of them until the other one is there', {
  timeout: 120_000,
}, async () => {
  const expected = await writeFamily(both, 'row');
  const moments = new Moments();
  moments.watch(both.a);
  moments.watch(both.b);
  await both.move('v', 'b');
  await close();
  const verdicts: string[] = [];
  for (const [a, b] of moments.pairs) {
    const opened = await TwoPools.takeOver([a as string]);
    try {
      const { fixture } = opened;
      const names = fixture.volumes.list().map(({ name }) => name);
      const error = await fixture.volumes.open('v').then(
        (volume) => volume.close(),
        (thrown: { code: string }) => thrown.code,
      );
      if (error === 'volume/busy') {
        expect(names).toEqual([]);
        const taken = { name: 'v', sizeBytes: MiB, pool: 'a' };
        await expect(fixture.volumes.create(taken)).rejects.toMatchObject({ code: 'volume/busy' });
        await fixture.pools.import([`file:${b}`], { takeover: true });
        await opened.moves.settle();
        verdicts.push(homeOf(opened));
        await expectFamily(opened, expected);
      }
    } finally {
      await opened.close();
    }
  }
  // Behind the first batch of the switch it is the source's still, behind the second the target's.
  expect(verdicts).toEqual(['a', 'b']);
});
