/**
 * Sockets that NBD clients connect to, shared by the exports that are reachable through them.
 *
 * Invariants: one listener per address; it is open while at least one export holds it. A unix socket has mode 0660
 * and is removed when it closes, unless it was left to the next process.
 */
import { chmod, rm } from 'node:fs/promises';
import { invariant, messageOf, StorageError } from '../base/errors.ts';
import type { DataPlane, ListenerPlane } from '../dataplane/data-plane.ts';
import { type Address, checkUnixPath, formatAddress } from './address.ts';

/** Members of the service's group may use a socket; the state folder's mode decides who reaches it. */
const socketMode = 0o660;

export interface Listener {
  /** With the port in use, also where port 0 was asked for. */
  readonly address: Address;
  readonly plane: ListenerPlane;
}

interface Shared extends Listener {
  holders: number;
}

export class Listeners {
  readonly #dataPlane: Pick<DataPlane, 'listen'>;
  readonly #open = new Map<string, Shared>();
  #left = false;

  constructor(dataPlane: Pick<DataPlane, 'listen'>) {
    this.#dataPlane = dataPlane;
  }

  /**
   * Listens on the address, or shares the listener that does. Calls must not overlap (ExportService queues them).
   *
   * @throws StorageError export/listen the address is taken or not permitted
   */
  async hold(address: Address): Promise<Listener> {
    const known = this.#open.get(formatAddress(address));
    if (known !== undefined) {
      known.holders += 1;
      return known;
    }
    const listener = { ...(await this.#listen(address)), holders: 1 };
    this.#open.set(formatAddress(listener.address), listener);
    return listener;
  }

  /** Leaves every socket to the next process, by `park`; they are closed here then. Nothing is held from now on. */
  async leave(park: (plane: ListenerPlane) => Promise<void>): Promise<void> {
    this.#left = true;
    for (const { plane } of this.#open.values()) await park(plane);
  }

  /** Gives a hold back; the last one closes the listener. */
  async release(listener: Listener): Promise<void> {
    const key = formatAddress(listener.address);
    const shared = this.#open.get(key);
    invariant(shared !== undefined, `listener ${key} is open`);
    shared.holders -= 1;
    if (shared.holders > 0) return;
    this.#open.delete(key);
    if (this.#left) return;
    await shared.plane.close();
    if (shared.address.kind === 'unix') await rm(shared.address.path, { force: true });
  }

  async #listen(address: Address): Promise<Listener> {
    if (address.kind === 'unix') {
      // The data plane goes on with a socket that was left to us, and replaces one that nobody answers.
      checkUnixPath(address.path);
      const plane = await this.#bind(address, { path: address.path });
      await chmod(address.path, socketMode);
      return { address, plane };
    }
    const plane = await this.#bind(address, { host: address.host, port: address.port });
    return { address: { ...address, port: plane.port }, plane };
  }

  async #bind(address: Address, spec: { path?: string; host?: string; port?: number }) {
    try {
      return await this.#dataPlane.listen(spec);
    } catch (cause) {
      const reason = messageOf(cause);
      throw new StorageError(
        'export/listen',
        `cannot listen on ${formatAddress(address)}: ${reason}`,
        {
          cause,
          actions: ['choose another address, or stop what holds it'],
        },
      );
    }
  }
}
