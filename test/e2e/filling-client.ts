/**
 * A client that fills a volume, goes on using what it has filled, and ends badly with the first error that the server answers.
 *
 * The client is clients/filling.py; this is its handle in TypeScript.
 */
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Daemon } from '../../tools/lib/daemon.ts';

const script = resolve(import.meta.dirname, 'clients/filling.py');
// The distribution's Python: the one that python3-libnbd is installed for.
const python = '/usr/bin/python3';
export const blockBytes = 64 * 1024;

export class FillingClient {
  readonly #process: Daemon;
  readonly #wakeAll = new Set<() => void>();
  #progress = { filled: 0, probed: 0, verified: 0 };
  #ended = false;

  /**
   * It fills its first block, and the others when `goOn` says so.
   *
   * @param options.seed goes into every block, unique per client; each of `blocks` is written once, and read in the end
   */
  constructor(uri: string, options: { readonly seed: number; readonly blocks: number }) {
    const numbers = [options.seed, options.blocks].map(String);
    this.#process = new Daemon(python, [script, uri, ...numbers]);
    createInterface(this.#process.stdout).on('line', (line) => {
      this.#progress = { ...this.#progress, ...JSON.parse(line) };
      this.#wake();
    });
    void this.#process.exited.then(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  goOn(): void {
    this.#process.stdin.end('\n');
  }

  /** Waits until it has filled its first block, or has ended. */
  async begun(): Promise<void> {
    while (this.#progress.filled === 0 && !this.#ended) await this.#change();
  }

  /** Requests to blocks that are filled, answered so far. */
  get probed(): number {
    return this.#progress.probed;
  }

  /** Waits until so many more of those were answered, or the client has ended. */
  async probes(count: number): Promise<void> {
    const wanted = this.probed + count;
    while (this.probed < wanted && !this.#ended) await this.#change();
  }

  /** Waits for its end. @returns blocks that were filled, and read back as they were written. @throws Error the server answered with an error */
  async verified(): Promise<number> {
    const { status } = await this.#process.exited;
    if (status !== 0) throw new Error(`filling client ended with ${status}\n${this.#process.log}`);
    return this.#progress.verified;
  }

  /** Ends it at once, its connection with it. */
  async kill(): Promise<void> {
    await this.#process.end('SIGKILL');
  }

  #change(): Promise<void> {
    return new Promise((resolveChange) => this.#wakeAll.add(resolveChange));
  }

  #wake(): void {
    const waiting = [...this.#wakeAll];
    this.#wakeAll.clear();
    for (const wake of waiting) wake();
  }
}
