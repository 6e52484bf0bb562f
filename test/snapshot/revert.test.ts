// Goal: a revert makes the volume what it was and keeps what it had become; done twice, it is done once.
// Method: one volume on the real data plane, read back after each step.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.ts';
import { Fixture } from '../pool/fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.open();
  await fixture.pools.create('p', [`file:${fixture.path('disk')}?size=${64 * MiB}`], {
    clusterBytes: 16 * KiB,
  });
  await fixture.volumes.create({ name: 'v', sizeBytes: MiB });
  await write(1);
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: 's' }] });
});
afterEach(() => fixture.close());

async function write(value: number): Promise<void> {
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, new Uint8Array(KiB).fill(value));
  await close();
}

async function shown(): Promise<number | undefined> {
  const { plane, close } = await fixture.volumes.open('v');
  const [first] = await plane.read(0, KiB);
  await close();
  return first;
}

function names(): string[] {
  return fixture.snapshots.list('v').map(({ name }) => name);
}

test('what the volume had become can be reverted to', async () => {
  await write(2);
  const { changed, safety } = await fixture.snapshots.revert('v', 's');
  expect([changed, await shown()]).toEqual([true, 1]);
  expect(names()).toEqual(['s', safety]);
  await fixture.snapshots.revert('v', safety as string, { discard: true });
  expect(await shown()).toBe(2);
});

test('who has it open all the time sees what it was', async () => {
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(0, new Uint8Array(KiB).fill(2));
  await fixture.snapshots.revert('v', 's');
  expect((await plane.read(0, KiB))[0]).toBe(1);
  await close();
});

test('what changed from one branch to another is what either changed', async () => {
  await write(2);
  const { safety } = await fixture.snapshots.revert('v', 's');
  const { plane, close } = await fixture.volumes.open('v');
  await plane.write(64 * KiB, new Uint8Array(KiB).fill(3));
  await close();
  const { extents } = await fixture.snapshots.diff('v', safety as string);
  expect(extents.map(({ offset }) => offset)).toEqual([0, 64 * KiB]);
});

test.each([{}, { discard: true }, { dryRun: true }])(
  'again, with %o, it changes nothing',
  async (options) => {
    await write(2);
    await fixture.snapshots.revert('v', 's');
    const before = names();
    expect(await fixture.snapshots.revert('v', 's', options)).toEqual({
      volume: 'v',
      safety: null,
      pauseSeconds: 0,
      changed: false,
    });
    expect(names()).toEqual(before);
  },
);

test('a write of the same bytes is one that is kept', async () => {
  await fixture.snapshots.revert('v', 's');
  await write(1);
  expect(await fixture.snapshots.revert('v', 's')).toMatchObject({ changed: true });
});
