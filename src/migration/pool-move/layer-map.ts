/**
 * Which layer of the target is the copy of which layer of the source, as the target's records say.
 *
 *   source   base ◀─ "a" ◀─ f1 ◀─ f2 ◀─ head          f1, f2: heads that the move itself has frozen, nobody names them
 *   target   base'◀─ "a"'◀─ (f1 f2)'                   one layer: f2 is laid over f1
 *
 * So the target's layers are the source's as they were before the move. A move that is undone begins with the pairs that were kept.
 */
import { invariant } from '../../base/errors.ts';
import type { Family } from '../../volume/family.ts';
import type { LayerTree } from '../../volume/layer-tree.ts';
import { keptById } from '../../volume/moves.ts';
import { type LayerRecord, layerName, layerOp, NewIds } from '../../volume/records.ts';
import type { MoveUnderWay } from './types.ts';

export interface Copy {
  readonly layer: number;
  /** The uppermost last. */
  readonly from: readonly number[];
  readonly whole: boolean;
  /** It was there before the move, and is left as it is. */
  readonly isKept: boolean;
}

export class LayerMap {
  readonly #copies = new Map<number, Copy>();

  /** As the records are now. */
  constructor({ target, move }: Pick<MoveUnderWay, 'target' | 'move'>) {
    const kept = move.undoes === undefined ? undefined : keptById(target, move.undoes);
    for (const [layer, from] of kept?.pairs ?? []) {
      this.#copies.set(from, { layer, from: [from], whole: true, isKept: true });
    }
    for (const { id: layer, incoming } of target.records<LayerRecord>('layer/')) {
      if (incoming?.move !== move.id) continue;
      const { from, whole } = incoming;
      for (const each of from) {
        const isUppermost = each === from.at(-1);
        this.#copies.set(each, { layer, from, whole: whole || !isUppermost, isKept: false });
      }
    }
  }

  copyOf(layer: number): Copy | undefined {
    return this.#copies.get(layer);
  }

  /** Of a layer that is in the target as a whole. */
  layerOf(layer: number): number {
    const copy = this.#copies.get(layer);
    invariant(copy?.whole === true, `layer ${layer} is in the target`);
    return copy.layer;
  }

  /** Layers that somebody shows, are frozen and are not in the target as a whole; parents first. */
  missing(tree: LayerTree, family: Family): number[] {
    const depths = [...family.layers]
      .filter((layer) => tree.isAlive(layer) && tree.headOf(layer) === undefined)
      .filter((layer) => this.#copies.get(layer)?.whole !== true)
      .map((layer) => ({ layer, depth: tree.chain(layer).length }));
    return depths.sort((a, b) => a.depth - b.depth).map(({ layer }) => layer);
  }
}

/** @returns the layer of the target, with its record, that `layer` is to be copied into; its parent is in the target as a whole */
export async function beginCopy(
  { source, target, move }: MoveUnderWay,
  tree: LayerTree,
  layer: number,
): Promise<LayerRecord> {
  const map = new LayerMap({ target, move });
  const of = { move: move.id, source: source.uuid, whole: false };
  const known = map.copyOf(layer);
  if (known !== undefined) return recordOf(target, known.layer);
  const parent = tree.parent(layer);
  const below = parent === null ? undefined : joinable(tree, map, parent);
  if (below !== undefined) {
    const incoming = { ...of, from: [...below.from, layer] };
    const record = { ...recordOf(target, below.layer), incoming };
    await target.commit([layerOp(record)]);
    return record;
  }
  const ids = new NewIds(target);
  const record: LayerRecord = {
    id: ids.layer(),
    parent: parent === null ? null : map.layerOf(parent),
    incoming: { ...of, from: [layer] },
  };
  await target.commit([ids.op(), layerOp(record)]);
  return record;
}

/** All of the layer is in the copy. */
export async function endCopy({ target }: MoveUnderWay, { id }: LayerRecord): Promise<void> {
  const record = recordOf(target, id);
  invariant(record.incoming !== undefined, `layer ${id} is being copied`);
  await target.commit([layerOp({ ...record, incoming: { ...record.incoming, whole: true } })]);
}

/** The copy of a layer that nobody names and one layer alone reads through: that one is laid over it, as if they had been merged. */
function joinable(tree: LayerTree, map: LayerMap, layer: number): Copy | undefined {
  const copy = map.copyOf(layer);
  const isAlone = !tree.isNamed(layer) && tree.children(layer).length === 1;
  if (copy === undefined || copy.isKept || !isAlone || tree.bookmarksOn(layer).length > 0) {
    return undefined;
  }
  return copy.from.at(-1) === layer ? copy : undefined;
}

function recordOf(pool: MoveUnderWay['target'], layer: number): LayerRecord {
  const record = pool.record<LayerRecord>(layerName(layer));
  invariant(record !== undefined, `layer ${layer} is there`);
  return record;
}
