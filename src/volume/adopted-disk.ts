/**
 * Which adopted disk a volume still reads from, and which layers point to one.
 */
import type { OpenForeignDisk } from '../pool/foreign-disk.ts';
import type { Pool } from '../pool/pool.ts';
import { type LayerRecord, layerName } from './records.ts';

/** @param chain layers that read through each other, the base last: only a base points to an adopted disk */
export function adoptedDiskOf(pool: Pool, chain: readonly number[]): OpenForeignDisk | undefined {
  const base = chain.at(-1);
  const layer = base === undefined ? undefined : pool.record<LayerRecord>(layerName(base));
  return pool.foreignDisks.find(({ record }) => record.number === layer?.foreign);
}

/** Layers whose records say that their slots point to that disk. */
export function layersOfAdopted(pool: Pool, disk: number): LayerRecord[] {
  return pool.records<LayerRecord>('layer/').filter(({ foreign }) => foreign === disk);
}
