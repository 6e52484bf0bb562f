/**
 * What comes back when names are deleted: exactly what reaper and janitor will release, counted before it is done.
 *
 * The tree is reduced on paper, with and without the names; the difference is theirs. A layer that nobody reads through goes with all of its
 * clusters; one that becomes one with its only child loses those of which nothing shows.
 */
import { slotsPerRegion } from '../base/units.ts';
import type { Pool } from '../pool/pool.ts';
import { chainOf } from '../volume/chain.ts';
import { LayerTree } from '../volume/layer-tree.ts';
import type { Found } from './catalog.ts';
import { Cover } from './merge.ts';
import { sharedRegionsOf } from './regions.ts';
import type { SnapshotSpace } from './types.ts';

/** What is left of a tree: layers that go, and runs of layers that become one, the uppermost first. */
export interface Outcome {
  readonly gone: ReadonlySet<number>;
  /** By their layers, so that equal ones are found. */
  readonly joined: ReadonlyMap<string, readonly number[]>;
}

/** Layers that a name keeps: heads of volumes, and those that snapshots are on. */
export type IsNamed = (layer: number) => boolean;

/** Pure: reduces a tree to what the names need. */
export function outcomeOf(tree: LayerTree, isNamed: IsNamed): Outcome {
  const gone = new Set<number>();
  const childrenLost = new Map<number, number>();
  const childCount = (layer: number) =>
    tree.children(layer).length - (childrenLost.get(layer) ?? 0);
  for (const layer of tree.layers) {
    // Up to the first that somebody still needs.
    for (let at: number | null = layer; at !== null && !gone.has(at); at = tree.parent(at)) {
      if (isNamed(at) || childCount(at) > 0) break;
      gone.add(at);
      const parent = tree.parent(at);
      if (parent !== null) childrenLost.set(parent, (childrenLost.get(parent) ?? 0) + 1);
    }
  }
  const joined = new Map<string, readonly number[]>();
  const joinsItsChild = (layer: number) => !isNamed(layer) && childCount(layer) === 1;
  for (const layer of tree.layers) {
    if (gone.has(layer) || joinsItsChild(layer)) continue;
    const run = [layer];
    let at = tree.parent(layer);
    for (; at !== null && joinsItsChild(at); at = tree.parent(at)) run.push(at);
    if (run.length > 1) joined.set(run.join(' '), run);
  }
  return { gone, joined };
}

/** Bytes that come back when those volumes and snapshots are deleted together. @throws StorageError pool/damaged */
export async function freedByDeleting(
  pool: Pool,
  names: { readonly volumes: ReadonlySet<number>; readonly snapshots: ReadonlySet<number> },
): Promise<number> {
  const tree = LayerTree.of(pool);
  const now = outcomeOf(tree, (layer) => tree.isNamed(layer));
  const then = outcomeOf(tree, (layer) => {
    const head = tree.headOf(layer);
    const isHead = head !== undefined && !names.volumes.has(head.id);
    return isHead || tree.snapshotsOn(layer).some((id) => !names.snapshots.has(id));
  });
  let clusters = 0;
  for (const layer of then.gone) if (!now.gone.has(layer)) clusters += pool.clustersOf(layer);
  for (const [key, run] of then.joined) {
    if (!now.joined.has(key)) clusters += await overriddenIn(pool, run);
  }
  // What was on its way to be joined before, and goes wholly or joins more now, would have come back anyway.
  for (const [key, run] of now.joined) {
    if (!then.joined.has(key)) clusters -= await overriddenIn(pool, run);
  }
  return clusters * pool.clusterBytes;
}

/** Of one snapshot, or of a bookmark, which holds nothing. Reads maps. @throws StorageError pool/damaged */
export async function spaceOf({ pool, kind, record }: Found): Promise<SnapshotSpace> {
  if (kind === 'bookmark') return { exclusiveBytes: 0, sharedBytes: 0 };
  const snapshots = new Set([record.id]);
  const exclusiveBytes = await freedByDeleting(pool, { volumes: new Set(), snapshots });
  const chain = chainOf(pool, record.layer);
  const clusters = chain.reduce((sum, layer) => sum + pool.clustersOf(layer), 0);
  return {
    exclusiveBytes,
    sharedBytes: Math.max(0, clusters * pool.clusterBytes - exclusiveBytes),
  };
}

/** Clusters of the lower layers of a run of which nothing shows. */
async function overriddenIn(pool: Pool, run: readonly number[]): Promise<number> {
  let count = 0;
  for await (const { stack } of sharedRegionsOf(pool, run)) {
    const cover = new Cover(slotsPerRegion);
    for (const states of stack) count += cover.add(states);
  }
  return count;
}
