/**
 * A client that keeps an export under writes from inside the test, and knows of each block what it sent and what was answered.
 *
 * Blocks of 64 KiB, each filled with the number of its write; some requests span several blocks, some are FUA. It ends when its
 * connection does.
 */
import { command, RawClient } from '../nbd/raw-client.ts';

export const blockBytes = 64 * 1024;
const inFlightMax = 8;
const blocksMax = 8;
const flagFua = 1;

interface Write {
  readonly stamp: number;
  readonly first: number;
  readonly count: number;
  readonly fua: boolean;
}

export class StampingClient {
  /** Answered well. */
  acknowledged = 0;
  /** Answered with an error. */
  refused = 0;
  readonly ended: Promise<void>;
  readonly #client: RawClient;
  readonly #blocks: number;
  readonly #random: (low: number, high: number) => number;
  readonly #inFlight = new Map<number, Write>();
  /** By block: the newest write that is durable for certain. */
  readonly #durable = new Map<number, number>();
  #stamp: number;

  private constructor(
    client: RawClient,
    options: { blocks: number; stamp: number; random: (low: number, high: number) => number },
  ) {
    this.#client = client;
    this.#blocks = options.blocks;
    this.#stamp = options.stamp;
    this.#random = options.random;
    this.#refill();
    this.ended = this.#work();
  }

  /** @param options.stamp larger than every stamp on the export */
  static async start(
    socket: string,
    options: { blocks: number; stamp: number; random: (low: number, high: number) => number },
  ): Promise<StampingClient> {
    return new StampingClient(await RawClient.open(socket), options);
  }

  /** No stamp sent was larger. */
  get lastStamp(): number {
    return this.#stamp;
  }

  /** What must not be older, by block. */
  get durable(): ReadonlyMap<number, number> {
    return this.#durable;
  }

  destroy(): void {
    this.#client.destroy();
  }

  async #work(): Promise<void> {
    try {
      for (;;) {
        const { cookie, error } = await this.#client.reply();
        const write = this.#inFlight.get(Number(cookie));
        if (write === undefined) throw new Error(`an answer to ${cookie}, which was not asked`);
        this.#inFlight.delete(write.stamp);
        if (error === 0) this.#acknowledge(write);
        else this.refused += 1;
        this.#refill();
      }
    } catch (error) {
      if (!/closed the connection/.test((error as Error).message)) throw error;
    }
  }

  #acknowledge({ stamp, first, count, fua }: Write): void {
    this.acknowledged += 1;
    if (!fua) return;
    for (let block = first; block < first + count; block++) {
      this.#durable.set(block, Math.max(stamp, this.#durable.get(block) ?? 0));
    }
  }

  #refill(): void {
    while (this.#inFlight.size < inFlightMax) {
      const count = this.#random(0, 4) === 0 ? this.#random(1, blocksMax + 1) : 1;
      const first = this.#random(0, this.#blocks - count);
      // Of one block there is one write at a time: NBD promises no order between them.
      const overlaps = [...this.#inFlight.values()].some(
        (other) => other.first < first + count && first < other.first + other.count,
      );
      if (overlaps) continue;
      this.#send({ stamp: ++this.#stamp, first, count, fua: this.#random(0, 3) === 0 });
    }
  }

  #send(write: Write): void {
    const { stamp, first, count, fua } = write;
    this.#inFlight.set(stamp, write);
    const length = count * blockBytes;
    this.#client.request(
      {
        command: command.write,
        flags: fua ? flagFua : 0,
        cookie: BigInt(stamp),
        offset: first * blockBytes,
        length,
      },
      stamped(stamp, length),
    );
  }
}

function stamped(stamp: number, length: number): Buffer {
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(BigInt(stamp));
  return Buffer.alloc(length, word);
}

/** Writes `stamp` to every block and flushes. */
export async function stampAll(socket: string, blocks: number, stamp: number): Promise<void> {
  const client = await RawClient.open(socket);
  for (let block = 0; block < blocks; block++) {
    const error = await client.write(block * blockBytes, stamped(stamp, blockBytes));
    if (error !== 0) throw new Error(`block ${block}: error ${error}`);
  }
  const { error } = await client.ask({ command: command.flush });
  if (error !== 0) throw new Error(`flush: error ${error}`);
  await client.close();
}

/** The stamp of each block; -1 for one that is not the same all over. */
export async function readStamps(socket: string, blocks: number): Promise<number[]> {
  const client = await RawClient.open(socket);
  const stamps: number[] = [];
  for (let block = 0; block < blocks; block++) {
    const { error, payload } = await client.ask({
      command: command.read,
      offset: block * blockBytes,
      length: blockBytes,
    });
    if (error !== 0) throw new Error(`block ${block}: error ${error}`);
    const stamp = Number(payload.readBigUInt64LE(0));
    stamps.push(payload.equals(stamped(stamp, blockBytes)) ? stamp : -1);
  }
  await client.close();
  return stamps;
}
