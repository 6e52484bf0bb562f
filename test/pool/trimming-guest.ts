/**
 * A guest that writes all the time and keeps little where it is: blocks of one cluster, each trimmed before it is written again, so
 * that its data goes away from a disk that gets nothing more. It flushes as it goes: what it gave up comes back only behind a flush, and a
 * pool whose journal waits for something would be full before long. It knows what every block must show.
 */
import { expect } from 'vitest';
import type { OpenVolume } from '../../src/volume/volume-service.ts';

const blockBytes = 64 * 1024;
const blocks = 64;
const blocksPerFlush = 16;

export class TrimmingGuest {
  readonly #volume: OpenVolume;
  readonly #shown = new Array<number>(blocks).fill(0);
  #serial = 0;
  #stopped = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(volume: OpenVolume) {
    this.#volume = volume;
  }

  start(): void {
    this.#writing = this.#write();
  }

  /** Every block was written anew since the call. */
  async lap(): Promise<void> {
    const serial = this.#serial;
    // A guest whose write failed goes no further: then that is what ends this.
    while (this.#serial < serial + 2 * blocks)
      await Promise.race([this.#volume.plane.flush(), this.#writing]);
  }

  /** Stops, and compares everything. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
    for (const [block, serial] of this.#shown.entries()) {
      const bytes = await this.#volume.plane.read(block * blockBytes, blockBytes);
      expect(
        bytes.every((byte) => byte === (serial & 0xff)),
        `block ${block}`,
      ).toBe(true);
    }
    await this.#volume.close();
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      const block = this.#serial % blocks;
      this.#serial += 1;
      await this.#volume.plane.trim(block * blockBytes, blockBytes);
      const bytes = new Uint8Array(blockBytes).fill(this.#serial & 0xff);
      await this.#volume.plane.write(block * blockBytes, bytes);
      this.#shown[block] = this.#serial;
      if (this.#serial % blocksPerFlush === 0) await this.#volume.plane.flush();
    }
  }
}
