/**
 * Janitor: makes the layer tree of one pool as small as its names allow, in the background.
 *
 *   a snapshot is deleted → its layer has no name → it becomes one with the layer that reads through it
 *
 * Metadata moves, data stays where it is. One step (a region or a few) at a time between other changes of structure; each step is whole by itself, so that a
 * kill leaves less to do, and the next opening goes on. What the head above shares a slot with stays where it is (residue) until
 * the head has overwritten it: looked at again now and then.
 * Elsewhere: layers that nobody reads through (src/volume/reaper.ts), what happens in a region (layer-pair.ts).
 */
import { once } from 'node:events';
import { Chore } from '../base/chore.ts';
import { type Clock, yieldToOthers } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import { leavesPerRegion, slotsPerRegion } from '../base/units.ts';
import type { VolumePlane } from '../dataplane/data-plane.ts';
import type { BatchOp } from '../pool/format/batch.ts';
import type { Pool } from '../pool/pool.ts';
import { putRecord } from '../pool/pool-records.ts';
import { volumeKey } from '../volume/chain.ts';
import { LayerTree, type Reduction } from '../volume/layer-tree.ts';
import { deleteLayerOp, layerOp } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import type { VolumeService } from '../volume/volume-service.ts';
import { absorbRegion, mergeRegions, type Pair, pruneRegion } from './layer-pair.ts';
import { Cover } from './merge.ts';
import { bookmarkRecords, snapshotRecords } from './records.ts';

/** A head may have overwritten what was left in the layer below. */
const lookAgainMs = 60_000;
/** Of what a pruned layer has left: when the head above has grown by that much it may hide more of it. */
const grownPart = 1 / 256;
/** More children than this are not re-pointed: then the layer that has them stays, whichever is larger. */
const childrenMovedMax = 256;

/** Layers that nobody writes to: one durable batch for 16,384 slots, which takes the event loop some twenty milliseconds. */
const regionsPerMerge = 4;

/** Two layers take part; a reap is the reaper's. */
type Shrinking = Exclude<Reduction, { kind: 'reap' }>;
type Kind<K extends Reduction['kind']> = Extract<Reduction, { kind: K }>;

export interface JanitorParts {
  readonly pool: Pool;
  readonly volumes: VolumeService;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export class Janitor {
  readonly #parts: JanitorParts;
  readonly #stopLooking: () => void;
  /** Layers of which something had to stay, and when that was found. */
  readonly #residue = new Map<number, string>();
  readonly #chore = new Chore(() => this.#reduceAll());

  constructor(parts: JanitorParts) {
    this.#parts = parts;
    this.#stopLooking = parts.clock.every(lookAgainMs, () => void this.wake());
    void this.wake();
  }

  /** Looks what can shrink; resolves when nothing can any more. */
  wake(): Promise<void> {
    return this.#chore.wake();
  }

  /** Ends after the step under way. */
  async stop(): Promise<void> {
    this.#stopLooking();
    await this.#chore.stop();
  }

  async #reduceAll(): Promise<void> {
    try {
      const done = new Set<string>();
      while (!this.#chore.isStopped && (await this.#reduceOne(done)));
    } catch (error) {
      const gone = error instanceof StorageError && goneCodes.includes(error.code);
      if (!gone) this.#parts.onError(error);
    }
  }

  /**
   * @param done what was done since the janitor woke: under a guest that writes there would always be more to do
   * @returns false when there is nothing to do
   */
  async #reduceOne(done: Set<string>): Promise<boolean> {
    const tree = LayerTree.of(this.#parts.pool);
    const next = tree
      .reductions()
      .find((each): each is Shrinking => this.#isWorth(each) && !done.has(stepOf(each)));
    if (next === undefined) {
      this.#forgetGone(tree);
      return false;
    }
    done.add(stepOf(next));
    if (next.kind === 'merge') await this.#merge(tree, next);
    else if (next.kind === 'absorb') await this.#absorb(tree, next);
    else await this.#prune(tree, next, done);
    return true;
  }

  #forgetGone(tree: LayerTree): void {
    for (const layer of this.#residue.keys()) if (!tree.has(layer)) this.#residue.delete(layer);
  }

  #isWorth(reduction: Reduction): reduction is Shrinking {
    if (reduction.kind === 'reap') return false;
    return this.#residue.get(reduction.layer) !== this.#momentOf(reduction);
  }

  /** Another one when the layer above has grown, or as much was written over the layer as is left of it. */
  #momentOf(reduction: Shrinking): string {
    const { kind, layer, child, volume } = reduction;
    const { pool } = this.#parts;
    const left = Math.max(1, pool.clustersOf(layer));
    const leftBytes = pool.clusterBytes * left;
    const stats = volume === undefined ? undefined : pool.planeOf(volumeKey(volume.id))?.stats();
    const writtenBytes = stats === undefined ? 0 : stats.writeBytes + stats.discardBytes;
    const written = Math.floor(writtenBytes / leftBytes);
    if (kind !== 'prune') return `${kind} ${pool.clustersOf(child)} ${written}`;
    const grown = Math.floor(pool.clustersOf(reduction.top) / Math.max(1, left * grownPart));
    return `${kind} under ${reduction.top} ${grown} ${written}`;
  }

  async #merge(tree: LayerTree, reduction: Kind<'merge'>): Promise<void> {
    const { pool } = this.#parts;
    const pair = pairOf(tree, reduction);
    const { upper, lower } = pair;
    const isUpperLarger = pool.clustersOf(upper) >= pool.clustersOf(lower);
    const stays = isUpperLarger || tree.children(upper).length > childrenMovedMax ? upper : lower;
    const source = stays === upper ? lower : upper;
    const into = stays === upper ? 'child' : 'parent';
    const isDone = await this.#everyRegion(source, reduction, regionsPerMerge, (regions) =>
      mergeRegions(pool, pair, regions, into),
    );
    if (!isDone) return;
    await this.#inTurn(reduction, async () => {
      await pool.commit(this.#joinOps(pair, stays));
    });
  }

  /** The emptied layer goes; whoever named it or read through it has the other one. */
  #joinOps({ upper, lower }: Pair, stays: number): BatchOp[] {
    const { pool } = this.#parts;
    const tree = LayerTree.of(pool);
    const parent = tree.parent(lower);
    if (stays === upper) return [...emptied(lower), layerOp({ id: upper, parent })];
    const renamed = <T extends { id: number; layer: number }>(
      kind: string,
      records: readonly T[],
    ) =>
      records
        .filter(({ layer }) => layer === upper)
        .map((record) => putRecord(`${kind}/${record.id}`, { ...record, layer: lower }));
    return [
      ...emptied(upper),
      ...tree.children(upper).map((id) => layerOp({ id, parent: lower })),
      ...renamed('snapshot', snapshotRecords(pool)),
      ...renamed('bookmark', bookmarkRecords(pool)),
    ];
  }

  async #absorb(tree: LayerTree, reduction: Kind<'absorb'>): Promise<void> {
    const { layer: lower, volume } = reduction;
    const pair = pairOf(tree, reduction);
    // Before the first step: what is written beside it may be reason enough to look again.
    const moment = this.#momentOf(reduction);
    if (!(await this.#othersHaveRead())) return;
    let isEmpty = true;
    let isBusy = false;
    const isDone = await this.#everyRegion(lower, reduction, 1, async ([region]) => {
      if (region === undefined) return;
      const isGone = await this.#underHead(volume, ({ plane }) =>
        absorbRegion(this.#parts.pool, plane, pair, region),
      );
      isEmpty &&= isGone === true;
      isBusy ||= isGone === undefined;
    });
    if (!isDone) return;
    if (isEmpty) await this.#inTurn(reduction, () => this.#dropEmpty(pair));
    else if (!isBusy) this.#residue.set(lower, moment);
  }

  /**
   * Who read through the layer beside its head until a moment ago, a clone that was flattened say, may still be reading there: the head writes
   * in place to what it has taken over.
   *
   * @returns false when told to stop first
   */
  async #othersHaveRead(): Promise<boolean> {
    const { stopping } = this.#chore;
    if (stopping.aborted) return false;
    const end = new AbortController();
    try {
      const stopped = once(stopping, 'abort', { signal: end.signal });
      await Promise.race([this.#parts.pool.requestsEnded(), stopped]);
    } finally {
      end.abort();
    }
    return !stopping.aborted;
  }

  /**
   * All layers below the uppermost one as far as they are read through it only: each region of them is gone through once, from the top down.
   *
   * @param done gets what was done beside the one that was asked for
   */
  async #prune(tree: LayerTree, { top }: Kind<'prune'>, done: Set<string>): Promise<void> {
    const run = runUnder(tree, top);
    const pruned = run.filter((each) => each.kind === 'prune');
    const moments = pruned.map((each) => this.#momentOf(each));
    for (const each of pruned) done.add(stepOf(each));
    let isBusy = false;
    for await (const region of this.#regionsOf(run.map(({ layer }) => layer))) {
      const between = new Cover(slotsPerRegion);
      for (const each of run) {
        const isSame = await this.#inTurn(each, async () => {
          const isDone =
            each.kind !== 'prune' || (await this.#pruneRegion(tree, each, region, between));
          isBusy ||= !isDone;
          between.add((await this.#parts.pool.index.readRegion(each.layer, region)).states);
        });
        if (!isSame) return;
      }
    }
    if (isBusy) return;
    for (const [at, { layer }] of pruned.entries()) this.#residue.set(layer, moments[at] as string);
  }

  /** @returns false when writers are in the way */
  #pruneRegion(
    tree: LayerTree,
    { layer, top, volume }: Kind<'prune'>,
    region: number,
    between: Cover,
  ): Promise<boolean> {
    const { pool } = this.#parts;
    const pair = pairOf(tree, { layer, child: top });
    if (volume === undefined) return pruneRegion(pool, pair, region, { between, head: undefined });
    return this.#underHead(volume, (head) => pruneRegion(pool, pair, region, { between, head }));
  }

  /** Nobody opens or closes the volume meanwhile: it is changed either under the data plane's locks, or behind its back. */
  #underHead<T>(
    volume: VolumeRecord,
    work: (head: { readonly plane: VolumePlane | undefined }) => Promise<T>,
  ): Promise<T> {
    const { pool } = this.#parts;
    return pool.holdOpenings(() => work({ plane: pool.planeOf(volumeKey(volume.id)) }));
  }

  async #dropEmpty({ upper, lower }: Pair): Promise<void> {
    const { pool } = this.#parts;
    const parent = LayerTree.of(pool).parent(lower);
    await pool.commit([...emptied(lower), layerOp({ id: upper, parent })]);
    this.#residue.delete(lower);
  }

  /** Runs `step` for every region in which the layer has something, so many at a time. @returns false when it was stopped, or the tree changed */
  async #everyRegion(
    layer: number,
    reduction: Shrinking,
    count: number,
    step: (regions: readonly number[]) => Promise<void>,
  ): Promise<boolean> {
    for await (const regions of inGroups(this.#regionsOf([layer]), count)) {
      if (!(await this.#inTurn(reduction, () => step(regions)))) return false;
    }
    return true;
  }

  /** Every region in which one of the layers has something. */
  async *#regionsOf(layers: readonly number[]): AsyncGenerator<number> {
    const { index } = this.#parts.pool;
    for (let region = 0; ; region++) {
      const leaf = await index.nextLeaf(layers, region * leavesPerRegion);
      if (leaf === Number.POSITIVE_INFINITY) return;
      region = Math.floor(leaf / leavesPerRegion);
      yield region;
      await yieldToOthers();
    }
  }

  /**
   * Between other changes of structure, and only as long as it is still what the layer needs: a snapshot of the volume
   * freezes the head above it, say, and a frozen layer is not changed under the volume's locks. Whoever has the turn keeps others waiting: only
   * where the journal has room.
   */
  async #inTurn(reduction: Shrinking, work: () => Promise<void>): Promise<boolean> {
    const { pool, volumes } = this.#parts;
    await pool.journalRoom(this.#chore.stopping);
    return volumes.exclusively(pool, async () => {
      if (this.#chore.isStopped) return false;
      const now = LayerTree.of(pool).reductionOf(reduction.layer);
      const isSame = now !== undefined && now.kind !== 'reap' && stepOf(now) === stepOf(reduction);
      if (isSame) await work();
      return isSame;
    });
  }
}

async function* inGroups<T>(all: AsyncIterable<T>, count: number): AsyncGenerator<T[]> {
  let group: T[] = [];
  for await (const each of all) {
    group.push(each);
    if (group.length < count) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

function pairOf(tree: LayerTree, { child, layer }: Pick<Shrinking, 'child' | 'layer'>): Pair {
  return { upper: child, lower: layer, isBase: tree.parent(layer) === null };
}

/** What is read through that layer only, from the top down. */
function runUnder(tree: LayerTree, top: number): Shrinking[] {
  const run: Shrinking[] = [];
  for (let at = tree.parent(top); at !== null; at = tree.parent(at)) {
    const reduction = tree.reductionOf(at);
    if (reduction === undefined || reduction.kind === 'reap') break;
    run.push(reduction);
  }
  return run;
}

function stepOf(reduction: Shrinking): string {
  const { kind, layer, child, volume } = reduction;
  return `${kind} ${layer} ${kind === 'prune' ? reduction.top : child} ${volume?.id}`;
}

/** Nothing is left in the layer but leaves that say so. */
function emptied(layer: number): BatchOp[] {
  return [{ op: 'delete-leaves', layer, firstLeaf: 0, count: leafLimit }, deleteLayerOp(layer)];
}

/** More than a volume of any size has. */
const leafLimit = 2 ** 40;
const goneCodes: readonly string[] = ['service/stopping', 'pool/failed'];
