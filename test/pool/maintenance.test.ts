// Goal: what a kill leaves to be replayed stays small while a large index is written out, and a checkpoint is not written twice for one half ring.
// Method: an index and a checkpointer that end when the test says so, and a clock that the test moves.
import { expect, test } from 'vitest';
import { MiB } from '../../src/base/units.ts';
import { Maintenance, type MaintenanceParts } from '../../src/pool/maintenance.ts';
import { ManualClock } from './fixture.ts';

class Bench {
  readonly clock = new ManualClock();
  readonly begun: string[] = [];
  readonly #ends: (() => void)[] = [];
  readonly #state = {
    applied: { position: 0 },
    unfoldedBytes: 0,
    overlay: { current: { leafCount: 0 } },
  };
  #tail = 0;
  readonly maintenance = new Maintenance({
    clock: this.clock,
    journalBytes: 64 * MiB,
    tail: () => this.#tail,
    index: {
      state: this.#state,
      fold: async () => {
        this.begun.push('fold');
        this.#state.unfoldedBytes = 0;
      },
    },
    checkpointer: {
      take: () => {
        const { position } = this.#state.applied;
        this.begun.push('checkpoint');
        return new Promise<void>((resolve) => {
          this.#ends.push(() => {
            this.#tail = position;
            resolve();
          });
        });
      },
    },
    onTail() {},
    onError() {},
  } as unknown as MaintenanceParts);

  /** What the journal held when the pool was opened. */
  found(bytes: number): void {
    this.#state.applied.position = bytes;
  }

  async record(bytes: number): Promise<void> {
    this.#state.applied.position += bytes;
    this.#state.unfoldedBytes += bytes;
    this.maintenance.recordApplied();
    await new Promise(setImmediate);
  }

  async endCheckpoint(): Promise<void> {
    this.#ends.shift()?.();
    await new Promise(setImmediate);
  }
}

test('the index is folded while a checkpoint is written', async () => {
  const bench = new Bench();
  await bench.record(33 * MiB);
  bench.begun.length = 0;
  for (let at = 0; at < 3; at++) await bench.record(9 * MiB);
  expect(bench.begun).toEqual(['fold', 'fold', 'fold']);
});

test('records that come while a checkpoint is written ask for no other one, unless there is half a ring of them', async () => {
  const bench = new Bench();
  await bench.record(33 * MiB);
  await bench.record(7 * MiB);
  await bench.endCheckpoint();
  await bench.record(MiB);
  expect(bench.begun.filter((each) => each === 'checkpoint')).toHaveLength(1);
  await bench.record(30 * MiB);
  expect(bench.begun.filter((each) => each === 'checkpoint')).toHaveLength(2);
});

test('a ring that is found half full at the opening is written out although no record comes', async () => {
  const bench = new Bench();
  bench.found(40 * MiB);
  bench.clock.advance(1000);
  await new Promise(setImmediate);
  expect(bench.begun).toEqual(['checkpoint']);
});

test('nothing begins behind the end, which waits for what was begun', async () => {
  const bench = new Bench();
  await bench.record(33 * MiB);
  let isStopped = false;
  const stopped = bench.maintenance.stop().then(() => {
    isStopped = true;
  });
  bench.maintenance.checkpoint();
  await new Promise(setImmediate);
  expect(isStopped).toBe(false);
  await bench.endCheckpoint();
  await stopped;
  expect(bench.begun.filter((each) => each === 'checkpoint')).toHaveLength(1);
});

test('work that can wait leaves the last quarter of the ring to guests', async () => {
  const bench = new Bench();
  const stopping = new AbortController();
  await bench.record(47 * MiB);
  await bench.maintenance.roomToSpare(stopping.signal);
  await bench.record(2 * MiB);
  let hasRoom = false;
  const waiting = bench.maintenance.roomToSpare(stopping.signal).then(() => {
    hasRoom = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(hasRoom).toBe(false);
  await bench.endCheckpoint();
  await waiting;
  await bench.record(48 * MiB);
  const stopped = bench.maintenance.roomToSpare(stopping.signal);
  stopping.abort();
  await stopped;
});
