/**
 * Limits that keep a service usable, refused before they are reached; docs/operations.md says them.
 */
import { StorageError } from '../base/errors.ts';
import type { Pool } from '../pool/pool.ts';
import type { CreateSnapshotOptions } from './types.ts';

export const snapshotsPerVolumeMax = 4096;
export const layersPerPoolMax = 65_536;
export const volumesPerGroupMax = 64;
const attachmentBytesMax = 64 * 1024;
const noteBytesMax = 4096;
const labelsMax = 64;
const labelBytesMax = 256;

/** @throws StorageError request/invalid */
export function expectDescription({ note, labels, attachment }: CreateSnapshotOptions): void {
  const refused = (what: string) => new StorageError('request/invalid', what);
  if (Buffer.byteLength(note ?? '') > noteBytesMax) {
    throw refused(`a note has up to ${noteBytesMax} bytes`);
  }
  if (Buffer.byteLength(attachment ?? '') > attachmentBytesMax) {
    throw refused(`an attachment has up to ${attachmentBytesMax} bytes`);
  }
  const entries = Object.entries(labels ?? {});
  if (entries.length > labelsMax) throw refused(`a snapshot has up to ${labelsMax} labels`);
  if (
    entries.some(([key, value]) => key === '' || Buffer.byteLength(key + value) > labelBytesMax)
  ) {
    throw refused(`a label is KEY=VALUE, together up to ${labelBytesMax} bytes`);
  }
}

/** @throws StorageError snapshot/limit */
export function expectLayersLeft(pool: Pool, more: number): void {
  const layers = pool.records('layer/').length;
  if (layers + more <= layersPerPoolMax) return;
  throw new StorageError(
    'snapshot/limit',
    `pool ${pool.name} has ${layers} layers, ${layersPerPoolMax} are the most`,
  );
}
