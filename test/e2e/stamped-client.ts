/**
 * A client that writes stamped blocks until its server goes away, and later checks what must still be there.
 *
 * The model is in clients/stamps.py; this is its handle in TypeScript. Each client owns a range of blocks.
 */
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { run } from '../../tools/lib/command.ts';
import { Daemon } from '../../tools/lib/daemon.ts';

const script = resolve(import.meta.dirname, 'clients/stamps.py');
// The distribution's Python: the one that python3-libnbd is installed for.
const python = '/usr/bin/python3';

export interface StampedRange {
  readonly uri: string;
  /** Goes into every stamp; unique per volume. */
  readonly volume: number;
  readonly firstBlock: number;
  readonly blockCount: number;
}

export interface Verdict {
  readonly blocks: number;
  readonly wrong: readonly unknown[];
  readonly wrong_count: number;
}

export class StampedClient {
  readonly #range: StampedRange;
  readonly #model: string;
  #writer: Daemon | undefined;
  #acknowledged = 0;

  /** @param folder where the client keeps its model between rounds */
  constructor(folder: string, range: StampedRange) {
    this.#range = range;
    this.#model = join(folder, `client-${range.volume}-${range.firstBlock}.json`);
  }

  /** Operations acknowledged since `start`, counted in fifties. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** @param options.pauseSeconds behind each handful of answers, for a client that leaves the machine to others as well */
  start(seed: number, { pauseSeconds = 0 } = {}): void {
    const { uri, volume, firstBlock, blockCount } = this.#range;
    const numbers = [volume, firstBlock, blockCount, seed, pauseSeconds].map(String);
    this.#acknowledged = 0;
    this.#writer = new Daemon(python, [script, 'write', uri, this.#model, ...numbers]);
    createInterface(this.#writer.stdout).on('line', (line) => {
      this.#acknowledged = Number(line);
    });
  }

  /** Waits until it has done some more than it has now. @throws Error it has ended */
  async progress(operations = 200): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) throw new Error('the stamped client was not started');
    const wanted = this.#acknowledged + operations;
    await writer.until(() => this.#acknowledged >= wanted, 60_000);
  }

  /** Waits until the writer has noticed that its server is gone and has saved its model. */
  async ended(): Promise<void> {
    if (this.#writer === undefined) return;
    const { status } = await this.#writer.exited;
    if (status !== 0) throw new Error(`stamped client ended with ${status}\n${this.#writer.log}`);
    this.#writer = undefined;
  }

  /** Ends the writer at once; what it acknowledged is forgotten. */
  async kill(): Promise<void> {
    await this.#writer?.end('SIGKILL');
  }

  /** Reads every block of the range and compares it with the model. */
  async verify(): Promise<Verdict> {
    return JSON.parse(await run(python, [script, 'verify', this.#range.uri, this.#model]));
  }
}
