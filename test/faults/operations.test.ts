// Goal: whatever a disk does, an operation takes place or is refused with its reason, never half; nothing of what was acknowledged is lost;
//   repeated on sound disks, it is done.
// Method: each operation of the control plane while one disk, or all of them, has one kind of fault from its n-th call on. Then the service
//   stops, the disks are sound again, the offline check looks, a new start shows every byte of every volume and snapshot, and the operation is
//   begun again. A few cases by SEED; FAULTS=n for so many, FAULTS=all for the whole table (`npm run faults`), FAULTS=text for those with that
//   text in their name.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { until } from '../pool/fixture.ts';
import { chosenCases, type FaultCase, seed } from './cases.ts';
import { type Contents, FaultWorld } from './world.ts';

/** How long an opening meets a disk that hangs. */
const openingMs = 2_000;
/** By then it is told: 10 s of silence, and what it takes to ask for something, on a busy machine. */
const noticeMsMax = 40_000;

/** What an operator may be told of a disk that goes wrong. */
const clearCodes = ['disk/io', 'pool/failed', 'pool/full', 'disk/unusable', 'pool/damaged'];

describe(`operations on disks with faults, seed ${seed}`, () => {
  let world: FaultWorld;
  let before: Contents;
  beforeAll(async () => {
    world = await FaultWorld.open();
  });
  beforeEach(() => world.putBack());
  afterAll(() => world.close());

  const cases = chosenCases().map((each) => [each.name, each] as const);

  test.each(cases)('%s', async (_name, each) => {
    const { operation, fault } = each;
    await operation.prepare?.(world);
    before = await world.contents();
    if (fault.waitedFor) {
      const { pools } = world.fixture;
      for (const { name } of pools.list()) await pools.set(name, { patienceSeconds: 86_400 });
    }
    await operation.closes?.(world);
    const after = operation.changes?.(before) ?? before;
    const isDone = await attempt(each);
    expect(await settle()).toEqual([]);
    const found = await world.contents();
    const isTrue = !(fault.flips && operation.copies);
    if (isTrue) expectOneOf(found, isDone ? [after] : [before, after]);
    if (isDone && operation.isDone) expect(operation.isDone(world)).toBe(true);
    await repeat(each);
    expect(await settle()).toEqual([]);
    if (isTrue) expectOneOf(await world.contents(), [after]);
    if (operation.isDone) expect(operation.isDone(world)).toBe(true);
    for (const { name } of world.fixture.pools.list()) {
      expect((await world.fixture.pools.check(name)).findings).toEqual([]);
    }
    await world.write('v', 0, 4096, 8);
  });

  /** @returns whether it took place, as it says itself */
  async function attempt({ operation, fault, after, disks }: FaultCase): Promise<boolean> {
    world.fixture.events.length = 0;
    world.plane.waitsAtOpenings = fault.waitedFor === true;
    world.setFaults(disks, fault.rules(after));
    let ended = false;
    const work = operation.run(world).finally(() => {
      ended = true;
    });
    if (fault.waitedFor) {
      work.catch(() => {});
      const giveUpAt = performance.now() + (operation.opens ? openingMs : noticeMsMax);
      await until(() => ended || isNoticed() || performance.now() > giveUpAt);
      const isTold = ended || isNoticed() || operation.opens;
      world.plane.healAll();
      await Promise.allSettled([work]);
      expect(isTold, 'somebody is told that a disk does not answer').toBe(true);
    }
    try {
      await work;
      return true;
    } catch (error) {
      expect(fault.isHarmless ? error : undefined).toBe(undefined);
      expectClear(error);
      return false;
    }
  }

  const isNoticed = () =>
    world.fixture.events.some(({ kind }) => kind === 'disk/suspended' || kind === 'pool/unopened');

  function expectClear(error: unknown): void {
    expect(error).toBeInstanceOf(StorageError);
    const { code, message } = error as StorageError;
    expect(clearCodes).toContain(code);
    expect(message).not.toMatch(/undefined|\[object/);
  }

  /** The service stops, the disks get well, it starts again. @returns what the offline check finds */
  async function settle(): Promise<readonly unknown[]> {
    await world.stop();
    world.plane.healAll();
    const damage = await world.damage();
    await world.start();
    await importGold();
    for (const { name, state } of world.fixture.pools.list()) {
      expect({ name, state }).toEqual({ name, state: 'online' });
    }
    return damage;
  }

  async function importGold(): Promise<void> {
    const { pools } = world.fixture;
    if (pools.list().some(({ name }) => name === 'gold')) return;
    await pools.import([world.path('a'), world.path('b')]);
  }

  async function repeat({ operation }: FaultCase): Promise<void> {
    try {
      await operation.run(world);
    } catch (error) {
      expect(error).toBeInstanceOf(StorageError);
      expect(operation.whenDone ?? []).toContain((error as StorageError).code);
    }
  }
});

function expectOneOf(found: Contents, allowed: readonly Contents[]): void {
  const differences = allowed.map((contents) => differencesOf(found, contents));
  if (differences.some((list) => list.length === 0)) return;
  expect.fail(`contents are neither as before nor as asked for: ${JSON.stringify(differences)}`);
}

function differencesOf(found: Contents, wanted: Contents): string[] {
  const names = new Set([...found.keys(), ...wanted.keys()]);
  return [...names].flatMap((name) => {
    const [is, should] = [found.get(name), wanted.get(name)];
    if (is === undefined) return [`${name} is gone`];
    if (should === undefined) return [`${name} is there`];
    return Buffer.compare(is, should) === 0 ? [] : [`${name} differs`];
  });
}
