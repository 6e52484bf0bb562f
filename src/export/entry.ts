/**
 * What the service knows of one export.
 */
import type { Served } from './serving.ts';
import { type ExportRecord, isPassthrough, type VolumeExportRecord } from './types.ts';

export interface Entry<R extends ExportRecord = ExportRecord> {
  readonly record: R;
  /** Of the volume; null for a whole disk. */
  readonly pool: string | null;
  served: Served | null;
  failure: string | null;
}

/** Not of a whole disk. */
export function isOfVolume(entry: Entry): entry is Entry<VolumeExportRecord> {
  return !isPassthrough(entry.record);
}
