/**
 * A client of the restart benchmark: works all the time, and tells how long it was not answered (stalls.py).
 */
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Daemon } from '../lib/daemon.ts';

const script = resolve(import.meta.dirname, 'stalls.py');
// The distribution's Python: the one that python3-libnbd is installed for.
const python = '/usr/bin/python3';

/** Without an answer, in milliseconds of the epoch. */
export interface Stall {
  readonly fromMs: number;
  readonly toMs: number;
  /** How often it had to connect, this time included. */
  readonly connections: number;
}

interface Line {
  readonly answers?: number;
  readonly from: number;
  readonly to: number;
  readonly connections: number;
}

export class StalledGuest {
  readonly #daemon: Daemon;
  #answers = 0;
  readonly #stalls: Stall[] = [];

  constructor(uri: string) {
    this.#daemon = new Daemon(python, [script, uri]);
    createInterface(this.#daemon.stdout).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      if (line.answers !== undefined) this.#answers = line.answers;
      else {
        const { from, to, connections } = line;
        this.#stalls.push({ fromMs: 1000 * from, toMs: 1000 * to, connections });
      }
    });
  }

  /** Waits until it was answered some more. @throws Error it has ended */
  async progress(answers = 400): Promise<void> {
    const wanted = this.#answers + answers;
    await this.#daemon.until(() => this.#answers >= wanted, 120_000);
  }

  /** The longest that ended at or after `sinceMs`. */
  longestStall(sinceMs: number): Stall {
    const stalls = this.#stalls.filter(({ toMs }) => toMs >= sinceMs);
    const [longest] = stalls.sort((a, b) => b.toMs - b.fromMs - (a.toMs - a.fromMs));
    return longest ?? { fromMs: sinceMs, toMs: sinceMs, connections: 1 };
  }

  async end(): Promise<void> {
    await this.#daemon.end('SIGKILL');
  }
}
