/**
 * Gate: long work passes it between its steps; while it is closed, the work waits there.
 */
export class Gate {
  readonly #signal: AbortSignal;
  #opened: Promise<void> = Promise.resolve();
  #open: () => void = () => {};

  /** @param signal ends every wait */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#open(), { once: true });
  }

  setClosed(isClosed: boolean): void {
    this.#open();
    if (!isClosed) return;
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  /** Resolves when the gate is open. @throws the signal's reason */
  async passed(): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#opened;
    this.#signal.throwIfAborted();
  }
}
