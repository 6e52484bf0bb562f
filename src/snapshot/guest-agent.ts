/**
 * Work while a guest's filesystems are frozen, through the QEMU guest agent.
 *
 *   sync → status → freeze → work → thaw
 *
 * Guarantees: from the moment that the freeze is asked for, a thaw is tried on every path: the work failed, the freeze
 * was refused half way, its answer did not come, the connection broke, the time is over. Nothing here waits for the
 * guest without a limit. Success means that the freeze held until the work had ended.
 *
 * A process that is killed meanwhile leaves its guest frozen: on Linux the agent knows no time limit of its own.
 *
 * Source: QEMU Guest Agent Protocol Reference, guest-fsfreeze-*.
 */
import type { StorageError } from '../base/errors.ts';
import { TimeLimit } from '../base/time-limit.ts';
import { abortReason } from '../volume/thick.ts';
import { AgentChannel, AgentRefusal } from './agent-channel.ts';
import { thawGuest } from './agent-thaw.ts';
import { didNotHold, frozenBefore, mayBeFrozen, notQuiesced } from './quiesce-errors.ts';

export interface QuiesceOptions {
  /** Path of the unix socket of QEMU's chardev behind org.qemu.guest_agent.0. */
  readonly socket: string;
  /** From the first connect to the end of the work; then the guest is thawed at once. */
  readonly timeoutMs: number;
  /** How long to wait for the answer to the thaw, on top. Windows takes its time to end a shadow copy. */
  readonly thawTimeoutMs?: number;
  /** Gives up early; the guest is thawed at once. */
  readonly signal?: AbortSignal;
}

/** What the work may know. */
export interface FrozenGuest {
  /** How many filesystems the agent froze; one or more. */
  readonly filesystems: number;
  /** Aborts when the guest is thawed before the work has ended: nothing done from then on counts. */
  readonly signal: AbortSignal;
}

const thawTimeoutMsDefault = 30_000;

/**
 * Runs `work` while the guest's filesystems are frozen.
 *
 * After an error the work may have run, in part or whole: whoever made something in it takes it back. Settles only when
 * the work has ended; the guest does not wait for that, it is thawed when the time is over.
 *
 * @returns what the work returned; the freeze held until then, and the guest is thawed
 * @throws StorageError snapshot/quiesce the agent is not there, silent or refuses; somebody else froze the guest, and it
 *   is left so; the guest was thawed before the work had ended; it may still be frozen, then the message says so
 * @throws StorageError the reason of `signal`, or op/state
 * @throws what `work` threw; the guest is thawed
 */
export async function withFrozenGuest<T>(
  options: QuiesceOptions,
  work: (guest: FrozenGuest) => Promise<T>,
): Promise<T> {
  const limit = new TimeLimit(options.timeoutMs, options.signal);
  const channel = new AgentChannel(options.socket);
  const session = new Session(options, channel, limit.signal);
  try {
    await session.expectThawed();
    const filesystems = await session.freeze();
    return await session.workFrozen({ filesystems, signal: limit.signal }, work);
  } finally {
    channel.close();
    limit.clear();
  }
}

class Session {
  readonly #options: QuiesceOptions;
  readonly #channel: AgentChannel;
  readonly #signal: AbortSignal;

  constructor(options: QuiesceOptions, channel: AgentChannel, signal: AbortSignal) {
    this.#options = options;
    this.#channel = channel;
    this.#signal = signal;
  }

  /** Reaches the agent. @throws StorageError also when the guest is frozen: whoever froze it will thaw it */
  async expectThawed(): Promise<void> {
    const status = await this.#status();
    if (status !== 'thawed') throw frozenBefore(this.#options.socket, status);
  }

  /** @returns the number of filesystems, one or more @throws StorageError nothing is frozen, or the message says so */
  async freeze(): Promise<number> {
    try {
      const answer = await this.#channel.request('guest-fsfreeze-freeze', this.#signal);
      const filesystems = countIn(answer);
      if (filesystems === 0) throw new Error('it has no filesystem that can be frozen');
      return filesystems;
    } catch (error) {
      // A refusal half way, or silence, does not tell what is frozen by now.
      const neverRan = error instanceof AgentRefusal && error.neverRan;
      const thawing = neverRan ? undefined : await settled(() => this.#thaw());
      if (thawing?.status === 'rejected') throw this.#mayBeFrozen(thawing.reason, error);
      throw this.#failure('the guest was not frozen', error);
    }
  }

  /** Works, then thaws. When the time is over first: thaws, then waits for the work. */
  async workFrozen<T>(guest: FrozenGuest, work: (guest: FrozenGuest) => Promise<T>): Promise<T> {
    const working = settled(() => work(guest));
    await Promise.race([working, aborted(this.#signal)]);
    const early = this.#signal.aborted;
    const thawing = await settled(() => this.#thaw());
    const worked = await working;
    if (thawing.status === 'rejected') {
      throw this.#mayBeFrozen(thawing.reason, early ? this.#signal.reason : reasonOf(worked));
    }
    if (early) {
      throw this.#failure('the guest was thawed before the work had ended', this.#signal.reason);
    }
    if (worked.status === 'rejected') throw worked.reason;
    // It may have thawed by itself, as Windows does after 10 s, or been restarted: then it wrote meanwhile.
    if (thawing.value < guest.filesystems) throw didNotHold(guest.filesystems, thawing.value);
    return worked.value;
  }

  async #status(): Promise<unknown> {
    try {
      await this.#channel.sync(this.#signal);
      return await this.#channel.request('guest-fsfreeze-status', this.#signal);
    } catch (error) {
      throw this.#failure('the guest was not frozen', error);
    }
  }

  async #thaw(): Promise<number> {
    const { socket, thawTimeoutMs = thawTimeoutMsDefault } = this.#options;
    return countIn(await thawGuest(socket, this.#channel, thawTimeoutMs));
  }

  #failure(what: string, cause: unknown): StorageError {
    const { signal, socket } = this.#options;
    return signal?.aborted ? abortReason(signal) : notQuiesced(socket, what, cause);
  }

  #mayBeFrozen(thawError: unknown, before: unknown): StorageError {
    return mayBeFrozen(this.#options.socket, thawError, before);
  }
}

/** @throws Error the agent's answer is no number of filesystems */
function countIn(answer: unknown): number {
  if (Number.isSafeInteger(answer) && (answer as number) >= 0) return answer as number;
  throw new Error(`its answer ${JSON.stringify(answer)} is no number of filesystems`);
}

/** How the work ended; also what it throws before it gives a promise. */
async function settled<T>(work: () => Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([(async () => work())()]);
  return result;
}

function reasonOf(result: PromiseSettledResult<unknown>): unknown {
  return result.status === 'rejected' ? result.reason : undefined;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
