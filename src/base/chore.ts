/**
 * Chore: background work that is looked for whenever somebody says that there may be some; one look at a time.
 *
 *   idle → due → working → idle        woken while it works: due again behind it; woken while it is due: one look is enough for both
 */
export class Chore {
  readonly #look: () => Promise<void>;
  #work: Promise<void> = Promise.resolve();
  #isDue = false;
  readonly #stopping = new AbortController();

  /** @param look never fails; ends early once the chore is stopped */
  constructor(look: () => Promise<void>) {
    this.#look = look;
  }

  get isStopped(): boolean {
    return this.stopping.aborted;
  }

  /** Aborted when the chore is to stop. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Resolves behind a look that began after this call. */
  wake(): Promise<void> {
    if (!this.#isDue) {
      this.#isDue = true;
      this.#work = this.#work.then(() => {
        this.#isDue = false;
        return this.#look();
      });
    }
    return this.#work;
  }

  /** Ends behind the step under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }
}
