// Goal: what a pool that comes back exports is served, and nothing of it once the service stops.
// Method: fakes that note what they are asked; an arrival that is held up beside another one, and beside the stop.
import { beforeEach, expect, test } from 'vitest';
import { Arrivals } from '../../src/api/arrival.ts';
import { until } from '../pool/fixture.ts';

let calls: string[];
/** By which an arrival's first step ends. */
let goOn: () => void;
let arrivals: Arrivals;

beforeEach(() => {
  calls = [];
  const pools = ['red', 'green', 'blue'].map((name) => ({ info: () => ({ name }) }));
  const parts = {
    exports: {
      restore: async (pool: (typeof pools)[number]) => {
        calls.push(`serve ${pool.info().name}`);
      },
    },
    operations: { find: () => undefined, isAskedFor: () => false },
    poolMoves: {
      settle: () => {
        calls.push('settle');
        return new Promise((resolve) => {
          goOn = () => resolve(['blue']);
        });
      },
      dropAbandoned: async () => {},
    },
    pools: { all: () => pools },
    snapshots: { list: () => [] },
  };
  arrivals = new Arrivals(parts as never);
});

test('the pool is served behind what is settled, and those that this changed', async () => {
  const arrived = arrivals.arrived('red');
  await until(() => calls.includes('settle'));
  goOn();
  await arrived;
  expect(calls).toEqual(['settle', 'serve red', 'serve blue']);
});

test('one after the other', async () => {
  const first = arrivals.arrived('red');
  const second = arrivals.arrived('green');
  await until(() => calls.includes('settle'));
  expect(calls).toEqual(['settle']);
  goOn();
  await first;
  await until(() => calls.length === 4);
  goOn();
  await second;
  expect(calls.slice(3)).toEqual(['settle', 'serve green', 'serve blue']);
});

test('closing waits for the one under way, and nothing is served behind it', async () => {
  const first = arrivals.arrived('red');
  const second = arrivals.arrived('green');
  await until(() => calls.includes('settle'));
  let closed = false;
  const closing = arrivals.close().then(() => {
    closed = true;
  });
  await new Promise(setImmediate);
  expect(closed).toBe(false);
  goOn();
  await first;
  await new Promise(setImmediate);
  expect(calls).toEqual(['settle', 'serve red', 'serve blue']);
  await Promise.all([second, closing]);
  await arrivals.arrived('blue');
  expect(calls).toHaveLength(3);
});
