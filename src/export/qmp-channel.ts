/**
 * One connection to the monitor of a running QEMU (QMP): one command at a time, and waiting for events.
 *
 * Every wait ends with the signal given at the beginning; afterwards the channel is closed.
 *
 * Source: QEMU Machine Protocol Specification.
 */
import { connect, type Socket } from 'node:net';
import { messageOf } from '../base/errors.ts';

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

type Message = Partial<QmpEvent> & {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
};

/** QEMU did not do it; the message is its own. */
export class QmpRefusal extends Error {
  override readonly name = 'QmpRefusal';
}

export class QmpChannel {
  readonly #socket: Socket;
  readonly #messages: AsyncIterator<Message>;
  /** That nobody has waited for yet. */
  readonly #events: QmpEvent[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#messages = messagesOf(socket);
  }

  /**
   * @param path of a unix socket that QEMU listens on
   * @throws Error of the socket, or that no monitor answers there; the signal's reason
   */
  static async open(path: string, signal: AbortSignal): Promise<QmpChannel> {
    signal.throwIfAborted();
    const socket = connect({ path });
    signal.addEventListener('abort', () => socket.destroy(signal.reason), { once: true });
    const qmp = new QmpChannel(socket);
    try {
      const greeting = await qmp.#next();
      if (greeting.QMP === undefined) throw new Error("it does not speak QEMU's machine protocol");
      await qmp.command('qmp_capabilities');
      return qmp;
    } catch (error) {
      qmp.close();
      throw error;
    }
  }

  /** @returns what QEMU returned @throws QmpRefusal, and as `open` */
  async command(execute: string, parameters: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: parameters })}\n`);
    for (;;) {
      const message = await this.#next();
      if (message.error !== undefined) throw new QmpRefusal(message.error.desc);
      if (isEvent(message)) this.#events.push(message);
      else return message.return;
    }
  }

  /** The first event that is wanted, since the channel was opened or the last one that was waited for. */
  async event(isWanted: (event: QmpEvent) => boolean): Promise<QmpEvent> {
    for (;;) {
      const event = this.#events.shift() ?? (await this.#next());
      if (isEvent(event) && isWanted(event)) return event;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<Message> {
    const { done, value } = await this.#messages.next();
    if (done) throw new Error('QEMU closed its monitor');
    return value;
  }
}

function isEvent(message: Message | QmpEvent): message is QmpEvent {
  return message.event !== undefined;
}

async function* messagesOf(socket: Socket): AsyncGenerator<Message> {
  let rest = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) yield parse(line);
  }
}

function parse(line: string): Message {
  try {
    return JSON.parse(line) as Message;
  } catch (cause) {
    const what = `it does not speak QEMU's machine protocol: ${messageOf(cause)}`;
    throw new Error(what, { cause });
  }
}
