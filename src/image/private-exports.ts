/**
 * Volumes served to a child process of ours, on a socket that nobody else is told of.
 *
 * What is copied goes by NBD between the child and the data plane, never through JavaScript.
 */
import { newUuid } from '../base/ids.ts';
import { Mutex } from '../base/mutex.ts';
import type { DataPlane, VolumePlane } from '../dataplane/data-plane.ts';
import { Listeners } from '../export/listeners.ts';

export interface PrivateExportOptions {
  /** Of the volume or snapshot. */
  readonly name: string;
  readonly readOnly: boolean;
}

export class PrivateExports {
  readonly #dataPlane: Pick<DataPlane, 'listen' | 'addExport' | 'removeExport'>;
  readonly #path: string;
  readonly #listeners: Listeners;
  readonly #holding = new Mutex();

  /** @param path of the socket; it is there while something is served */
  constructor(dataPlane: Pick<DataPlane, 'listen' | 'addExport' | 'removeExport'>, path: string) {
    this.#dataPlane = dataPlane;
    this.#path = path;
    this.#listeners = new Listeners(dataPlane);
  }

  /** @param work is given the URI; whoever is still connected behind it is cut off @throws StorageError export/listen */
  async serving<T>(
    plane: VolumePlane,
    { name, readOnly }: PrivateExportOptions,
    work: (uri: string) => Promise<T>,
  ): Promise<T> {
    // No export of a user has a colon in its name; several may read one snapshot.
    const exportName = `image:${name}:${newUuid().slice(0, 8)}`;
    const address = { kind: 'unix', path: this.#path } as const;
    const listener = await this.#holding.run(() => this.#listeners.hold(address));
    try {
      const description = `for an image of ${name}`;
      const spec = { name: exportName, description, readOnly, contexts: [] };
      this.#dataPlane.addExport(plane, [listener.plane], spec);
      try {
        const socket = encodeURIComponent(this.#path);
        return await work(`nbd+unix:///${encodeURIComponent(exportName)}?socket=${socket}`);
      } finally {
        await this.#dataPlane.removeExport(exportName, { abort: true });
      }
    } finally {
      await this.#holding.run(() => this.#listeners.release(listener));
    }
  }
}
