// Goal: background work slows down until guests' p99 is within the factor of what it is without it, goes faster again when they bear it, runs
//   freely when they are idle, and never stops for good; in a rest nothing of it is under way.
// Method: a clock of the test's own and guests that are a formula: their latency grows with what was moved just before.
import { beforeEach, expect, test } from 'vitest';
import { floorBytesPerSecond } from '../../src/pool/background-limit.ts';
import { Governor } from '../../src/pool/governor.ts';

const MiB = 1024 * 1024;
const bounds = Float64Array.from({ length: 100 }, (_, at) => 20e-6 * 1.1 ** at);
const diskBytesPerSecond = 800 * MiB;
/** So long guests feel what was moved. */
const lastingMs = 50;
const baseSeconds = 100e-6;

/** Guests and a disk in a time of their own; a millisecond is the smallest step. */
class Bench {
  ms = 0;
  requestsPerMs = 2;
  /** At so much background work latency doubles. */
  bearableBytesPerSecond = 100 * MiB;
  isUnderWay = false;
  worksInRests = 0;
  rests = 0;
  held: boolean[] = [];
  readonly #counts = new Float64Array(bounds.length);
  /** That have not been served. */
  #requests = 0;
  /** When bytes were moved, and how many. */
  #moved: { ms: number; bytes: number }[] = [];
  readonly governor: Governor;

  constructor() {
    this.governor = new Governor({
      latencies: () => this.#counts.slice(),
      bounds,
      settle: async () => {
        this.rests += 1;
        if (this.isUnderWay) this.worksInRests += 1;
      },
      onHeld: (isHeld) => this.held.push(isHeld),
      timing: { nowMs: () => this.ms, sleep: async (ms) => this.pass(ms) },
    });
  }

  pass(ms: number): void {
    for (const end = this.ms + ms; this.ms < end; ) {
      const stepMs = Math.min(1, end - this.ms);
      this.ms += stepMs;
      this.#requests += stepMs * this.requestsPerMs;
      for (; this.#requests >= 1; this.#requests--) this.#serve();
    }
  }

  /** Goes on as fast as disk and governor allow. @returns bytes per second */
  async work(seconds: number): Promise<number> {
    const [beginMs, before] = [this.ms, this.governor.movedBytes];
    while (this.ms - beginMs < 1000 * seconds) {
      const bytes = Math.min(8 * MiB, this.governor.bytesPerTurn);
      await this.governor.run(async () => {
        this.isUnderWay = true;
        this.#moved.push({ ms: this.ms, bytes });
        this.pass((1000 * bytes) / diskBytesPerSecond);
        this.isUnderWay = false;
        return bytes;
      });
    }
    return (this.governor.movedBytes - before) / ((this.ms - beginMs) / 1000);
  }

  #serve(): void {
    this.#moved = this.#moved.filter(({ ms }) => this.ms - ms <= lastingMs);
    const bytesPerSecond =
      (1000 / lastingMs) * this.#moved.reduce((sum, { bytes }) => sum + bytes, 0);
    const seconds = baseSeconds * (1 + bytesPerSecond / this.bearableBytesPerSecond);
    const found = bounds.findIndex((bound) => seconds < bound);
    const bucket = found < 0 ? bounds.length - 1 : found;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

test('without guests nothing holds the work back, and it never rests', async () => {
  bench.requestsPerMs = 0;
  expect(await bench.work(10)).toBeGreaterThan(0.99 * diskBytesPerSecond);
  expect(bench.governor.isHeldBack).toBe(false);
  expect(bench.rests).toBe(0);
});

test('guests who are there already are seen before anything is moved', async () => {
  let held = false;
  await bench.governor.run(async () => {
    held = bench.governor.isHeldBack;
    return 0;
  });
  expect(held).toBe(true);
});

test('with guests it settles where they bear it', async () => {
  await bench.work(10);
  const reached = await bench.work(20);
  expect(bench.governor.isHeldBack).toBe(true);
  // Latency doubles there.
  expect(reached).toBeGreaterThan(0.2 * bench.bearableBytesPerSecond);
  expect(reached).toBeLessThan(1.1 * bench.bearableBytesPerSecond);
});

test('it slows down when guests bear less, and recovers when they bear more', async () => {
  await bench.work(10);
  const before = await bench.work(10);
  bench.bearableBytesPerSecond /= 4;
  await bench.work(5);
  const less = await bench.work(10);
  expect(less).toBeLessThan(0.5 * before);
  bench.bearableBytesPerSecond *= 8;
  await bench.work(10);
  expect(await bench.work(10)).toBeGreaterThan(1.5 * before);
});

test('guests that bear everything do not slow it down but for the rests', async () => {
  bench.bearableBytesPerSecond = 1e6 * MiB;
  await bench.work(10);
  expect(await bench.work(20)).toBeGreaterThan(0.8 * diskBytesPerSecond);
});

test('guests that bear nothing leave it the floor', async () => {
  bench.bearableBytesPerSecond = 1;
  await bench.work(20);
  const reached = await bench.work(20);
  expect(bench.governor.bytesPerSecond).toBe(floorBytesPerSecond);
  expect(reached).toBeGreaterThan(0.7 * floorBytesPerSecond);
});

test('it runs freely again as soon as guests are idle, and is careful when they come back', async () => {
  await bench.work(10);
  bench.requestsPerMs = 0;
  await bench.work(1);
  expect(bench.governor.isHeldBack).toBe(false);
  expect(await bench.work(5)).toBeGreaterThan(0.99 * diskBytesPerSecond);
  bench.requestsPerMs = 2;
  await bench.work(1);
  expect(bench.governor.isHeldBack).toBe(true);
  expect(bench.held).toEqual([true, false, true]);
});

test('a guest that asks now and then is compared by what there is', async () => {
  bench.requestsPerMs = 0.02;
  bench.bearableBytesPerSecond = 20 * MiB;
  await bench.work(30);
  expect(await bench.work(30)).toBeLessThan(2 * bench.bearableBytesPerSecond);
});

test('work of several at once rests together and shares the limit', async () => {
  const rates = Promise.all([bench.work(30), bench.work(30), bench.work(30)]);
  const total = (await rates).reduce((sum, rate) => sum + rate, 0);
  expect(bench.rests).toBeGreaterThan(3);
  expect(bench.worksInRests).toBe(0);
  // Each counts what all have moved.
  expect(total / 3).toBeLessThan(1.5 * bench.bearableBytesPerSecond);
});

test('what fails is told to whoever asked, and the next one gets its turn', async () => {
  const failing = bench.governor.run(async () => {
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await bench.governor.run(async () => MiB)).toBe(MiB);
});
