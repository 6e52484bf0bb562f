// Goal: writes that need space wait for the pool's patience, counted from when space came last, then fail; alarms sound once per shortage.
// Method: a clock that the test moves, and a data plane of two numbers: how many are held, how often they were refused.
import { beforeEach, expect, test } from 'vitest';
import { SpacePatience } from '../../src/pool/space-patience.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { ManualClock } from './fixture.ts';

const second = 1000;

let clock: ManualClock;
let events: EventInput[];
let held: number;
let refused: number;
let patienceSeconds: number;
let patience: SpacePatience;
beforeEach(() => {
  clock = new ManualClock();
  events = [];
  held = 0;
  refused = 0;
  patienceSeconds = 60;
  patience = new SpacePatience({
    subject: 'gold',
    clock,
    emit: (event) => events.push(event),
    patienceSeconds: () => patienceSeconds,
    heldWriters: () => held,
    onRefuse: () => {
      refused += 1;
      held = 0;
    },
  });
});

const kinds = () => events.map(({ kind }) => kind);

function hold(count: number): void {
  held = count;
  patience.writerHeld();
}

test('writes are held until the patience is over, then refused at once', () => {
  expect(patience.holdsWriters).toBe(true);
  hold(3);
  expect(patience.warnings).toMatchObject([
    { level: 'critical', code: 'pool/full', message: expect.stringContaining('3 writes wait') },
  ]);
  clock.advance(59 * second);
  expect(patience.holdsWriters).toBe(true);
  expect(patience.warnings[0]?.message).toContain('for 1 s more');
  clock.advance(second);
  expect([patience.holdsWriters, refused]).toEqual([false, 1]);
  expect(patience.warnings).toMatchObject([{ message: expect.stringContaining('fail') }]);
  expect(kinds()).toEqual(['pool/full', 'pool/out-of-space']);
});

test('as long as space comes, however little, none fails', () => {
  hold(10);
  for (let at = 0; at < 20; at++) {
    clock.advance(40 * second);
    patience.spaceCame();
    hold(10);
  }
  expect([patience.holdsWriters, refused]).toEqual([true, 0]);
  expect(kinds()).toEqual(['pool/full']);
});

test('a shortage that comes and goes is one alarm', () => {
  for (let at = 0; at < 10; at++) {
    hold(1);
    clock.advance(2 * second);
    patience.spaceCame();
    held = 0;
    clock.advance(3 * second);
  }
  expect(kinds()).toEqual(['pool/full']);
  clock.advance(5 * second);
  expect(kinds()).toEqual(['pool/full', 'pool/has-space']);
  expect(patience.warnings).toEqual([]);
  hold(1);
  expect(kinds()).toEqual(['pool/full', 'pool/has-space', 'pool/full']);
});

test('when space comes after the patience, writes are held again before they fail', () => {
  hold(1);
  clock.advance(60 * second);
  patience.spaceCame();
  expect(patience.holdsWriters).toBe(true);
  hold(1);
  clock.advance(59 * second);
  expect(refused).toBe(1);
  clock.advance(second);
  expect(refused).toBe(2);
});

test('patience is not spent while nobody waits', () => {
  hold(1);
  clock.advance(30 * second);
  held = 0; // its client has gone
  clock.advance(2 * second);
  hold(1);
  clock.advance(59 * second);
  expect(refused).toBe(0);
});

test('another patience counts at once, and none holds nothing', () => {
  hold(1);
  patienceSeconds = 0;
  expect(patience.holdsWriters).toBe(false);
  clock.advance(second);
  expect(refused).toBe(1);
});

test('without any patience the alarm sounds as well', () => {
  patienceSeconds = 0;
  patience.nothingLeft();
  patience.nothingLeft();
  expect(kinds()).toEqual(['pool/out-of-space']);
  patience.spaceCame();
  clock.advance(5 * second);
  expect(kinds()).toEqual(['pool/out-of-space', 'pool/has-space']);
});

test('once stopped it says and does nothing', () => {
  hold(1);
  patience.stop();
  hold(1);
  clock.advance(3600 * second);
  expect([refused, patience.warnings]).toEqual([0, []]);
});
