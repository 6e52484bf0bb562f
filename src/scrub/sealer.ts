/**
 * Sealer: seals what is frozen in one pool, in the background, so that a scrub can tell whether it still is what it was.
 *
 * It goes gently: guests come first (src/pool/governor.ts), and also where there are none it takes no more than a share of the disks and of the
 * event loop. While a disk fails it rests. The newest layer comes first. One that was sealed as a whole is looked at again when its map has changed since.
 */
import { Chore } from '../base/chore.ts';
import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { MiB } from '../base/units.ts';
import { slotsFor } from '../migration/movement.ts';
import type { SlotStates } from '../pool/format/slot-states.ts';
import { Pace } from '../pool/pace.ts';
import type { Pool } from '../pool/pool.ts';
import { regionsOf } from '../snapshot/regions.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import { frozenLayers, isFrozen } from './frozen-layers.ts';
import { contentBytes, type LayerCluster, sealClusters, unsealedIn } from './sealing.ts';

/** Snapshots that are deleted sooner are not read at all. */
const lookMs = 10_000;
/** A TiB takes five hours. */
const rateBytes = 64 * MiB;
/** 8 MiB at the default cluster size; their seals are far smaller than a batch. */
const clustersPerTurn = 128;
/** Looked through in one go: one by one, most of what they cost would be the waking up. */
const looksPerTurn = 32;
/** What looking through the map of a region counts for: with clusters of 64 KiB a TiB takes two minutes. */
const lookBytes = 2 * MiB;

export interface SealerParts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** What was found and is not sealed yet. */
interface Gathered {
  /** Layers begun and regions looked through since the last turn. */
  looks: number;
  readonly clusters: LayerCluster[];
  /** Layers that were looked through, and the changes of their maps before. */
  readonly whole: Map<number, number>;
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
    this.#pace = new Pace({
      rateBytes,
      whileRunning: async () => this.#expectRunning(),
      signal: this.#chore.stopping,
    });
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
      this.#forgetAllBut(frozenLayers(pool));
      const gathered: Gathered = { looks: 0, clusters: [], whole: new Map() };
      for (const layer of this.#due()) {
        const patches = pool.index.state.patchesOf(layer);
        await this.#gather(layer, gathered);
        gathered.whole.set(layer, patches);
      }
      await this.#seal(gathered);
    } catch (error) {
      if (!endsLook(error)) onError(error);
    }
  }

  #forgetAllBut(layers: readonly number[]): void {
    const known = new Set(layers);
    for (const layer of this.#sealed.keys()) if (!known.has(layer)) this.#sealed.delete(layer);
  }

  /** What is frozen and not known to be sealed, each layer once, the newest first: also what is frozen meanwhile. */
  *#due(): Generator<number> {
    const { pool } = this.#parts;
    const looked = new Set<number>();
    let tree: LayerTree | undefined;
    let due: number[] = [];
    for (;;) {
      if (tree !== LayerTree.of(pool)) {
        tree = LayerTree.of(pool);
        due = frozenLayers(pool).filter((layer) => !looked.has(layer));
      }
      const layer = due.pop();
      if (layer === undefined) return;
      looked.add(layer);
      if (this.#sealed.get(layer) !== pool.index.state.patchesOf(layer)) yield layer;
    }
  }

  /** Many layers of few clusters are sealed together: a turn each would cost more than the reading. */
  async #gather(layer: number, gathered: Gathered): Promise<void> {
    await this.#looked(gathered);
    for await (const { region, stack } of regionsOf(this.#parts.pool, [layer], { seals: true })) {
      gathered.clusters.push(...unsealedIn(layer, region, stack[0] as SlotStates));
      await this.#looked(gathered);
    }
  }

  async #looked(gathered: Gathered): Promise<void> {
    this.#expectRunning();
    gathered.looks++;
    const isTurn =
      gathered.looks >= looksPerTurn ||
      gathered.clusters.length >= slotsFor(this.#parts.pool, clustersPerTurn);
    if (isTurn) await this.#seal(gathered);
  }

  /** All that was gathered. @throws DiskAway */
  async #seal(gathered: Gathered): Promise<void> {
    const { pool } = this.#parts;
    const { clusters, whole } = gathered;
    await this.#pace.before(gathered.looks * lookBytes);
    gathered.looks = 0;
    const unsealed = clusters.splice(0);
    for (let at = 0, end = 0; at < unsealed.length; at = end) {
      end = at + slotsFor(pool, clustersPerTurn);
      await this.#sealTurn(unsealed.slice(at, end));
    }
    for (const [layer, patches] of whole) this.#sealed.set(layer, patches);
    whole.clear();
  }

  async #sealTurn(clusters: readonly LayerCluster[]): Promise<void> {
    const { pool } = this.#parts;
    await this.#pace.before(contentBytes(pool, clusters));
    const frozen = clusters.filter(({ layer }) => isFrozen(pool, layer));
    if (frozen.length === 0) return;
    expectDisks(pool);
    await pool.noteSeals();
    await pool.governor.run(async () => {
      this.#expectRunning();
      await sealClusters(pool, frozen);
      return contentBytes(pool, frozen);
    });
    // What one that failed meanwhile could not give is to be looked at again.
    expectDisks(pool);
  }

  #expectRunning(): void {
    if (this.#chore.isStopped) throw new StorageError('service/stopping', 'the pool is closed');
  }
}

/** Neither a label nor a cluster is waited for: who closes the pool waits for us. */
function expectDisks(pool: Pool): void {
  const areOnline = pool.disks.every(({ plane }) => plane.condition.state === 'online');
  if (!areOnline) throw new DiskAway();
}

/** Ends a look; the next one begins with the first layer that is not sealed as a whole. */
class DiskAway extends Error {}

function endsLook(error: unknown): boolean {
  return error instanceof StorageError ? overCodes.includes(error.code) : error instanceof DiskAway;
}

const overCodes: readonly string[] = ['service/stopping', 'pool/failed'];
