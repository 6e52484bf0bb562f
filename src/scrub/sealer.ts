/**
 * Sealer: seals what is frozen in one pool, in the background, so that a scrub can tell whether it still is what it was.
 *
 * It goes gently: guests come first (src/pool/governor.ts), and also where there are none it takes no more than a share of the disks. While a disk
 * fails it rests. A layer that was sealed as a whole is looked at again when its map has changed since.
 */
import { Chore } from '../base/chore.ts';
import { type Clock, yieldToOthers } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { slotsFor } from '../migration/movement.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import { Pace } from '../pool/pace.ts';
import type { Pool } from '../pool/pool.ts';
import { regionsOf } from '../snapshot/regions.ts';
import { frozenLayers, isFrozen } from './frozen-layers.ts';
import { contentBytes, sealClusters, unsealedIn } from './sealing.ts';

/** Snapshots that are deleted sooner are not read at all. */
const lookMs = 10_000;
/** A TiB takes five hours. */
const rateBytes = 64 * MiB;
/** 8 MiB at the default cluster size; their seals are far smaller than a batch. */
const clustersPerTurn = 128;

export interface SealerParts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export class Sealer {
  readonly #parts: SealerParts;
  readonly #stopLooking: () => void;
  readonly #chore = new Chore(() => this.#sealAll());
  readonly #pace: Pace;
  /** Changes of each layer's map before all of it was sealed. */
  readonly #sealed = new Map<number, number>();

  constructor(parts: SealerParts) {
    this.#parts = parts;
    this.#pace = new Pace({ rateBytes, whileRunning: async () => this.#expectRunning() });
    this.#stopLooking = parts.clock.every(lookMs, () => void this.wake());
  }

  /** Looks what is frozen and not sealed; resolves behind that. */
  wake(): Promise<void> {
    return this.#chore.wake();
  }

  /** Ends behind what is being read. */
  async stop(): Promise<void> {
    this.#stopLooking();
    await this.#chore.stop();
  }

  async #sealAll(): Promise<void> {
    const { pool, onError } = this.#parts;
    try {
      const layers = frozenLayers(pool).filter(
        (layer) => this.#sealed.get(layer) !== pool.index.state.patchesOf(layer),
      );
      for (const layer of layers) await this.#sealLayer(layer);
    } catch (error) {
      const isOver = error instanceof StorageError && overCodes.includes(error.code);
      if (!isOver) onError(error);
    }
  }

  async #sealLayer(layer: number): Promise<void> {
    const { pool } = this.#parts;
    const patches = pool.index.state.patchesOf(layer);
    for await (const { region, stack } of regionsOf(pool, [layer], { seals: true })) {
      this.#expectRunning();
      if (!(await this.#sealRegion(layer, region, stack[0] as SlotStates))) return;
      await yieldToOthers();
    }
    this.#sealed.set(layer, patches);
  }

  /** @returns false when the layer cannot be sealed now */
  async #sealRegion(layer: number, region: number, states: SlotStates): Promise<boolean> {
    const { pool } = this.#parts;
    const unsealed = unsealedIn(layer, region, states);
    for (let at = 0, end = 0; at < unsealed.length; at = end) {
      end = at + slotsFor(pool, clustersPerTurn);
      const clusters = unsealed.slice(at, end);
      const bytes = contentBytes(pool, clusters);
      await this.#pace.before(bytes);
      if (!isFrozen(pool, layer) || !areDisksOnline(pool)) return false;
      await pool.noteSeals();
      await pool.governor.run(async () => {
        await sealClusters(pool, clusters);
        return bytes;
      });
    }
    return true;
  }

  #expectRunning(): void {
    if (this.#chore.isStopped) throw new StorageError('service/stopping', 'the pool is closed');
  }
}

/** Neither a label nor a cluster is waited for: who closes the pool waits for us. */
function areDisksOnline(pool: Pool): boolean {
  return pool.disks.every(({ plane }) => plane.condition.state === 'online');
}

const overCodes: readonly string[] = ['service/stopping', 'pool/failed'];
