// Goal: one event each time a pool gets fuller than a threshold, and no more for as long as it stays about there.
// Method: a clock that the test moves, and a pool of a hundred bytes.
import { expect, test } from 'vitest';
import { SpaceAlarms } from '../../src/pool/space-alarms.ts';
import type { EventInput } from '../../src/pool/types.ts';
import { ManualClock } from './fixture.ts';

/** The events of a pool that is that full, one second after the other. */
function eventsOf(...percents: readonly number[]): string[] {
  const clock = new ManualClock();
  const events: EventInput[] = [];
  let usedBytes = percents[0] as number;
  const alarms = new SpaceAlarms({
    subject: 'gold',
    clock,
    emit: (event) => events.push(event),
    use: () => ({ capacityBytes: 110, reserveBytes: 10, usedBytes }),
  });
  for (const percent of percents.slice(1)) {
    usedBytes = percent;
    clock.advance(1000);
  }
  alarms.stop();
  clock.advance(3600_000);
  return events.map(({ level, kind, message }) => `${level} ${kind} ${message}`);
}

test('each threshold is told when it is reached, the highest alone when several are', () => {
  expect(eventsOf(10, 79, 80, 89, 90, 94, 95, 100)).toEqual([
    'warning pool/space-low pool gold is 80 % full',
    'warning pool/space-low pool gold is 90 % full',
    'warning pool/space-low pool gold is 95 % full',
  ]);
  expect(eventsOf(10, 97)).toEqual(['warning pool/space-low pool gold is 97 % full']);
});

test('around a threshold it is told once', () => {
  expect(eventsOf(10, 80, 79, 80, 76, 81, 78, 80)).toHaveLength(1);
  expect(eventsOf(10, 96, 91, 95, 92, 96)).toHaveLength(1);
});

test('well below a threshold it is told that it is, and then the next time that it is not', () => {
  expect(eventsOf(10, 96, 88, 84, 91, 75, 80)).toEqual([
    'warning pool/space-low pool gold is 96 % full',
    'info pool/space-freed pool gold is only 88 % full',
    'info pool/space-freed pool gold is only 84 % full',
    'warning pool/space-low pool gold is 91 % full',
    'info pool/space-freed pool gold is only 75 % full',
    'warning pool/space-low pool gold is 80 % full',
  ]);
});

test('what is so when it begins is no news', () => {
  expect(eventsOf(85, 85, 86)).toEqual([]);
  expect(eventsOf(85, 90)).toHaveLength(1);
});
