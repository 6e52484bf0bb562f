/**
 * QMP: QEMU's monitor on a unix socket, as far as benchmarks need it: one command at a time, and waiting for an event.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

export class Qmp {
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<Answer>;
  readonly #events: string[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#answers = answersOf(socket);
  }

  /** @param path of a socket that is listened on */
  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(connect(path));
    await qmp.#next(); // its greeting
    await qmp.command('qmp_capabilities');
    return qmp;
  }

  /** @throws Error QEMU refused it, or ended */
  async command(execute: string, parameters: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: parameters })}\n`);
    for (;;) {
      const answer = await this.#next();
      if (answer.error !== undefined) throw new Error(`${execute}: ${answer.error.desc}`);
      if (answer.event === undefined) return answer.return;
      this.#events.push(answer.event);
    }
  }

  /** Waits for an event of that name; those before it are forgotten. */
  async event(name: string): Promise<void> {
    for (;;) {
      const event = this.#events.shift() ?? (await this.#next()).event;
      if (event === name) return;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<Answer> {
    const { done, value } = await this.#answers.next();
    if (done) throw new Error('QEMU closed its monitor');
    return value;
  }
}

async function* answersOf(socket: Socket): AsyncGenerator<Answer> {
  for await (const line of createInterface({ input: socket })) yield JSON.parse(line) as Answer;
}
