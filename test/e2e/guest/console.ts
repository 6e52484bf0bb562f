/**
 * The guest's command port: one command at a time, its output and status.
 *
 * Speaks the protocol of initramfs.ts over QEMU's standard streams (the guest's second serial port).
 */
import type { Readable, Writable } from 'node:stream';

export interface GuestOutcome {
  readonly status: number;
  readonly output: string;
}

export class Console {
  readonly #input: Writable;
  #received = '';
  #wake: () => void = () => {};
  #closed = false;
  #count = 0;

  constructor(output: Readable, input: Writable) {
    this.#input = input;
    output.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString();
      this.#wake();
    });
    output.once('close', () => {
      this.#closed = true;
      this.#wake();
    });
    // A guest that is gone shows as a closed output; the failed write itself says nothing more.
    input.on('error', () => {});
  }

  /** Waits until the guest takes commands. */
  async ready(timeoutMs: number): Promise<void> {
    await this.#answer('ready', timeoutMs);
  }

  /**
   * Runs a shell command (one line) in the guest.
   *
   * @throws Error the guest ended or did not answer in time
   */
  async outcome(command: string, timeoutMs: number): Promise<GuestOutcome> {
    const id = `${++this.#count}`;
    this.#input.write(`${id} ${command}\n`);
    return this.#answer(id, timeoutMs);
  }

  async #answer(id: string, timeoutMs: number): Promise<GuestOutcome> {
    const end = new RegExp(`@${id} (\\d+)@\\n`);
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = end.exec(this.#received);
      if (match !== null) {
        const output = this.#received.slice(0, match.index);
        this.#received = this.#received.slice(match.index + match[0].length);
        return { status: Number(match[1]), output };
      }
      if (this.#closed) throw new Error(`the guest ended:\n${this.#received}`);
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(`no answer from the guest in ${timeoutMs} ms:\n${this.#received}`);
      await this.#more(left);
    }
  }

  #more(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
