// Goal: what is said to be durable is; what was received before is not written again, and not a byte more is left out; an error is told, and nothing
//   behind it is called durable.
// Method: a volume whose writes end when the test says so, as a disk's do, in any order; a model of what was written.
import { beforeEach, expect, test } from 'vitest';
import { PartWriter } from '../../src/backup/part-writer.ts';
import { KiB, MiB } from '../../src/base/units.ts';
import type { Governor } from '../../src/pool/governor.ts';
import { Turns } from '../../src/pool/turns.ts';

/** Holds each write until it is let go. */
class HeldVolume {
  readonly log: string[] = [];
  readonly content = Buffer.alloc(4 * MiB, 0xee);
  readonly #held: (() => void)[] = [];
  isHeld = false;
  failure: Error | undefined;

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#turn();
    if (this.failure !== undefined) throw this.failure;
    this.content.set(bytes, offset);
    this.log.push(`written ${offset / KiB}K`);
  }

  async zero(offset: number, length: number): Promise<void> {
    await this.#turn();
    this.content.fill(0, offset, offset + length);
    this.log.push(`zeroed ${offset / KiB}K`);
  }

  async flush(): Promise<void> {
    this.log.push('flushed');
  }

  /** The youngest first. */
  letGo(): void {
    for (const go of this.#held.splice(0).reverse()) go();
  }

  async #turn(): Promise<void> {
    if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
  }
}

let volume: HeldVolume;

beforeEach(() => {
  volume = new HeldVolume();
});

function writer(fromBytes = 0): PartWriter {
  const governor = { bytesPerTurn: Number.POSITIVE_INFINITY, run: (work: () => unknown) => work() };
  const turns = new Turns(governor as unknown as Governor, { whileRunning: async () => {} });
  return new PartWriter({ plane: volume, turns }, fromBytes, async (toBytes) => {
    volume.log.push(`noted ${toBytes / KiB}K`);
  });
}

const data = (offset: number, length = 4 * KiB, value = 1) => ({
  offset,
  length,
  bytes: Buffer.alloc(length, value),
});

/** Everything that was to happen by itself has. */
const rested = () => new Promise((resolve) => setImmediate(resolve));

test('what is on its way is not called durable', async () => {
  volume.isHeld = true;
  const part = writer();
  for (const at of [0, 4, 8]) await part.add(data(at * KiB));
  await part.add({ offset: 12 * KiB, length: 4 * KiB, bytes: null });
  const settled = part.settle();
  await rested();
  expect(volume.log).toEqual([]);
  volume.letGo();
  await settled;
  const written = ['zeroed 12K', 'written 8K', 'written 4K', 'written 0K'];
  expect(volume.log).toEqual([...written, 'flushed', 'noted 16K']);
});

test('what came before the cut is left out, and nothing behind it', async () => {
  // As one stream tells it in small pieces, and another one in larger ones.
  for (const size of [4 * KiB, 16 * KiB, 40 * KiB]) {
    volume = new HeldVolume();
    const part = writer(40 * KiB);
    for (let at = 0; at < 120 * KiB; at += size) await part.add(data(at, size));
    await part.settle();
    const behind = volume.content.subarray(40 * KiB, 120 * KiB);
    expect(behind.equals(Buffer.alloc(80 * KiB, 1)), `pieces of ${size}`).toBe(true);
    const before = Math.floor((40 * KiB) / size) * size;
    expect(volume.content.subarray(0, before).equals(Buffer.alloc(before, 0xee))).toBe(true);
  }
});

test('behind an error nothing is called durable', async () => {
  volume.isHeld = true;
  const part = writer();
  await part.add(data(0));
  volume.failure = new Error('no');
  volume.letGo();
  await expect(part.settle()).rejects.toThrow('no');
  await expect(part.add(data(4 * KiB))).rejects.toThrow('no');
  expect(volume.log).toEqual([]);
});

test('a few are on their way at once, and no more', async () => {
  volume.isHeld = true;
  const part = writer();
  let added = 0;
  const adding = (async () => {
    for (let at = 0; at < 20; at++) {
      await part.add(data(at * 4 * KiB));
      added += 1;
    }
  })();
  await rested();
  expect(added).toBe(8);
  volume.isHeld = false;
  volume.letGo();
  await adding;
  await part.settle();
  expect(volume.log.at(-1)).toBe('noted 80K');
});
