/**
 * What changed between two layers of a tree, from the maps alone: every sub-block that a layer on the way claims.
 *
 *   base ← a ← x ← y ← b         a to b: what y, x and b claim           exact, and as durable as the maps
 *                └← c            c to b: what both sides claim down to x
 *
 * Merging and pruning layers keeps the union of what they claim, so the answer survives the deletion of snapshots on the way; a
 * bookmark keeps the boundary itself.
 */
import { slotsPerRegion, subBlocksPerCluster } from '../base/units.ts';
import type { Pool } from '../pool/pool.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import type { SnapshotCatalog } from './catalog.ts';
import { regionsOf } from './regions.ts';
import type { SnapshotDiff } from './types.ts';

/** Two points in time of one volume: a snapshot or bookmark, and a later one; the volume itself by default. */
export interface DiffRange {
  readonly volume: string;
  readonly from: string;
  readonly to?: string | undefined;
}

/** @throws StorageError volume/not-found, snapshot/not-found, pool/failed */
export function changedExtents(catalog: SnapshotCatalog, range: DiffRange): Promise<SnapshotDiff> {
  return onTheWay(catalog, range, claimedExtents);
}

/**
 * Whether nothing at all has been written or trimmed in between, be it with the same bytes.
 *
 * @throws StorageError volume/not-found, snapshot/not-found, pool/failed
 */
export function isUnchangedSince(catalog: SnapshotCatalog, range: DiffRange): Promise<boolean> {
  return onTheWay(catalog, range, async (pool, layers) => !(await claimAnything(pool, layers)));
}

/** Asks the layers from one point in time to another, until they stayed the same ones meanwhile. */
async function onTheWay<T>(
  catalog: SnapshotCatalog,
  range: DiffRange,
  ask: (pool: Pool, layers: readonly number[], sizeBytes: number) => Promise<T>,
): Promise<T> {
  const { pool } = catalog.find(range.volume, range.from);
  for (;;) {
    // Every write answered so far is in the map then.
    if (range.to === undefined) await pool.flush();
    const before = wayBetween(catalog, range);
    const answer = await ask(pool, before.layers, before.sizeBytes);
    // What a layer claims moves to another when snapshots come and go meanwhile: looked at again then.
    const after = wayBetween(catalog, range);
    if (before.layers.join() === after.layers.join()) return answer;
  }
}

/** The layers from one point in time to another, as they are now. */
function wayBetween(catalog: SnapshotCatalog, { volume, from, to }: DiffRange) {
  const old = catalog.find(volume, from);
  const { layer, sizeBytes } =
    to === undefined
      ? { layer: old.volume.headLayer, sizeBytes: old.volume.sizeBytes }
      : catalog.find(volume, to).record;
  const layers = layersBetween(LayerTree.of(old.pool), old.record.layer, layer);
  return { layers, sizeBytes };
}

/** The layers on both ways from the nearest common one, itself not among them. */
export function layersBetween(tree: LayerTree, from: number, to: number): number[] {
  const [old, now] = [tree.chain(from), tree.chain(to)];
  const shared = new Set(old);
  const common = now.find((layer) => shared.has(layer));
  const until = (chain: readonly number[]) =>
    common === undefined ? chain : chain.slice(0, chain.indexOf(common));
  return [...until(now), ...until(old)];
}

/** Byte ranges of which sub-blocks are added in ascending order. */
export class ChangedRuns {
  readonly extents: { offset: number; length: number }[] = [];
  readonly #subBlockBytes: number;
  readonly #sizeBytes: number;

  constructor(clusterBytes: number, sizeBytes: number) {
    this.#subBlockBytes = clusterBytes / subBlocksPerCluster;
    this.#sizeBytes = sizeBytes;
  }

  add(slot: number, mask: number): void {
    for (let sub = 0; sub < subBlocksPerCluster; sub++) {
      if ((mask & (1 << sub)) !== 0) this.#addSubBlock(slot * subBlocksPerCluster + sub);
    }
  }

  get changedBytes(): number {
    return this.extents.reduce((sum, { length }) => sum + length, 0);
  }

  #addSubBlock(number: number): void {
    const offset = number * this.#subBlockBytes;
    const length = Math.min(this.#subBlockBytes, this.#sizeBytes - offset);
    if (length <= 0) return;
    const last = this.extents.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else this.extents.push({ offset, length });
  }
}

/** @returns what those layers claim, up to a size */
async function claimedExtents(
  pool: Pool,
  layers: readonly number[],
  sizeBytes: number,
): Promise<SnapshotDiff> {
  const runs = new ChangedRuns(pool.clusterBytes, sizeBytes);
  for await (const { region, stack } of regionsOf(pool, layers)) {
    for (let slot = 0; slot < slotsPerRegion; slot++) {
      const mask = stack.reduce((claimed, states) => claimed | states.claimed(slot), 0);
      if (mask !== 0) runs.add(region * slotsPerRegion + slot, mask);
    }
  }
  return { extents: runs.extents, changedBytes: runs.changedBytes };
}

async function claimAnything(pool: Pool, layers: readonly number[]): Promise<boolean> {
  for await (const { stack } of regionsOf(pool, layers)) {
    for (let slot = 0; slot < slotsPerRegion; slot++) {
      if (stack.some((states) => states.claimed(slot) !== 0)) return true;
    }
  }
  return false;
}
