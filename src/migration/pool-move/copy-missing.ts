/**
 * Everything of a family that is frozen, and not yet in the target, is copied: layer by layer, the oldest first.
 */
import type { Target } from '../../pool/allocator.ts';
import type { Pool } from '../../pool/pool.ts';
import type { Family } from '../../volume/family.ts';
import { LayerTree } from '../../volume/layer-tree.ts';
import { volumeRecords } from '../../volume/records.ts';
import { volumeAbove } from '../placement-targets.ts';
import { hasClass } from './arriving.ts';
import { type CopyWatch, copyLayer } from './copy-layer.ts';
import { beginCopy, endCopy, LayerMap } from './layer-map.ts';
import type { MoveUnderWay } from './types.ts';

export interface CopyHow {
  /** Runs work between other changes of structure. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  readonly watch: CopyWatch;
}

/** @throws StorageError pool/full, pool/failed, disk/io; what the watch throws */
export async function copyMissing(
  underWay: MoveUnderWay,
  family: Family,
  { exclusively, watch }: CopyHow,
): Promise<void> {
  const { source, target } = underWay;
  for (;;) {
    const tree = LayerTree.of(source);
    const [layer] = new LayerMap(underWay).missing(tree, family);
    if (layer === undefined) return;
    const record = await exclusively(() => beginCopy(underWay, tree, layer));
    const isOverlay = record.incoming?.from[0] !== layer;
    await copyLayer(
      { source, target, exclusively },
      {
        from: layer,
        into: record.id,
        isOverlay,
        keepsZeroes: !isOverlay || record.parent !== null,
        keepsSpace: isThick(source, tree, layer),
        targets: targetsFor(target, tree, layer),
      },
      watch,
    );
    await exclusively(() => endCopy(underWay, record));
  }
}

function isThick(source: Pool, tree: LayerTree, layer: number): boolean {
  return volumeRecords(source).some(
    ({ thick, headLayer }) => thick && tree.readsThrough(headLayer, layer),
  );
}

/** Its volume's class, where the target has disks of it. */
function targetsFor(target: Pool, tree: LayerTree, layer: number): Target[] {
  const placement = volumeAbove(tree, layer)?.placement;
  return hasClass(target, placement) ? [{ class: placement.class }, {}] : [{}];
}
