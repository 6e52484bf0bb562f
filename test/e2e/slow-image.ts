/**
 * An image behind a server that reads little of it per second, until it is told to hurry; one that can go away and come back.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from '../../tools/lib/daemon.ts';

export interface SlowImageOptions {
  /** Where its socket lies. */
  readonly folder: string;
  /** A qcow2 file. */
  readonly image: string;
  /** In bits per second, as nbdkit has them. */
  readonly rate: string;
}

export class SlowImage {
  readonly #options: SlowImageOptions;
  readonly #rate: string;
  readonly #socket: string;
  #server: Daemon;
  /** What loads it. */
  readonly asked: { readonly source: string; readonly format: 'qcow2' };

  private constructor(options: SlowImageOptions) {
    this.#options = options;
    this.#rate = join(options.folder, 'rate');
    this.#socket = join(options.folder, 'source.sock');
    writeFileSync(this.#rate, options.rate);
    this.#server = this.#launch();
    this.asked = { source: `nbd+unix:///?socket=${this.#socket}`, format: 'qcow2' };
  }

  static async serve(options: SlowImageOptions): Promise<SlowImage> {
    const slow = new SlowImage(options);
    await slow.#listening();
    return slow;
  }

  hurry(): void {
    writeFileSync(this.#rate, '8G');
  }

  async end(): Promise<void> {
    await this.#server.end('SIGKILL');
    rmSync(this.#socket, { force: true });
  }

  /** It takes connections, and answers nothing. */
  stall(): void {
    this.#server.signal('SIGSTOP');
  }

  goOn(): void {
    this.#server.signal('SIGCONT');
  }

  /** As it was; behind `end`. */
  async comeBack(): Promise<void> {
    this.#server = this.#launch();
    await this.#listening();
  }

  #launch(): Daemon {
    // One request at a time: nbdkit ends itself when a client goes while several of its requests wait (assertion in raw_send_socket).
    const serving = ['-f', '-r', '-U', this.#socket, '--threads=1'];
    const args = [...serving, '--filter=rate', 'file', this.#options.image];
    return new Daemon('nbdkit', [...args, `rate-file=${this.#rate}`]).drainOutput();
  }

  async #listening(): Promise<void> {
    await this.#server.until(async () => existsSync(this.#socket));
  }
}
