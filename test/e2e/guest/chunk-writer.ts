/**
 * A writer in the guest that fills a raw disk chunk after chunk, past the guest's cache, and leaves a note of every write that failed.
 *
 * Every chunk says who wrote it and which it is, so that the whole disk can be compared in the end without remembering anything.
 */
import type { Guest } from './guest.ts';

export const chunkBytes = 1024 * 1024;
const blocksPerChunk = 16;
const disk = '/dev/vda';

export class ChunkWriter {
  readonly #guest: Guest;
  readonly #name: string;
  readonly #chunks: number;

  private constructor(guest: Guest, name: string, chunks: number) {
    this.#guest = guest;
    this.#name = name;
    this.#chunks = chunks;
  }

  /** Starts writing on the guest's first disk, once in the life of a guest. */
  static async start(guest: Guest, name: string, chunks: number): Promise<ChunkWriter> {
    const writer = new ChunkWriter(guest, name, chunks);
    const write = `{ ${writer.#chunk('$i')} > /tmp/chunk; ${dd('/tmp/chunk', disk, '$i')}; } 2>/tmp/dd`;
    const each = `${write} || { echo $i; cat /tmp/dd; } >> /tmp/failed; echo $((i+1)) > /tmp/written`;
    await guest.run(
      `( for i in $(seq 0 ${chunks - 1}); do ${each}; done; touch /tmp/ended ) >/dev/null 2>&1 &`,
    );
    return writer;
  }

  /** Chunks written so far. */
  async written(): Promise<number> {
    // Empty before the first one and in the instant of an update.
    return Number((await this.#guest.outcome('cat /tmp/written 2>/dev/null')).output || 0);
  }

  async hasEnded(): Promise<boolean> {
    return (await this.#guest.outcome('test -e /tmp/ended')).status === 0;
  }

  /** What could not be written, and why; nothing, as a rule. */
  async failures(): Promise<string> {
    return (await this.#guest.outcome('cat /tmp/failed 2>/dev/null')).output;
  }

  /** Reads the first chunk, and overwrites it with the same, while others are on their way. @throws Error it is not what was written, or was refused */
  async rewriteFirst(): Promise<void> {
    const read = `dd if=${disk} of=/tmp/read bs=64k count=${blocksPerChunk} iflag=direct 2>/dev/null`;
    const compared = `${this.#chunk('0')} > /tmp/first && ${read} && cmp /tmp/first /tmp/read`;
    await this.#guest.run(`${compared} && ${dd('/tmp/first', disk, '0')} 2>/dev/null`, verifyMs);
  }

  /** Reads the whole disk. @returns whether it is what was written */
  async isWhole(): Promise<boolean> {
    const expected = `for i in $(seq 0 ${this.#chunks - 1}); do ${this.#chunk('$i')}; done | md5sum`;
    const count = this.#chunks * blocksPerChunk;
    const read = `dd if=${disk} bs=64k count=${count} iflag=direct 2>/dev/null | md5sum`;
    const { status } = await this.#guest.outcome(`[ "$(${expected})" = "$(${read})" ]`, verifyMs);
    return status === 0;
  }

  #chunk(number: string): string {
    return `yes "${this.#name} chunk ${number}" | head -c ${chunkBytes}`;
  }
}

/** An emulated processor makes and hashes some MiB a second, on a busy host less. */
const verifyMs = 600_000;

function dd(from: string, to: string, chunk: string): string {
  const place = `bs=64k seek=$((${chunk}*${blocksPerChunk}))`;
  return `dd if=${from} of=${to} ${place} oflag=direct conv=notrunc`;
}
