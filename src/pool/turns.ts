/**
 * Turns: background work of a pool that reads or writes volumes, piece by piece, each when its turn has come.
 *
 *   not paused, paid for at the rate that was asked for (pace.ts) → as guests bear it (governor.ts) → read or written
 */
import { KiB } from '../base/units.ts';
import type { Governor } from './governor.ts';
import { Pace, type PaceOptions } from './pace.ts';

/** What pieces are made of; less would cost more than it moves. */
const unitBytes = 64 * KiB;
/** At a low rate one piece is worth so much time: the work pauses and ends no later. */
const pieceSeconds = 0.25;

export class Turns {
  readonly #governor: Governor;
  readonly #pace: Pace;
  readonly #rateBytes: number;

  constructor(governor: Governor, options: PaceOptions) {
    this.#governor = governor;
    this.#pace = new Pace(options);
    this.#rateBytes = options.rateBytes ?? Number.POSITIVE_INFINITY;
  }

  get isHeldBack(): boolean {
    return this.#governor.isHeldBack;
  }

  /** How large the next piece had better be: `most`, or less beside guests and at a low rate. */
  pieceBytes(most: number): number {
    const borne = Math.min(this.#governor.bytesPerTurn, this.#rateBytes * pieceSeconds);
    return Math.min(most, Math.max(unitBytes, Math.floor(borne / unitBytes) * unitBytes));
  }

  /** Resolves when so many bytes may be read or written for all that was asked for. @throws the reason to stop */
  before(bytes: number): Promise<void> {
    return this.#pace.before(bytes);
  }

  /**
   * Does the work, which reads or writes so many bytes, when guests bear it. Whoever waits holds nothing that work under way may wait for.
   *
   * @throws what `work` throws; StorageError pool/failed
   */
  async take<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    let result: T | undefined;
    await this.#governor.run(async () => {
      result = await work();
      return bytes;
    });
    return result as T;
  }
}
