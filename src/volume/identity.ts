/**
 * Who a volume is: a uuid that stays through renames, reverts and moves between pools, and that no other volume has.
 *
 * It follows from the pool that the volume was made in and its number there, which is never used twice; so every
 * volume has one, also those of earlier versions. One that moves takes it along in its record.
 */
import { derivedUuid } from '../base/ids.ts';
import type { VolumeRecord } from './types.ts';

/** @param poolUuid of the pool that has the record */
export function uuidOf(poolUuid: string, { id, uuid }: Pick<VolumeRecord, 'id' | 'uuid'>): string {
  return uuid ?? derivedUuid(poolUuid, `volume ${id}`);
}
