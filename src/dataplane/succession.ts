/**
 * What one process of the service leaves to the next: clients with their connections, and listening sockets.
 *
 *   park (listeners, then clients) → bequeath ──▶ inherit, or receive → (exports served) → adopt
 *
 * Guarantees: descriptors and what clients agreed on stay in the data plane. What nobody takes is closed, and its clients connect again.
 * Elsewhere: who the next process is (src/api/take-over.ts), what is parked how (native/nbd/session.h).
 */
import type { AdoptedClients } from './binding.ts';
import type { DataPlane, ListenerPlane } from './data-plane.ts';

export class SuccessionPlane {
  readonly #plane: DataPlane;

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Stops accepting; who connects from now on waits for the next process. */
  async parkListener(listener: ListenerPlane): Promise<void> {
    const { addon } = this.#plane;
    await this.#plane.call((token) => addon.parkListener(token, listener.handle));
  }

  /** Resolves when every client was answered and parked, or has gone. */
  async parkClients(): Promise<void> {
    await this.#plane.call((token) => this.#plane.addon.parkClients(token));
  }

  /**
   * Sends what was parked and closes it here.
   *
   * @param address datagram socket of the heir
   * @returns how many clients
   * @throws Error nobody is there, or takes nothing
   */
  async bequeath(address: string): Promise<number> {
    const done = await this.#plane.call((token) => this.#plane.addon.bequeath(token, address));
    return done.value;
  }

  /**
   * Takes what the supervisor has kept. Before the first listener.
   *
   * @param stored descriptors by name; none: what was inherited before is closed
   * @throws Error it is of another version or damaged, and closed now
   */
  inherit(stored: Readonly<Record<string, number>>): void {
    this.#plane.addon.inherit(stored);
  }

  /**
   * A socket at `path` for another process to bequeath to.
   *
   * @returns resolves with whether it did; `sendText(path, 'END=1')` ends the wait
   * @throws Error what came is of another version or damaged
   */
  receive(path: string, timeoutMs: number): { received: Promise<boolean> } {
    const { addon } = this.#plane;
    const mailbox = addon.openMailbox(path);
    const done = this.#plane.call((token) => addon.receiveSuccession(token, mailbox, timeoutMs));
    const received = done.then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECANCELED' || error.code === 'ETIMEDOUT') return false;
        throw error;
      },
    );
    return { received };
  }

  /** Inherited clients go on where their export is the same, others are closed; listeners accept from now on. */
  adopt(): AdoptedClients {
    return this.#plane.addon.adoptClients();
  }

  /** @throws Error nobody receives there */
  async sendText(address: string, text: string): Promise<void> {
    await this.#plane.call((token) => this.#plane.addon.sendText(token, address, text));
  }

  /** The supervisor has forgotten what it stored under the names. @throws Error it does not answer */
  async forgetStored(address: string, names: readonly string[]): Promise<void> {
    await this.#plane.call((token) => this.#plane.addon.forgetStored(token, address, names));
  }
}
