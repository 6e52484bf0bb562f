/**
 * The bytes of a stream as somebody hands them over, part by part; each is taken when it has been read.
 *
 * Guarantees: parts are told by where they begin, so that one that is sent twice is taken once, and none can be left out; whoever stops sending
 * is given up after a while, and the stream is cut then.
 */
import { StorageError } from '../base/errors.ts';
import type { ByteSource } from './byte-source.ts';

/** A reader on the other end of a slow network may pause, but not for ever: the volume's name is taken meanwhile. */
const patienceMs = 120_000;

export class PushedSource implements ByteSource {
  readonly #patienceMs: number;
  #part: Uint8Array = new Uint8Array(0);
  #pushedBytes = 0;
  #isEnded = false;
  #failure: unknown;
  /** Whoever waits, for a part or for one to be taken. */
  #wake: () => void = () => {};
  #changed: Promise<void> = new Promise((resolve) => {
    this.#wake = resolve;
  });

  constructor(waitMs = patienceMs) {
    this.#patienceMs = waitMs;
  }

  /**
   * Resolves when the part has been read.
   *
   * @param isLast nothing comes behind it
   * @throws StorageError request/precondition something is missing before it; why nobody reads any more
   */
  async push(offset: number, part: Uint8Array, isLast: boolean): Promise<void> {
    if (offset > this.#pushedBytes || this.#isEnded) {
      const here = `${this.#pushedBytes} bytes are here`;
      throw new StorageError('request/precondition', `the part begins at ${offset}, ${here}`);
    }
    const isNew = offset === this.#pushedBytes;
    if (isNew) {
      this.#part = part;
      this.#pushedBytes += part.length;
      this.#isEnded = isLast;
      this.#tell();
    }
    while (this.#part.length > 0 && this.#failure === undefined) await this.#changed;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Nobody reads any more. */
  get isClosed(): boolean {
    return this.#failure !== undefined;
  }

  /** From now on nobody reads any more. */
  fail(reason: unknown): void {
    this.#failure ??= reason;
    this.#tell();
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      if (this.#part.length === 0 && !(await this.#comesMore())) break;
      const taken = this.#part.subarray(0, into.length - filled);
      into.set(taken, filled);
      filled += taken.length;
      this.#part = this.#part.subarray(taken.length);
      if (this.#part.length === 0) this.#tell();
    }
    return filled;
  }

  /** @throws StorageError backup/cut nobody sends any more; why nobody is to read */
  async #comesMore(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, this.#patienceMs, 'late');
    });
    try {
      while (this.#part.length === 0 && !this.#isEnded && this.#failure === undefined) {
        if ((await Promise.race([this.#changed, late])) === 'late') throw givenUp();
      }
    } finally {
      clearTimeout(timer);
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#part.length > 0;
  }

  #tell(): void {
    this.#wake();
    this.#changed = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

function givenUp(): StorageError {
  return new StorageError('backup/cut', 'whoever sends the stream has stopped');
}
