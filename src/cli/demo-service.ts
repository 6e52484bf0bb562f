/**
 * The demo's own service, in a process of its own: it is to be killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from './client.ts';
import { CommandError, exitFailed } from './errors.ts';

const startMs = 30_000;
const pollMs = 50;

export class DemoService {
  readonly #main: string;
  readonly #state: string;
  #child: ChildProcess | null = null;
  #log = '';

  /** @param main path of the command's entry */
  constructor(main: string, state: string) {
    this.#main = main;
    this.#state = state;
  }

  get address(): string {
    return `unix:${this.#state}/varve.sock`;
  }

  /** Returns when it is ready. @throws CommandError with its log when it ends instead */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [this.#main, 'serve', '--state', this.#state], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-4096);
    });
    const deadlineMs = Date.now() + startMs;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || Date.now() > deadlineMs) throw this.#notStarted();
      await sleep(pollMs);
    }
  }

  /** As a crash would. */
  kill9(): Promise<void> {
    return this.#end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async #answers(): Promise<boolean> {
    try {
      const response = await new Client(this.address).open('/readyz', {});
      response.resume();
      return true;
    } catch {
      return false;
    }
  }

  #notStarted(): CommandError {
    return new CommandError(
      'service/unreachable',
      `the demo's service did not start:\n${this.#log}`,
      exitFailed,
      ['varve doctor'],
    );
  }
}
