/**
 * The QEMU guest agent: a guest's filesystems are frozen while something is done, and thawed whatever happens.
 *
 *   connect → sync (what an earlier client left is thrown away) → freeze → work → thaw
 *
 * Guarantees: nothing here waits without end; once a freeze was asked for, a thaw is tried on every way out. The whole counts as quiesced only
 * when the guest was frozen from before the work until behind it: a guest that had thawed itself meanwhile is an error.
 * Source: QEMU's guest agent protocol (qga/qapi-schema.json): JSON lines; 0xFF before an answer to guest-sync-delimited.
 */
import { randomInt } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { StorageError } from '../base/errors.ts';

export interface GuestAgentOptions {
  /** The socket that QEMU or libvirt connects to the guest's agent. */
  readonly socket: string;
  /** The guest is thawed after this, and the whole has failed. */
  readonly timeoutMs: number;
}

const answerBytesMax = 64 * 1024;
/** For the thaw, when the rest of the time is used up. */
const thawMs = 5_000;
const delimiter = 0xff;

/**
 * Runs `work` while the guest's filesystems are frozen.
 *
 * @throws StorageError snapshot/quiesce the agent does not answer, refuses, or the guest was not frozen all the time; what `work` throws
 */
export async function withFrozenGuest<T>(
  { socket, timeoutMs }: GuestAgentOptions,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  const agent = await GuestAgent.connect(socket, deadline);
  try {
    await agent.sync(deadline);
    if ((await agent.call('guest-fsfreeze-status', deadline)) !== 'thawed') {
      throw quiesceError('the guest is frozen already, by somebody else');
    }
    return await frozen(agent, deadline, work);
  } finally {
    agent.close();
  }
}

async function frozen<T>(agent: GuestAgent, deadline: number, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    await agent.call('guest-fsfreeze-freeze', deadline);
    result = await beforeDeadline(
      work(),
      deadline,
      'the guest had to be thawed before the work was done',
    );
  } catch (error) {
    await thaw(agent).catch(() => {});
    throw error;
  }
  if ((await thaw(agent)) === 0) {
    throw quiesceError('the guest had thawed itself before the work was done');
  }
  return result;
}

/** @returns how many filesystems were frozen until now */
async function thaw(agent: GuestAgent): Promise<number> {
  const count = await agent.call('guest-fsfreeze-thaw', Date.now() + thawMs);
  return typeof count === 'number' ? count : 0;
}

class GuestAgent {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => this.#received(data));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#failed(new Error('the connection was closed')));
  }

  static async connect(path: string, deadline: number): Promise<GuestAgent> {
    const socket = connect(path);
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) => {
        reject(quiesceError(`no guest agent at ${path}: ${cause.message}`, cause));
      });
    });
    try {
      await beforeDeadline(connected, deadline, `no guest agent answers at ${path}`);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return new GuestAgent(socket);
  }

  /** Throws away whatever was answered to others before. */
  async sync(deadline: number): Promise<void> {
    const id = randomInt(1, 2 ** 31);
    this.#socket.write(Buffer.from([delimiter]));
    this.#send('guest-sync-delimited', { id });
    for (;;) {
      const answer = await this.#line(deadline, true);
      if (answer.return === id) return;
    }
  }

  async call(command: string, deadline: number): Promise<unknown> {
    this.#send(command);
    for (;;) {
      const answer = await this.#line(deadline, false);
      if (answer.error !== undefined) {
        const { desc } = answer.error as { desc?: unknown };
        throw quiesceError(`the guest agent refuses ${command}: ${String(desc ?? 'no reason')}`);
      }
      if ('return' in answer) return answer.return;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(execute: string, parameters?: object): void {
    const command = parameters === undefined ? { execute } : { execute, arguments: parameters };
    this.#socket.write(`${JSON.stringify(command)}\n`);
  }

  /** The next message; behind the delimiter, when what came before it does not count. */
  async #line(deadline: number, afterDelimiter: boolean): Promise<Record<string, unknown>> {
    for (;;) {
      if (afterDelimiter) this.#dropBefore(this.#bytes.lastIndexOf(delimiter));
      const end = this.#bytes.indexOf('\n');
      if (end >= 0) {
        const line = this.#bytes.subarray(0, end).toString('utf8');
        this.#bytes = this.#bytes.subarray(end + 1);
        const message = parseObject(line);
        if (message !== undefined) return message;
        continue;
      }
      if (this.#failure !== undefined) {
        throw quiesceError(`the guest agent is gone: ${this.#failure.message}`, this.#failure);
      }
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await beforeDeadline(more, deadline, 'the guest agent does not answer');
    }
  }

  #dropBefore(at: number): void {
    if (at >= 0) this.#bytes = this.#bytes.subarray(at + 1);
  }

  #received(data: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, data]);
    if (this.#bytes.length > answerBytesMax) this.#failed(new Error('its answer has no end'));
    this.#wake();
  }

  #failed(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#wake();
  }
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

async function beforeDeadline<T>(work: Promise<T>, deadline: number, late: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    const left = Math.max(0, deadline - Date.now());
    timer = setTimeout(() => reject(quiesceError(late)), left);
  });
  try {
    return await Promise.race([work, passed]);
  } finally {
    clearTimeout(timer);
  }
}

function quiesceError(message: string, cause?: unknown): StorageError {
  return new StorageError('snapshot/quiesce', message, { cause });
}
