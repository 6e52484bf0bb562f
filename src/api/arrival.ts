/**
 * Pools that begin to be served while the service runs: they were imported, or can be opened at last.
 *
 * Volumes that were on their way from or to them are found to be in one pool; then what is here is served. One after the other, and none once the
 * service stops.
 */
import { Mutex } from '../base/mutex.ts';
import type { RecordPool } from '../export/export-store.ts';
import { dropAbandonedMoments } from '../snapshot/moment.ts';
import type { ApiServices } from './ports.ts';

type ArrivalParts = Pick<
  ApiServices,
  'exports' | 'operations' | 'poolMoves' | 'pools' | 'snapshots'
>;

export class Arrivals {
  readonly #parts: ArrivalParts;
  readonly #turns = new Mutex();
  #isClosed = false;

  constructor(parts: ArrivalParts) {
    this.#parts = parts;
  }

  arrived(name: string): Promise<void> {
    return this.#turns.run(async () => {
      if (!this.#isClosed) await this.#serve(name);
    });
  }

  /** What operations left behind that do not go on is given back, in every pool that is open. */
  async dropAbandoned(): Promise<void> {
    const { operations, poolMoves, snapshots } = this.#parts;
    await poolMoves.dropAbandoned((volume) => operations.find('volume-move', volume) !== undefined);
    await dropAbandonedMoments({ snapshots }, ({ volume, snapshot }) =>
      operations.isAskedFor({ volume, snapshot }),
    );
  }

  /** Nothing is served any more on behalf of an arrival when it resolves. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#turns.run(async () => {});
  }

  async #serve(name: string): Promise<void> {
    const { exports, poolMoves, pools } = this.#parts;
    const changed = await poolMoves.settle();
    await this.dropAbandoned();
    const isMeant = (pool: RecordPool) => [name, ...changed].includes(pool.info().name);
    for (const pool of pools.all().filter(isMeant)) await exports.restore(pool);
  }
}
