/**
 * A writer in the guest: small files on /mnt, each safe on the disk before the next one, counted in the guest's memory.
 */
import { expect } from 'vitest';
import type { Guest } from './guest.ts';

const keepWriting =
  '( i=0; while [ ! -e /tmp/stop ]; do i=$((i+1));' +
  ' dd if=/dev/urandom of=/mnt/more$((i%64)) bs=16k count=8 conv=fsync 2>/dev/null || echo $i >> /tmp/failed;' +
  ' echo $i > /tmp/count; done; touch /tmp/stopped ) >/dev/null 2>&1 &';
const stopWriting = 'touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done';

export class Writer {
  readonly #guest: Guest;

  private constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** Starts writing on /mnt, once in the life of a guest. */
  static async start(guest: Guest): Promise<Writer> {
    await guest.run(keepWriting);
    return new Writer(guest);
  }

  /** How many files it has written so far. */
  async filesWritten(): Promise<number> {
    const answer = await this.#guest.outcome('cat /tmp/count 2>/dev/null');
    // Empty before the first file and in the instant of an update.
    return Number(answer.output || 0);
  }

  /** Waits until it has written some more files than it has now. */
  async progress(): Promise<void> {
    const before = await this.filesWritten();
    await expect
      .poll(() => this.filesWritten(), { timeout: 60_000, interval: 100 })
      .toBeGreaterThan(before + 5);
  }

  /** Waits for the last file. @returns the numbers of those that could not be written, one a line */
  async stop(): Promise<string> {
    await this.#guest.run(stopWriting);
    return (await this.#guest.outcome('cat /tmp/failed 2>/dev/null')).output;
  }
}
