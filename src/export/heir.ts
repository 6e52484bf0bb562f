/**
 * Who goes on with our clients: the next process of the service, at a datagram socket.
 *
 * Guarantees: clients are answered before they are left; one that cannot be in ten seconds is closed, and said.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import type { ListenerPlane } from '../dataplane/data-plane.ts';
import type { SuccessionPlane } from '../dataplane/succession.ts';
import type { EmitEvent } from '../pool/types.ts';

/** Requests that take longer have something wrong with them; the other guests are not to wait for it. */
const parkMsMax = 10_000;

export type HeirPlane = Pick<SuccessionPlane, 'parkListener' | 'parkClients' | 'bequeath'>;

export class Heir {
  readonly #plane: HeirPlane;
  readonly #address: string;
  readonly #emit: EmitEvent;

  constructor(plane: HeirPlane, address: string, emit: EmitEvent) {
    this.#plane = plane;
    this.#address = address;
    this.#emit = emit;
  }

  /** Who connects from now on waits for the heir. */
  parkListener(listener: ListenerPlane): Promise<void> {
    return this.#plane.parkListener(listener);
  }

  /** The clients are the heir's; whoever is left is to be closed. Never fails: clients that nobody takes are closed. */
  async takeClients(): Promise<void> {
    const inTime = new AbortController();
    const deadline = delay(parkMsMax, undefined, { signal: inTime.signal }).catch(() => undefined);
    await Promise.race([this.#plane.parkClients(), deadline]);
    inTime.abort();
    try {
      const clients = await this.#plane.bequeath(this.#address);
      const message = `${clients} clients are left to the next service with their connections`;
      this.#emit({ kind: 'service/clients-left', level: 'info', subject: 'service', message });
    } catch (error) {
      const message = `clients could not be left to the next service, they connect again: ${messageOf(error)}`;
      this.#emit({ kind: 'client/not-handed-over', level: 'warning', subject: 'service', message });
    }
  }
}
