// Goal: a volume leaves in the turns of its pool's governor, no faster than asked, and nothing is read where it holds nothing; what differs is found
//   there too. Once it is done it is not done again, whatever has become of the volume.
// Method: a pool of one disk, files as targets; a target that is hurt between the passes; the remembered end of an operation that was cut off.
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MiB, TiB } from '../../src/base/units.ts';
import { Leave, type LeaveContext, type LeavePlan } from '../../src/migration/leave.ts';
import { Fixture, ManualClock } from '../pool/fixture.ts';

const sizeBytes = TiB;
const islands = [0, 5 * MiB, sizeBytes - MiB];

let fixture: Fixture;
let leave: Leave;
let remembered: object[];
let file: string;

beforeEach(async () => {
  // Nothing else that takes turns of the governor comes to its time.
  fixture = await Fixture.open({ clock: new ManualClock(), flushWindowMs: 50 });
  await fixture.pools.create('main', [`file:${fixture.path('disk')}?size=64MiB`]);
  await fixture.volumes.create({ name: 'v', sizeBytes });
  const { plane, close } = await fixture.volumes.open('v');
  for (const at of islands) await plane.write(at, Buffer.alloc(MiB, 7));
  await close();
  const { pools, volumes, snapshots, dataPlane } = fixture;
  leave = new Leave({ pools, volumes, snapshots, dataPlane, emit: () => {} });
  remembered = [];
  file = fixture.path('left');
});

afterEach(() => fixture.close());

function context(changes: Partial<LeaveContext> = {}): LeaveContext {
  const remember = (parameters: object) => remembered.push(parameters);
  const idle = { report() {}, setPhase() {}, whileRunning: async () => {} };
  return { ...idle, remember, ...changes };
}

async function planned(): Promise<LeavePlan> {
  return (await leave.plan({ volume: 'v', disk: file })).plan;
}

function snapshots(): number {
  return fixture.snapshots.list('v').length;
}

test('nothing is read where nothing is, and all else in turns', async () => {
  const reports: number[] = [];
  const report = (done: number) => reports.push(done);
  await leave.leave(await planned(), context({ report }));
  const { governor } = fixture.pools.get('main');
  expect(governor.movedBytes).toBe(2 * islands.length * MiB);
  expect(statSync(file)).toMatchObject({ size: sizeBytes });
  expect(statSync(file).blocks * 512).toBeLessThan(4 * MiB);
  const written = await open(file);
  for (const position of islands) {
    const { buffer } = await written.read({ buffer: Buffer.alloc(MiB), position });
    expect(buffer.equals(Buffer.alloc(MiB, 7)), `at ${position}`).toBe(true);
  }
  await written.close();
  expect(reports.at(-1)).toBe(2 * sizeBytes);
  expect(snapshots()).toBe(0);
});

test('it goes no faster than was asked for', async () => {
  const beganMs = performance.now();
  await leave.leave(await planned(), context({ rateBytes: 16 * MiB }));
  // The first piece is not waited for.
  expect(performance.now() - beganMs).toBeGreaterThan(1000 * (5 / 16) - 70);
});

test('a target that differs where the volume holds nothing is found out', async () => {
  const hurt = async (phase: string) => {
    if (phase !== 'comparing') return;
    hurting = open(`${file}.varve-leave`, 'r+').then(async (part) => {
      await part.write(Buffer.alloc(100, 1), 0, 100, (3 * TiB) / 4);
      await part.close();
    });
  };
  let hurting: Promise<void> | undefined;
  const whileRunning = async () => hurting;
  const leaving = leave.leave(
    await planned(),
    context({ setPhase: (to) => void hurt(to), whileRunning }),
  );
  await expect(leaving).rejects.toMatchObject({ code: 'disk/io' });
  expect([existsSync(file), existsSync(`${file}.varve-leave`)]).toEqual([false, false]);
});

test('once it is done, it is not done again, and what it read goes', async () => {
  const plan = await planned();
  await leave.leave(plan, context());
  expect(remembered).toEqual([{ finished: true }]);
  // The operation has not ended yet; meanwhile the volume goes on, and so does whoever has the file.
  await fixture.snapshots.create({ names: [{ volume: 'v', snapshot: plan.snapshot }] });
  writeFileSync(file, 'in use');
  await leave.leave({ ...plan, finished: true }, context());
  expect(statSync(file)).toMatchObject({ size: 'in use'.length });
  expect(snapshots()).toBe(0);
});
