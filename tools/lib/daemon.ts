/**
 * Daemons: long-running child processes of tests and benchmarks.
 *
 *   running → exited      a daemon starts once; restarting makes a new one
 *
 * Guarantees: none outlives this process; what it printed last is kept for error messages.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

const logBytesKept = 64 * 1024;
const alive = new Set<Daemon>();
process.on('exit', () => {
  for (const daemon of alive) daemon.signal('SIGKILL');
});

export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Daemon {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #name: string;
  #log = '';
  #exit: Exit | undefined;
  /** Fulfils when the process has ended, however it did. */
  readonly exited: Promise<Exit>;

  constructor(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv } = {}) {
    this.#name = command;
    this.#child = spawn(command, args, { env: options.env ?? process.env });
    alive.add(this);
    this.#child.stderr.on('data', (chunk: Buffer) => this.#keep(chunk));
    this.exited = new Promise((resolve) => {
      const end = (status: number | null, signal: NodeJS.Signals | null) => {
        alive.delete(this);
        this.#exit = { status, signal };
        if (signal !== null) this.#keep(Buffer.from(`${this.#name} was ended by ${signal}\n`));
        resolve(this.#exit);
      };
      this.#child.once('close', end);
      this.#child.once('error', (error) => {
        this.#keep(Buffer.from(`${error.message}\n`));
        end(null, null);
      });
    });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} did not start: ${this.#log}`);
    return pid;
  }

  get stdin() {
    return this.#child.stdin;
  }

  /** Read it, or `drainOutput()`: a full pipe stops the process. */
  get stdout() {
    return this.#child.stdout;
  }

  /** The end of what it wrote to stderr, and to stdout if drained. */
  get log(): string {
    return this.#log;
  }

  drainOutput(): this {
    this.#child.stdout.on('data', (chunk: Buffer) => this.#keep(chunk));
    return this;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the process with a signal and waits until it is gone; harmless when it already is. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.signal(signal);
    return this.exited;
  }

  /**
   * Waits until `ready` holds.
   *
   * @throws Error with the log: the process ended first, or `timeoutMs` passed
   */
  async until(ready: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!(await ready())) {
      if (this.#exit !== undefined) throw this.#failure(`ended (${JSON.stringify(this.#exit)})`);
      if (Date.now() > deadline) throw this.#failure(`not ready after ${timeoutMs} ms`);
      await delay(pollMs);
    }
  }

  #keep(chunk: Buffer): void {
    this.#log = (this.#log + chunk.toString()).slice(-logBytesKept);
  }

  #failure(what: string): Error {
    return new Error(`${this.#name} ${what}\n${this.#log}`);
  }
}

// Short beside every start-up here (50 ms and more), long beside the cost of a probe.
const pollMs = 10;
