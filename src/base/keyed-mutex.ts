/**
 * For each key one at a time; work of several keys has all of them at once.
 *
 * Guarantees: works that share a key run in the order of asking, but that one of several keys is overtaken while some of these are held: who waits for a
 * key holds no other, so that a work that does not end stops nobody who shares no key with it, and none wait for each other.
 */

interface Waiting {
  readonly keys: readonly string[];
  readonly begin: () => void;
}

export class KeyedMutex {
  readonly #held = new Set<string>();
  #waiting: Waiting[] = [];

  /** Runs `work` when all keys are free. */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ keys, begin });
      this.#beginAll();
    });
    try {
      return await work();
    } finally {
      for (const key of keys) this.#held.delete(key);
      this.#beginAll();
    }
  }

  #beginAll(): void {
    this.#waiting = this.#waiting.filter(({ keys, begin }) => {
      if (keys.some((key) => this.#held.has(key))) return true;
      for (const key of keys) this.#held.add(key);
      begin();
      return false;
    });
  }
}
