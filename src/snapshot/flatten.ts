/**
 * Flattening: copies what a volume inherits, until it needs no parent; online, one leaf (a few MiB) at a time between other changes of structure.
 *
 * Cut off at any moment it has copied that much; begun again it goes on from there.
 * Elsewhere: how a leaf is copied while its guest writes (flatten-leaf.ts), how much there is to copy (inherited.ts).
 */
import { StorageError } from '../base/errors.ts';
import { leavesPerRegion } from '../base/units.ts';
import type { ReportProgress } from '../pool/types.ts';
import type { FoundVolume } from '../volume/catalog.ts';
import { chainOf, volumeKey, volumeToOpen } from '../volume/chain.ts';
import { targetOf } from '../volume/placement.ts';
import { layerOp, volumeById } from '../volume/records.ts';
import { abortReason } from '../volume/thick.ts';
import type { OpenVolume } from '../volume/volume-service.ts';
import type { SnapshotContext } from './context.ts';
import { flattenLeaf } from './flatten-leaf.ts';
import { inheritedBytes } from './inherited.ts';
import { regionsOf } from './regions.ts';

export interface FlattenWatch {
  readonly report: ReportProgress;
  readonly signal: AbortSignal;
}

/**
 * Afterwards the volume reads through no other layer.
 *
 * @throws StorageError volume/not-found, pool/full, pool/failed, disk/io; the signal's reason, or op/state
 */
export async function flattenVolume(
  context: SnapshotContext,
  volume: string,
  { report, signal }: FlattenWatch,
): Promise<{ changed: boolean }> {
  const { volumes } = context;
  const found = volumes.find(volume);
  const { pool, record } = found;
  pool.expectWritable();
  if (chainOf(pool, record.headLayer).length === 1) return { changed: false };
  const total = await inheritedBytes(pool, record.headLayer);
  const plane = await pool.openVolume(volumeToOpen(pool, record));
  try {
    let done = 0;
    const onCopied = (bytes: number) => {
      done += bytes;
      report(Math.min(done, total), total);
    };
    // Guests write meanwhile, and snapshots are taken: until nothing is inherited any more.
    while (!(await flattenOnce(context, found, plane, { onCopied, signal })));
  } finally {
    await pool.closeVolume(volumeKey(record.id));
  }
  volumes.structureChanged(pool);
  context.tell('volume/flattened', volume, `volume ${volume} needs no parent any more`);
  return { changed: true };
}

/** One walk over what the volume inherits. @returns whether nothing is inherited any more */
async function flattenOnce(
  { volumes }: SnapshotContext,
  { pool, record }: FoundVolume,
  plane: OpenVolume['plane'],
  watch: { readonly onCopied: (bytes: number) => void; readonly signal: AbortSignal },
): Promise<boolean> {
  const headNow = () => volumeById(pool, record.id)?.headLayer;
  const head = headNow();
  if (head === undefined) {
    throw new StorageError('volume/not-found', `volume ${record.name} is gone`);
  }
  const parents = chainOf(pool, head).slice(1);
  const targets = [targetOf(pool, record.placement), {}];
  for await (const { region } of regionsOf(pool, parents)) {
    for (let leaf = 0; leaf < leavesPerRegion; leaf++) {
      if (watch.signal.aborted) throw abortReason(watch.signal);
      const copy = () =>
        volumes.exclusively(pool, async () =>
          headNow() === head
            ? flattenLeaf(pool, plane, head, { region, leaf }, targets)
            : undefined,
        );
      watch.onCopied(await pool.governor.run(async () => (await copy()) ?? 0));
    }
  }
  return volumes.exclusively(pool, async () => {
    await pool.flush();
    if (headNow() !== head || (await inheritedBytes(pool, head)) > 0) return false;
    await pool.commit([layerOp({ id: head, parent: null })]);
    return true;
  });
}
