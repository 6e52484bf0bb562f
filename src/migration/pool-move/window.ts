/**
 * The window in which a family's last move can be undone, as the pool where it is now has it on record.
 */
import type { Pool } from '../../pool/pool.ts';
import type { Family } from '../../volume/family.ts';
import { type ArrivalRecord, arrivalRecords } from '../../volume/moves.ts';

/** Also of volumes that were cloned since; undefined when it is closed, or there was no such move. */
export function openWindow(
  pool: Pool,
  family: Family,
): (ArrivalRecord & { readonly until: string }) | undefined {
  for (const arrival of arrivalRecords(pool)) {
    const { until, volumes, layers } = arrival;
    const isOf =
      volumes.some((volume) => family.volumes.has(volume)) ||
      layers.some((layer) => family.layers.has(layer));
    if (isOf && until !== null) return { ...arrival, until };
  }
  return undefined;
}
