/**
 * Which volumes were cloned from a snapshot and still read through it, and why that keeps it.
 */
import { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { LayerTree } from '../volume/layer-tree.ts';
import { volumeRecords } from '../volume/records.ts';
import type { VolumeRecord } from '../volume/types.ts';
import { snapshotById } from './records.ts';

/** By the snapshots' ids. A scratch head is none: it goes when its export does. */
export function linkedClones(pool: Pool, tree: LayerTree): Map<number, VolumeRecord[]> {
  const clones = new Map<number, VolumeRecord[]>();
  for (const volume of volumeRecords(pool)) {
    const { clonedFrom, headLayer, scratch } = volume;
    if (clonedFrom === undefined || scratch === true) continue;
    const snapshot = snapshotById(pool, clonedFrom);
    if (snapshot === undefined || !tree.readsThrough(headLayer, snapshot.layer)) continue;
    clones.set(clonedFrom, [...(clones.get(clonedFrom) ?? []), volume]);
  }
  return clones;
}

/** @param subject what is to be deleted, `volume web1` @param command what deletes it all the same */
export function expectNoClones(clones: number, subject: string, command: string): void {
  if (clones === 0) return;
  const read = clones === 1 ? '1 linked clone reads' : `${clones} linked clones read`;
  throw new StorageError(
    'volume/has-clones',
    `cannot delete ${subject}: ${read} through it and --keep-clones was not given`,
    { actions: [`${command} --keep-clones   (its data stays until the last clone is gone)`] },
  );
}
