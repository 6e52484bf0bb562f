// Goal: a state that is judged through a recovery which it shares with others is judged as if it were opened by itself; and a recovery that is
//   shared by states which are not alike in what it decided by is noticed.
// Method: a volume is written on recorded disks; its moments are cut in several ways, and each state is judged both ways. Then what the control
//   plane reads of the ring is not noted, or states count as alike whatever they hold.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { labelAreaBytes } from '../../src/pool/format/geometry.ts';
import { ControlReads } from '../../tools/explore/control-reads.ts';
import { cutSeedOf, headBytes, RecordingPlane } from '../../tools/explore/recording-plane.ts';
import { type JudgedState, StateJudge } from '../../tools/explore/state-judge.ts';
import { RecordedPool, type Span } from '../crash/recorded-pool.ts';

let recorded: RecordedPool<RecordingPlane>;
let span: Span;
beforeEach(async () => {
  const planeOf = (sizes: ReadonlyMap<string, number>) => new RecordingPlane(sizes);
  recorded = await RecordedPool.create({ diskCount: 2, memberCount: 2, planeOf });
  // What was never written before says nothing about who reads it.
  await recorded.write();
  span = await recorded.whileWriting(3, async () => {});
  await recorded.pools.close();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await recorded.dispose();
});

/** All kept, and nothing; and the rest of the disk lost in two ways for one way of labels and rings. */
const seeds = [0, 1, cutSeedOf(0, 8), cutSeedOf(0, 9)];

async function judgeAll(alone: boolean): Promise<JudgedState[]> {
  const { plane, promised, folder } = recorded;
  const judge = new StateJudge(plane, promised, { folder, sharing: true });
  const judged: JudgedState[] = [];
  const [from, to] = span;
  for (let moment = from; moment < to; moment += 5) {
    for (const seed of seeds) {
      const state = await plane.cut({ moment, seed });
      const salvage = moment % 2 === 0;
      judged.push(await judge.judge({ state, moment, memory: undefined, salvage, alone }));
      state.dispose();
    }
  }
  return judged;
}

function sentencesOf(judged: readonly JudgedState[]): string[] {
  return judged.flatMap(({ sentences }) => sentences);
}

/** The sentences that opening states by themselves has no part in. */
function toldByShared(judged: readonly JudgedState[]): string[] {
  return sentencesOf(judged).filter((sentence) => /through a shared recovery/.test(sentence));
}

test('states show through a recovery that they share what they show when they are opened', async () => {
  const judged = await judgeAll(true);
  expect(sentencesOf(judged)).toEqual([]);
  expect(judged.every(({ alone }) => alone)).toBe(true);
  const made = judged.filter(({ isFirst }) => isFirst).length;
  expect(made).toBeGreaterThan(3);
  expect(made).toBeLessThan(judged.length / 2);
  expect(judged.some(({ salvaged }) => salvaged)).toBe(true);
});

test('a read of the ring that is not noted is noticed', async () => {
  const noteRead = ControlReads.prototype.noteRead;
  vi.spyOn(ControlReads.prototype, 'noteRead').mockImplementation(function (
    this: ControlReads,
    offset,
    length,
  ) {
    const isRing = offset >= labelAreaBytes && offset < headBytes;
    if (!isRing) noteRead.call(this, offset, length);
  });
  expect(toldByShared(await judgeAll(false))).not.toEqual([]);
});

test('states that are not alike and share a recovery are noticed', async () => {
  vi.spyOn(recorded.plane, 'digestOf').mockReturnValue(0n);
  expect(toldByShared(await judgeAll(false))).not.toEqual([]);
});
