/**
 * One connection to a QEMU guest agent.
 *
 *   open → closed      closed is final; what waits then fails
 *
 * The agent answers in the order of asking, without naming the question. So several requests may be on their way, and
 * after one that was given up nothing but `sync` tells whose the next answer is. Every wait ends with its signal.
 */
import { randomInt } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { AgentLines, type AgentMessage, delimiter, isObject } from './agent-lines.ts';

/** The agent's own error answer; the message is its description. */
export class AgentRefusal extends Error {
  override readonly name = 'AgentRefusal';

  constructor(
    description: string,
    /** The command is unknown or disabled: it did not even begin. */
    readonly neverRan: boolean,
  ) {
    super(description);
  }
}

/** An answer that is waited for; others than what it takes are nobody's: old answers, events. */
interface Expected {
  takes(message: AgentMessage): boolean;
  resolve(message: AgentMessage): void;
  reject(error: Error): void;
}

export class AgentChannel {
  readonly #socket: Socket;
  readonly #lines = new AgentLines();
  readonly #expected = new Set<Expected>();
  #failure: Error | undefined;

  /** Begins to connect to a unix socket; the first wait tells when that fails. */
  constructor(path: string) {
    this.#socket = connect({ path });
    this.#socket.on('data', (chunk) => {
      for (const message of this.#lines.push(chunk)) this.#take(message);
    });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.once('close', () => this.#fail(new Error('the connection was closed')));
  }

  /**
   * Afterwards the agent is known to listen, and every answer to earlier requests, of anybody, has been skipped.
   *
   * @throws Error of the socket, or the signal's reason
   */
  async sync(signal: AbortSignal): Promise<void> {
    const id = randomInt(1, 2 ** 31);
    const answer = this.#answer(
      ({ delimited, content }) => delimited && content.return === id,
      signal,
    );
    // Ends whatever line another client left unfinished: the agent drops it, with or without an error.
    this.#socket.write(Buffer.of(delimiter));
    this.#send({ execute: 'guest-sync-delimited', arguments: { id } });
    await answer;
  }

  /**
   * @returns what the agent returned
   * @throws AgentRefusal it answered with an error
   * @throws Error of the socket, or the signal's reason
   */
  async request(command: string, signal: AbortSignal): Promise<unknown> {
    const answer = this.#answer(
      ({ content }) => 'return' in content || isObject(content.error),
      signal,
    );
    this.#send({ execute: command });
    const { content } = await answer;
    if (isObject(content.error)) throw refusal(content.error);
    return content.return;
  }

  close(): void {
    this.#socket.destroy();
    this.#fail(new Error('the connection was closed'));
  }

  #send(request: object): void {
    this.#socket.write(`${JSON.stringify(request)}\n`);
  }

  async #answer(takes: Expected['takes'], signal: AbortSignal): Promise<AgentMessage> {
    if (this.#failure !== undefined) throw this.#failure;
    signal.throwIfAborted();
    const end = new AbortController();
    let expected: Expected | undefined;
    try {
      return await new Promise((resolve, reject) => {
        expected = { takes, resolve, reject };
        this.#expected.add(expected);
        signal.addEventListener('abort', () => reject(signal.reason), { signal: end.signal });
      });
    } finally {
      end.abort();
      if (expected !== undefined) this.#expected.delete(expected);
    }
  }

  /** Messages may come in one chunk: the next one must find the next answer expected already. */
  #take(message: AgentMessage): void {
    const [first] = this.#expected;
    if (!first?.takes(message)) return;
    this.#expected.delete(first);
    first.resolve(message);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const expected of this.#expected) expected.reject(this.#failure);
  }
}

function refusal(error: Record<string, unknown>): AgentRefusal {
  const description = typeof error.desc === 'string' ? error.desc : JSON.stringify(error);
  return new AgentRefusal(description, error.class === 'CommandNotFound');
}
